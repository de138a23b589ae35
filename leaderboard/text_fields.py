"""How the texts read: fields of a row, averaged over a method's sets."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from typing_extensions import TypedDict

from tdbench.bench.record import Record

NEAR_P = 0.05
"""Texts that real ones would be as far from the real sample as with at most this probability are told apart."""


class TextFields(TypedDict):
    """How the texts read, see docs/text-quality.md; means over sets, null where it was not measured."""

    judge_perplexity: float | None
    """Per token, by a language model that had no part in the texts; generated texts only."""
    judge_perplexity_real: float | None
    """The same of held-out real texts."""
    distinct_2: float | None
    """Share of different pairs of neighbouring words."""
    empty_frac: float | None
    """Share of texts with a field without a word."""
    repetitive_frac: float | None
    """Share of texts that repeat an earlier text of the set, or themselves."""
    effective_ratio: float | None
    """Effective size of the weights that texts were drawn from, over the texts of a class; of methods that draw so."""
    teacher_agreement_frac: float | None
    """Share of texts to which a head trained on the real texts by the method gives the label that they bear."""

    distinct_1: float | None
    """Share of different words in a set."""
    self_bleu_frac: float | None
    """Mean BLEU of a text against the others of its set."""
    mean_words: float | None
    """Mean words of a text."""
    mean_words_real: float | None
    """The same of real texts of the task."""
    length_gap_words: float | None
    """Wasserstein distance between the lengths of the set's and of real texts."""
    vendi_minilm: float | None
    """Entirely different texts that the set is worth, by sentences."""
    vendi_words: float | None
    """The same by words."""
    mmd2_minilm: float | None
    """Unbiased squared MMD to real texts, by sentences."""
    mmd2_words: float | None
    """The same by words."""
    told_apart_minilm_frac: float | None
    """Share of sets that a permutation test tells from real texts (p at most 0.05), by sentences."""
    told_apart_words_frac: float | None
    """The same by words."""
    mauve_minilm: float | None
    """MAUVE of the texts and real ones, 0 to 1."""
    label_agreement_frac: float | None
    """Share of texts whose label a classifier of words gives; generated texts only."""
    label_agreement_real_frac: float | None
    """The same of held-out real texts."""
    near_train_frac: float | None
    """Share of texts with a near-duplicate in the train split; generated texts only."""
    near_test_frac: float | None
    """The same in the test split."""


def text_fields(distils: Iterable[Record]) -> TextFields:
    """Averages what was measured about the texts of sets."""
    found = [record.distil for record in distils if record.distil is not None]
    measured = [distil.quality.values for distil in found if distil.quality is not None]
    noted = [distil.diagnostics for distil in found]

    def value(name: str) -> float | None:
        if name in ("teacher_agreement_frac", "effective_ratio"):  # the method's own
            return _mean([numbers[name] for numbers in noted if name in numbers])
        if name.startswith("told_apart_"):
            p = f"mmd_p_{name.removeprefix('told_apart_').removesuffix('_frac')}"
            return _mean([float(numbers[p] <= NEAR_P) for numbers in measured if p in numbers])
        return _mean([numbers[name] for numbers in measured if name in numbers])

    return {name: value(name) for name in TextFields.__annotations__}  # type: ignore[return-value] - exactly its fields


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
