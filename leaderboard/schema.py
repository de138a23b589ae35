"""The fields of one row of the board. Their names are a contract with everybody who reads `leaderboard.json`."""

from __future__ import annotations

import math

from typing_extensions import TypedDict

from leaderboard.costs import CostDetailFields, CostFields
from leaderboard.derived_fields import BreakevenFields, DerivedFields, GapFields, RankFields
from leaderboard.llm_fields import LLMFields
from leaderboard.text_fields import TextFields
from leaderboard.verified import VerifiedFields
from leaderboard.worth import WorthFields

BOARD_SCHEMA_VERSION = 5
"""Raised when a field of `Row` comes, goes away or changes its meaning."""

UNSEEN_MEAN = "unseen-mean"
"""Stands in the place of a learner's name on rows that average over the learners a method did not distil with."""

MIXED = "+real"
"""Ends the track of rows whose learners also read real texts."""
ALL_BUDGET = "all"
"""Budget of methods that ignore the budget, such as majority and full."""


class IdentityFields(TypedDict):
    """Which result this is."""

    task: str
    data_kind: str
    method: str
    options: str
    """Options that differ from the defaults, as `key=value, ...`; empty for the defaults."""
    track: str
    private: bool
    budget: str
    protocol: str
    learner: str
    is_source: bool


class AccuracyFields(TypedDict):
    """What the trained models reached, as fractions."""

    n_sets: int
    n_seeds: int
    """Training seeds of every set; the smallest number where sets differ."""
    accuracy_frac: float | None
    macro_f1_frac: float | None
    ci_low: float | None
    ci_high: float | None


class ComparisonFields(TypedDict):
    """Welch differences of the headline to references on the same data, protocol, budget and learner."""

    diff_random: float | None
    diff_random_low: float | None
    diff_random_high: float | None
    diff_kmeans: float | None
    diff_kmeans_low: float | None
    diff_kmeans_high: float | None
    diff_reference: float | None
    """To the track's own reference, or to the method's own where that is better."""
    diff_reference_low: float | None
    diff_reference_high: float | None
    p_holm: float | None
    """Of `diff_reference`, adjusted within one task, protocol, track and budget; sets from files are left out."""


class PrivacyFields(TypedDict):
    """What it leaks and what it promises."""

    epsilon: float | None
    """The largest of the sets; infinity is written as the text `inf`."""
    t1_auc: float | None
    """Of membership inference on the set, by the attack named beforehand; mean over runs. Audited sets are not the ranked ones."""
    t1_auc_low: float | None
    t1_auc_high: float | None
    t1_exact_matches: int | None
    """Texts of an audited set that equal a member; worst run."""
    t1_members: int | None
    """Members of that run."""
    t2_auc: float | None
    """Of membership inference on the trained model, of the audited learner only."""


class PromiseFields(TypedDict):
    """What a promise of differential privacy rests on; null or empty where there is none."""

    delta: float | None
    """Of the same promise as `epsilon`: the weakest of the sets'."""
    epsilon_all_sets: float | None
    """Epsilon of all of the row's sets together, at the same delta; an upper bound."""
    promise: str
    """Unit, relation, accountants, mechanisms with sensitivity, noise, sampling rate and steps, public resources."""
    released: str
    """Everything that leaves the method's hands, joined by `, `."""


class AuditFields(TypedDict):
    """How far the audit's findings reach."""

    t1_detectable_auc: float | None
    """Smallest AUC that the audit would have found (one-sided 5 %, power 0.8)."""
    t1_tpr_at_1pct: float | None
    """True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members."""
    t1_null_auc: float | None
    """The same attack on a set that was made from other rows."""
    t2_auc_low: float | None
    t2_auc_high: float | None
    t2_detectable_auc: float | None
    t2_null_auc: float | None
    epsilon_lower: float | None
    """Largest lower bound on epsilon that the audit proves, at familywise 95 %."""
    claim_refuted: bool
    """Whether it is larger than `epsilon`."""
    t1_void: bool
    """Whether the attack on the set finds members where there are none, so that it is not to be believed."""
    t2_void: bool
    """The same of the attack on the model."""
    audit_runs: int | None
    """Sets that were made for the audit, without its null run."""
    audit_id: str
    """Stage id of the audit; empty where there is none."""


class StandingFields(TypedDict):
    """Whether it may be ranked."""

    complete: bool
    n_failed: int
    ranked: bool
    unranked_reason: str
    """Plain words; empty for ranked rows."""
    superseded: bool
    """True when newer data or a newer version of the method has replaced these results."""
    custom: bool
    custom_id: str
    """Tells custom protocols of one name apart; empty otherwise."""


class MethodFields(TypedDict):
    """What kind of method it is."""

    label: str
    family: str
    output: str
    """`rows` of the train split, new `text`, or token vectors (`embedding`); empty where no set is known."""
    tags: str
    """Facts for which someone would reasonably exclude the method, joined by `, `."""
    cost_class: str
    mode: str
    """How models were trained: `recipe`, the protocol's, or `learned-schedule`, the steps that were learned with the set."""
    reference: bool
    full_data: bool
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

    failure_signs: str
    """Signs in plain words, joined by `; `; empty where there is none, and for references."""
    signs_unchecked: str
    """Of a private row, what could not be looked for, joined by `; `: `texts` of records from before they were read, `control`."""


class OriginFields(TypedDict):
    """Where the numbers come from."""

    device: str
    hardware: str
    task_options: str
    task_version: int
    method_version: int
    data_fingerprint: str
    test_fingerprint: str
    protocol_learners: str
    """The protocol's learners in its own order, joined by `, `."""
    contamination: str
    """Why the learner's pre-training may have seen the task; empty where nothing is known."""
    distil_contamination: str
    """The same of the encoder that the method read."""
    notes: str
    """Remarks of the harness on the trained models, joined by `; `."""
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
    StandingFields,
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
    VerifiedFields,
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
    StandingFields,
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
    VerifiedFields,
)
ROW_KEYS: tuple[str, ...] = tuple(key for group in FIELD_GROUPS for key in group.__annotations__)
"""All fields in the order in which files hold them."""


def budget_order(budget: str) -> tuple[float, str]:
    """Sorts budgets by the number in their name; `all` comes last."""
    if budget == ALL_BUDGET:
        return math.inf, budget
    digits = "".join(character for character in budget if character in "0123456789")
    return float(digits or 0), budget
