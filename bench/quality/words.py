"""What the words of texts tell: variety, repetition, lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.data.text import LabelledText

MOST_HYPOTHESES, MOST_REFERENCES = 50, 100
"""Texts of a larger set that stand for all of them, evenly spaced: the work of self-BLEU grows with their product."""


def distinct(texts: Sequence[str], n: int) -> float:
    """Returns the share of different n-grams among all n-grams of the texts' words (Li et al., 2016); NaN where there are none."""
    grams = [
        tuple(words[i : i + n]) for words in (text.lower().split() for text in texts) for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repetitive(texts: Sequence[str]) -> list[bool]:
    """Tells which texts repeat an earlier one, or themselves: of four or more pairs of neighbouring words fewer than half are different."""
    seen: set[str] = set()
    found = []
    for text in texts:
        words = text.lower().split()
        found.append(" ".join(words) in seen or (len(words) > 4 and distinct([text], 2) < 0.5))
        seen.add(" ".join(words))
    return found


def self_bleu(texts: Sequence[str]) -> float:
    """Returns the mean BLEU of each text with all others as its references, 0 to 1 (Zhu et al., 2018; sacrebleu, lower case).

    More references leave more to be found, so sets compare at one size only. NaN for fewer than two texts.
    """
    from sacrebleu.metrics.bleu import BLEU

    if len(texts) < 2:
        return float("nan")
    bleu = BLEU(lowercase=True, effective_order=True)
    scores = []
    for i in _spread(len(texts), MOST_HYPOTHESES):
        others = [texts[j] for j in _spread(len(texts), MOST_REFERENCES + 1) if j != i][:MOST_REFERENCES]
        scores.append(bleu.sentence_score(texts[i], others).score / 100)
    return min(1.0, float(np.mean(scores)))


def _spread(n: int, most: int) -> list[int]:
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).round().astype(int).tolist()


def word_measures(made: LabelledText, real: LabelledText) -> dict[str, float]:
    """Measures the words of a set of texts beside real ones.

    Args:
        made: The set's texts.
        real: Real texts for the comparison of lengths.

    Returns:
        `distinct_1` and `distinct_2` (0 to 1, larger is more varied; they fall with the number of words) and `self_bleu_frac` (0 to 1,
        smaller is more varied); `mean_words` a text, `mean_words_real`, and `length_gap_words`, the Wasserstein distance between the two
        distributions of lengths; `empty_frac`, texts with a field without a word; `repetitive_frac`, texts that repeat one before them
        or themselves.
    """
    from scipy.stats import wasserstein_distance

    rows = list(zip(*made.fields.values(), strict=True))
    texts = [" ".join(parts) for parts in rows]
    columns = [text for column in made.fields.values() for text in column]
    words, real_words = _lengths(made), _lengths(real)
    return {
        "distinct_1": distinct(columns, 1),
        "distinct_2": distinct(columns, 2),
        "self_bleu_frac": self_bleu(texts),
        "mean_words": float(np.mean(words)),
        "mean_words_real": float(np.mean(real_words)),
        "length_gap_words": float(wasserstein_distance(words, real_words)),
        "empty_frac": sum(not all(part.strip() for part in parts) for parts in rows) / len(rows),
        "repetitive_frac": sum(repetitive(texts)) / len(texts),
    }


def _lengths(text: LabelledText) -> list[int]:
    return [len(joined.split()) for joined in text.joined()]
