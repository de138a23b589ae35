"""The fields of a row about what a method promises and what its audit found."""

from __future__ import annotations

from typing_extensions import TypedDict


class PrivacyFields(TypedDict):
    """What it leaks and what it promises."""

    epsilon: float | None
    """The largest of the sets; infinity is written as the text `inf`."""
    t1_auc: float | None
    """Of membership inference on the set, by the attack named beforehand; mean over runs. Audited sets are not the ranked ones."""
    t1_auc_low: float | None
    """Lower bound of the 95 % interval."""
    t1_auc_high: float | None
    """Upper bound of the same."""
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

    t1_released: int | None
    """Texts of the set behind `t1_exact_matches`."""
    t1_detectable_auc: float | None
    """Smallest AUC that the audit would have found (one-sided 5 %, power 0.8)."""
    t1_tpr_at_1pct: float | None
    """True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members."""
    t1_null_auc: float | None
    """The same attack on a set that was made from other rows."""
    t2_auc_low: float | None
    """Lower bound of the 95 % interval of `t2_auc`."""
    t2_auc_high: float | None
    """Upper bound of the same."""
    t2_detectable_auc: float | None
    """Smallest AUC on the model that the audit would have found."""
    t2_null_auc: float | None
    """The attack on a model trained on a set from other rows."""
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
