"""Columns about what a method promises and what its audit found."""

from __future__ import annotations

import math

from tdbench.leaderboard.column import IN_DOCUMENTS, MISSING, Column
from tdbench.leaderboard.schema import Row

INVALID = "invalid"
"""In the place of results that are not to be believed."""


def epsilon_text(row: Row) -> str:
    """Writes a privacy budget, and whether the audit refutes it; methods without a promise have none."""
    epsilon = row["epsilon"]
    if epsilon is None:
        return MISSING
    text = "inf" if math.isinf(float(epsilon)) else f"{float(epsilon):g}"
    return f"{text} REFUTED" if row["claim_refuted"] else text


def copied_text(row: Row) -> str:
    """Writes how many texts of an audited set are members'."""
    copied, released = row["t1_exact_matches"], row["t1_released"]
    return MISSING if copied is None or released is None else f"{copied} of {released:,}"


def auc_text(value: float | None, low: float | None, high: float | None, finds: float | None) -> str:
    """Writes an AUC with its interval; one that may be chance, with what would have been found."""
    if value is None or low is None or high is None:
        return MISSING
    text = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{text}, finds {finds:.3f}" if low <= 0.5 <= high and finds is not None else text


def set_text(row: Row) -> str:
    """Writes the AUC of membership inference on the set."""
    if row["t1_invalid"]:
        return INVALID
    text = auc_text(row["t1_auc"], row["t1_auc_low"], row["t1_auc_high"], row["t1_detectable_auc"])
    return f"{text}, one set" if row["audit_runs"] == 1 and text != MISSING else text


def model_text(row: Row) -> str:
    """Writes the AUC of membership inference on the model."""
    if row["t2_invalid"]:
        return INVALID
    return auc_text(row["t2_auc"], row["t2_auc_low"], row["t2_auc_high"], row["t2_detectable_auc"])


def bound_text(row: Row) -> str:
    """Writes the lower bound on epsilon."""
    bound = row["epsilon_lower"]
    if bound is None:
        return MISSING
    return INVALID if row["t1_invalid"] or row["t2_invalid"] else f"{bound:.2f}"


def rate_text(row: Row) -> str:
    """Writes a true-positive rate."""
    rate = row["t1_tpr_at_1pct"]
    if rate is None:
        return MISSING
    return INVALID if row["t1_invalid"] else f"{100 * rate:.1f} %"


PRIVACY_COLUMNS: tuple[Column, ...] = (
    Column(
        "epsilon",
        "ε",
        "Privacy budget that the method promises; smaller is stricter. REFUTED where the audit proves a larger one.",
        epsilon_text,
        lambda row: None if row["epsilon"] is None else float(row["epsilon"]),
        optional=True,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "copied",
        "copied",
        "Texts of an audited set that are verbatim one of the rows that it was made from, of all its texts (worst run). "
        "Audited sets are made like the ranked ones, but from a random half of some 2,200 rows.",
        copied_text,
        lambda row: None if row["t1_exact_matches"] is None else float(row["t1_exact_matches"]),
        outputs=IN_DOCUMENTS,
        optional=True,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "t1_auc",
        "MIA set",
        "AUC of membership inference on the released set with its 95 % interval; 0.5 is chance. An AUC that may be chance stands with the "
        "smallest one that the audit would have found: below it nothing is known. Copies hardly move an AUC: read it beside `copied`.",
        set_text,
        lambda row: row["t1_auc"],
        outputs=IN_DOCUMENTS,
        optional=True,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "t1_tpr",
        "TPR at 1 %",
        "Share of members that the same attack finds while it takes one in a hundred non-members for a member; chance is 1 %.",
        rate_text,
        lambda row: row["t1_tpr_at_1pct"],
        outputs=IN_DOCUMENTS,
        optional=True,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "t2_auc",
        "MIA model",
        "The AUC where the attacker sees the scores of the source learner that was trained on the set.",
        model_text,
        lambda row: row["t2_auc"],
        outputs=IN_DOCUMENTS,
        optional=True,
        rising=True,
    ),
    Column(
        "epsilon_lower",
        "empirical ε lower bound",
        "Lower bound on epsilon (delta 1e-5) that guesses of memberships prove, at 95 % for all tests of the audit together; 0 "
        "proves nothing.",
        bound_text,
        lambda row: row["epsilon_lower"],
        outputs=IN_DOCUMENTS,
        optional=True,
        viewpoint="set",
        rising=True,
    ),
)
