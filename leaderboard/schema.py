"""The fields of one row of the board. Their names are a contract with everybody who reads `leaderboard.json`."""

from __future__ import annotations

import math

from typing_extensions import TypedDict

from tdbench.leaderboard.fields import (
    AuditFields,
    CostDetailFields,
    CostFields,
    LLMFields,
    PrivacyFields,
    PromiseFields,
    ReproductionFields,
    TextFields,
)


class WorthFields(TypedDict):
    """How many random real texts one distilled text is worth; source learner, budgets in texts a class, where random has a curve."""

    data_equivalence: float | None
    """Null where the error lies outside of what random texts were measured at."""
    data_equivalence_low: float | None
    """Lower bound of the 95 % interval; null also where it lies below the smallest random set."""
    data_equivalence_high: float | None
    """Null also where the bound lies beyond the largest random set."""
    data_equivalence_above: float | None
    """Where the whole interval lies beyond the largest random set: a text is worth more than this."""
    data_equivalence_below: float | None
    """Where the whole interval lies below the smallest random set: a text is worth less than this."""


NO_WORTH: WorthFields = dict.fromkeys(WorthFields.__annotations__)  # type: ignore[assignment]
"""Of a row before curves are fitted, and of rows that have none beside them."""


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
    transfer_learners: str
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

BOARD_SCHEMA_VERSION = 6
"""Raised when a field of `Row` comes, goes away or changes its meaning."""

TRANSFER = "transfer"
"""Stands in the place of a learner's name on rows that average over the learners a method did not distil with."""

MIXED = "+real"
"""Ends the track of rows whose learners also read real texts."""

ALL_BUDGET = "all"
"""Budget of methods that ignore the budget, such as majority and full."""


class IdentityFields(TypedDict):
    """Which result this is."""

    task: str
    """Name of the task."""
    data_kind: str
    """`real`, `real-subset` or `standin`."""
    method: str
    """Name of the method."""
    options: str
    """Options that differ from the defaults, as `key=value, ...`; empty for the defaults."""
    track: str
    """`text`, `text+soft` or `learner-bound`; `+real` behind it for mixtures with real texts."""
    private: bool
    """Whether the method claims differential privacy."""
    budget: str
    """Texts a class as `dpcN`, or `all` for methods that ignore the budget."""
    protocol: str
    """Name of the protocol."""
    learner: str
    """Name of the trained learner, or `transfer`."""
    is_source: bool
    """Whether methods distil with this learner."""


class AccuracyFields(TypedDict):
    """What the trained models reached, as fractions."""

    n_sets: int
    """Distilled sets that models were trained on."""
    n_seeds: int
    """Training seeds of every set; the smallest number where sets differ."""
    accuracy_frac: float | None
    """Mean test accuracy."""
    macro_f1_frac: float | None
    """Mean over classes of the test F1."""
    ci_low: float | None
    """Lower bound of the 95 % t interval of `score_frac`, over distinct sets, cut at 0 and 1; null with one value."""
    ci_high: float | None
    """Upper bound of the same."""


class ComparisonFields(TypedDict):
    """Welch differences of the headline to references on the same data, protocol, budget and learner."""

    diff_random: float | None
    """`score_frac` less that of random selection."""
    diff_random_low: float | None
    """Lower bound of the 95 % Welch interval, for itself alone."""
    diff_random_high: float | None
    """Upper bound of the same."""
    diff_kmeans: float | None
    """`score_frac` less that of K-means medoids."""
    diff_kmeans_low: float | None
    """Lower bound of the 95 % Welch interval, for itself alone."""
    diff_kmeans_high: float | None
    """Upper bound of the same."""
    diff_reference: float | None
    """To the track's own reference, or to the method's own where that is better."""
    diff_reference_low: float | None
    """Lower bound of the 95 % Welch interval, for itself alone."""
    diff_reference_high: float | None
    """Upper bound of the same."""
    p_holm: float | None
    """Of `diff_reference`: Holm-adjusted over the ranked default configurations of one task, protocol, track and budget with all learners,
    other rows among themselves. Null where the reference lacks sets."""


class StatusFields(TypedDict):
    """Whether it may be ranked."""

    complete: bool
    """Whether all sets and seeds that the protocol asks for are there, and none failed."""
    n_failed: int
    """Runs that failed."""
    ranked: bool
    """Whether it may be ranked; a rank of its own has only a default configuration."""
    unranked_reason: str
    """Plain words; empty for ranked rows."""
    superseded: bool
    """True when newer data or a newer version of the method has replaced these results."""
    custom: bool
    """Whether keys of the protocol were overridden."""
    custom_id: str
    """Tells custom protocols of one name apart; empty otherwise."""


class MethodFields(TypedDict):
    """What kind of method it is."""

    label: str
    """Name shown in tables: the preset's, or the method's."""
    family: str
    """Family of the method, such as `coreset`."""
    output: str
    """`rows` of the train split, new `text`, or token vectors (`embedding`); empty where no set is known."""
    tags: str
    """Facts for which someone would reasonably exclude the method, joined by `, `."""
    cost_class: str
    """`seconds`, `minutes` or `hours`, as the method declares: it decides how many sets a protocol asks for."""
    mode: str
    """How models were trained: `recipe`, the protocol's, or `learned-schedule`, the steps that were learned with the set."""
    reference: bool
    """Whether others are compared with it; references are shown apart."""
    full_data: bool
    """Whether it trains on all real data."""
    external: bool
    """True for a set read from a file."""
    n_rows: int | None
    """Rows of the largest set."""
    n_bytes: float | None
    """Mean over sets, with everything that they bring."""
    n_test_exact: int | None
    """Distilled texts that equal a test text, in the worst set."""


class HeadlineFields(TypedDict):
    """Which score counts, and its mean."""

    metric: str
    """The task's headline, `accuracy_frac` or `macro_f1_frac`: rows are ranked by it; intervals and comparisons are about it."""
    score_frac: float | None
    """Mean of the headline."""


class SignFields(TypedDict):
    """What tells that a method failed, though its row may look like a result."""

    failure_flags: str
    """Signs in plain words, joined by `; `; empty where there is none, and for references."""
    flags_unchecked: str
    """Of a private row, what could not be looked for, joined by `; `: `texts` of records from before they were read, `control`."""


class OriginFields(TypedDict):
    """Where the numbers come from."""

    device: str
    """`cpu` or `cuda`, of the trainings."""
    hardware: str
    """Processor with its cores, or GPU, that models were trained on."""
    task_options: str
    """Options of the task that differ from its defaults."""
    task_version: int
    """Version of the task."""
    method_version: int
    """Version of the method."""
    data_fingerprint: str
    """Hash of the train split."""
    test_fingerprint: str
    """Hash of the test rows."""
    protocol_learners: str
    """The protocol's learners in its own order, joined by `, `."""
    contamination: str
    """Why the learner's pre-training may have seen the task; empty where nothing is known."""
    distil_contamination: str
    """The same of the encoder that the method read."""
    notes: str
    """Remarks of the harness on the trained models, joined by `; `."""
    distil_hardware: str
    """What the sets were made on; `hardware` is what models were trained on."""
    measured: str
    """Days of the first and the last training, such as `2026-11-02 to 2026-11-05`; empty where none ended."""
    commits: str
    """Short commits of the suite that made the runs, joined by `, `; `+` marks one with local changes."""
    command: str
    """Makes the row's runs again; empty for sets from files and for custom protocols."""
    first_set_id: str
    """Stage id of the first set; empty where none is known."""
    first_train_id: str
    """Stage id of the first set's first training, for `tdbench reproduce`; empty where none ended."""


class Row(
    IdentityFields,
    AccuracyFields,
    ComparisonFields,
    WorthFields,
    CostFields,
    LLMFields,
    PrivacyFields,
    StatusFields,
    TextFields,
    MethodFields,
    HeadlineFields,
    DerivedFields,
    GapFields,
    BreakevenFields,
    RankFields,
    CostDetailFields,
    SignFields,
    OriginFields,
    AuditFields,
    PromiseFields,
    ReproductionFields,
):
    """One method under one protocol, seen by one learner. Null means unknown."""


NO_COMPARISON: ComparisonFields = {
    "diff_random": None,
    "diff_random_low": None,
    "diff_random_high": None,
    "diff_kmeans": None,
    "diff_kmeans_low": None,
    "diff_kmeans_high": None,
    "diff_reference": None,
    "diff_reference_low": None,
    "diff_reference_high": None,
    "p_holm": None,
}
"""Comparisons of a row before it is compared."""

FIELD_GROUPS = (
    IdentityFields,
    AccuracyFields,
    ComparisonFields,
    CostFields,
    PrivacyFields,
    StatusFields,
    TextFields,
    MethodFields,
    HeadlineFields,
    DerivedFields,
    SignFields,
    OriginFields,
    AuditFields,
    PromiseFields,
    WorthFields,
    LLMFields,
    GapFields,
    BreakevenFields,
    RankFields,
    CostDetailFields,
    ReproductionFields,
)

ROW_KEYS: tuple[str, ...] = tuple(key for group in FIELD_GROUPS for key in group.__annotations__)
"""All fields in the order in which files hold them."""


def budget_order(budget: str) -> tuple[float, str]:
    """Sorts budgets by the number in their name; `all` comes last."""
    if budget == ALL_BUDGET:
        return math.inf, budget
    digits = "".join(character for character in budget if character in "0123456789")
    return float(digits or 0), budget
