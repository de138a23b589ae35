"""What a language model that had no part in generated texts thinks of them, and what token vectors are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet


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
    from tdbench.bench.matching.start import words_of

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
    from tdbench.bench.matching.start import nearest_words, text_of

    assert made.soft is not None
    source = context.source(real)
    columns = text_of(source, list(real.fields), nearest_words(source, made.soft))
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
