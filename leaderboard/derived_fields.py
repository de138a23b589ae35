"""The fields of a row that follow from several rows or models, and their values before rows are compared."""

from __future__ import annotations

from typing_extensions import TypedDict


class DerivedFields(TypedDict):
    """What follows from scores of several rows or models."""

    diff_reference_to: str
    """Name of the reference behind `diff_reference`; empty without one."""
    incomplete_references: str
    """References behind the differences that lack sets, with how many they have, joined by `, `."""
    gap_closed_frac: float | None
    """(score - random) / (full - random)."""
    majority_frac: float | None
    """Headline of always predicting the most frequent class of the test rows."""
    collapse_frac: float | None
    """Share of trained models that are at most two points better than majority."""
    n_distinct_sets: int
    """Distilled sets with different contents; where there is one, intervals are over trainings."""
    unseen_learners: str
    """Of an unseen mean, the learners that it averages, joined by `, `; empty otherwise."""


class GapFields(TypedDict):
    """Distances of the headline on other scales than `ComparisonFields`."""

    hard_label_recovery_frac: float | None
    """score / full, at most 1; track `text` alone, because training on all data has neither soft labels nor learned steps."""
    gain_random_frac: float | None
    """From -1 to 1: share of random's errors that are gone, (score - random) / (1 - random); below random, (score - random) / random."""
    transfer_gap: float | None
    """Source learner - mean of the unseen learners, paired by set; on rows of the source learner."""
    transfer_gap_low: float | None
    """Lower bound of the 95 % t interval."""
    transfer_gap_high: float | None
    """Upper bound of the same."""
    transfer_excess: float | None
    """`transfer_gap` - that of random texts: what a set gives its own learner and no other. Welch interval."""
    transfer_excess_low: float | None
    """Lower bound."""
    transfer_excess_high: float | None
    """Upper bound."""
    discretisation_gap: float | None
    """The same method's token vectors (`output=embedding`) - its texts. Welch interval."""
    discretisation_gap_low: float | None
    """Lower bound."""
    discretisation_gap_high: float | None
    """Upper bound."""


class BreakevenFields(TypedDict):
    """Trainings of the row's learner from which on making the set has paid off; infinity means never, null unknown."""

    breakeven_full_cpu: float | None
    """Against training on all data, in processor seconds on one kind of hardware."""
    breakeven_full_gpu: float | None
    """The same in GPU seconds."""
    breakeven_full_flops: float | None
    """The same in operations; a bound from below where `distil_flops_uncounted` names something."""
    breakeven_kmeans_cpu: float | None
    """Against K-means medoids, which are trained on by the same recipe, in processor seconds on one kind of hardware. Null also where the
    set is cheaper than theirs and a training on it dearer."""
    breakeven_kmeans_gpu: float | None
    """The same in GPU seconds."""
    breakeven_kmeans_flops: float | None
    """The same in operations; null where some were not counted."""


class RankFields(TypedDict):
    """Place among the ranked default configurations of a table, by one learner; null for rows that are not among them."""

    rank: int | None
    """1 is the best score; equal scores share the better rank."""
    rank_low: int | None
    """Best place that pairwise Welch tests leave open (Holm over all pairs of the table's learner, 5 %)."""
    rank_high: int | None
    """Worst place that they leave open."""
    n_entrants: int | None
    """Rows that are ranked with it."""


NO_GAP: GapFields = dict.fromkeys(GapFields.__annotations__)  # type: ignore[assignment]
NO_BREAKEVEN: BreakevenFields = dict.fromkeys(BreakevenFields.__annotations__)  # type: ignore[assignment]
NO_RANK: RankFields = dict.fromkeys(RankFields.__annotations__)  # type: ignore[assignment]
