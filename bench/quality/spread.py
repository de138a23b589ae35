"""Variety of texts and their distance to real ones, by features and by words. Shapes: M texts, R real texts, D features, C classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.errors import DataError
from tdbench.bench.matching.alignment import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    from collections.abc import Sequence

    from tdbench.bench.data.text import LabelledText

PERMUTATIONS = 999

_ROUND_OFF = 1e-12

MAUVE_TEXTS = 200
"""MAUVE is measured on more texts than these: on fewer it says little (Pillutla et al., 2021, ask for thousands)."""


def vendi_score(features_MD: Floats) -> float:
    """Returns the Vendi score (Friedman and Dieng, 2023): how many entirely different texts the set is worth, 1 to M.

    It cannot exceed the number of features either: a large set is worth less than it would be by more of them.

    exp of the entropy of the eigenvalues of K / M, with K the cosine similarities.

    Args:
        features_MD: Features of length 1; texts at the origin, which say nothing, do not count.
    """
    if not features_MD.any():
        return float("nan")
    points = features_MD if features_MD.shape[0] <= features_MD.shape[1] else features_MD.T
    shares = np.linalg.eigvalsh(points @ points.T / len(features_MD))
    shares = shares[shares > _ROUND_OFF] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def distance_to_real(
    made_MD: Floats, labels_M: NDArray[np.int64], real_RD: Floats, labels_R: NDArray[np.int64]
) -> tuple[float, float]:
    """Returns the squared MMD to real texts within classes, and the probability of one so large if the texts were real.

    The unbiased estimate (Gretton et al., 2012, eq. 3), which may be below 0, with the mean of three Gaussian kernels around the real
    texts' median distance; averaged over classes. The p value is one-sided, from 999 permutations within classes. Weights are not read.

    Returns:
        Both NaN where a class has fewer than two texts on either side, or no distances.
    """
    rng = np.random.default_rng(seed_from("mmd-permutations"))
    observed, permuted_P = [], np.zeros(PERMUTATIONS)
    for label in np.unique(labels_M):
        made, real = made_MD[labels_M == label], real_RD[labels_R == label]
        if min(len(made), len(real)) < 2:
            return float("nan"), float("nan")
        try:
            kernel = Kernel.around(real)
        except DataError:
            return float("nan"), float("nan")
        both = np.vstack([made, real])
        kernel_NN = kernel(both, both)
        np.fill_diagonal(kernel_NN, 0.0)
        draws = np.stack([np.arange(len(made)), *(rng.permutation(len(both))[: len(made)] for _ in permuted_P)])
        values = _unbiased(kernel_NN, draws)
        observed.append(values[0])
        permuted_P += values[1:]
    n_classes = len(observed)
    value = float(np.mean(observed))
    return value, (1 + int((permuted_P / n_classes >= value - _ROUND_OFF).sum())) / (1 + PERMUTATIONS)


def _unbiased(kernel_NN: Floats, draws_PM: NDArray[np.int64]) -> Floats:
    """Returns the P squared MMDs between the M texts of a draw and all others; the kernel's diagonal is zero."""
    n, m = len(kernel_NN), draws_PM.shape[1]
    rows_N, total = kernel_NN.sum(1), kernel_NN.sum()
    chosen_PN = np.zeros((len(draws_PM), n))
    np.put_along_axis(chosen_PN, draws_PM, 1.0, axis=1)
    within = ((chosen_PN @ kernel_NN) * chosen_PN).sum(1)
    across = chosen_PN @ rows_N - within
    others = total - within - 2 * across
    rest = n - m
    return within / (m * (m - 1)) + others / (rest * (rest - 1)) - 2 * across / (m * rest)


def mauve_score(made_MD: Floats, real_RD: Floats) -> float | None:
    """Returns MAUVE (Pillutla et al., 2021), 0 to 1, larger is nearer; None for 200 texts or fewer, or without `mauve-text`."""
    if min(len(made_MD), len(real_RD)) <= MAUVE_TEXTS:
        return None
    try:
        import mauve
    except ImportError:
        return None
    seed = seed_from("mauve") % 2**31
    found = mauve.compute_mauve(p_features=made_MD, q_features=real_RD, verbose=False, seed=seed)
    return float(found.mauve)


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
