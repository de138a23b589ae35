"""How a distilled set's generated texts read: variety, and what a language model that had no part in them thinks.

Evaluator's measures: they read the train split, are taken after the method has ended, and are not part of its cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.context import Context
    from bench.data.text import LabelledText
    from bench.distilled import DistilledSet


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


def text_quality(made: DistilledSet, real: LabelledText) -> dict[str, float]:
    """Measures the variety of a set of texts.

    Returns:
        `distinct_1` and `distinct_2` (0 to 1, larger is more varied; they fall with the number of words), and
        `mean_words`, words a text; `empty_frac`, texts with a field without a word, and
        `repetitive_frac`, texts that repeat one before them or themselves.
    """
    fields = made.resolve(real).fields
    rows = list(zip(*fields.values(), strict=True))
    texts = [" ".join(parts) for parts in rows]
    columns = [text for column in fields.values() for text in column]
    words = [len(text.split()) for text in texts]
    return {
        "distinct_1": distinct(columns, 1),
        "distinct_2": distinct(columns, 2),
        "mean_words": sum(words) / len(words),
        "empty_frac": sum(not all(part.strip() for part in parts) for parts in rows) / len(rows),
        "repetitive_frac": sum(repetitive(texts)) / len(texts),
    }


def judged(made: DistilledSet, real: LabelledText, context: Context) -> dict[str, float]:
    """Lets a language model of the train split, trained from another seed than the one that methods use, read the texts.

    Args:
        made: A set of texts.
        real: The train split.
        context: Builds the model; its cost meter is charged.

    Returns:
        `judge_perplexity` per token (pieces that the train split never uses are left out), and `judge_perplexity_real`, that of
        train rows held out of the judge's training. To be read from both sides: above it the texts are odd, far below it they are
        commonplace.
    """
    from bench.matching.start import words_of

    source = context.source(real)
    judge = context.judge(real, source)
    text = made.resolve(real)
    return {
        "judge_perplexity": judge.perplexity_of(words_of(source, text), text.labels_N),
        "judge_perplexity_real": judge.perplexity,
    }


def nearest_tokens(made: DistilledSet, real: LabelledText, context: Context) -> list[dict[str, str]]:
    """Reads token vectors as the tokens of the learner's table that they are nearest to: for every text, field -> tokens.

    They show what vectors are about, if anything; no learner is trained on them.
    """
    from bench.matching.start import nearest_words, text_of

    assert made.soft is not None
    source = context.source(real)
    columns = text_of(source, list(real.fields), nearest_words(source, made.soft))
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
