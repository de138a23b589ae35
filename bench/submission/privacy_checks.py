"""Checks of promises: epsilon is computed again from what was answered, and compared with what is claimed."""

from __future__ import annotations

import math

from bench.errors import TDBenchError
from bench.experiment.record import PrivacyStatement, Record
from bench.submission.contents import Contents
from bench.submission.findings import Report

MOST_QUERIES, MOST_STEPS = 100, 1_000_000
TOLERANCE = 0.02
"""Relative; the two accountants agree to it."""


def check_promises(contents: Contents, report: Report) -> None:
    """Checks the promise of every private set, and that others make none."""
    for record in contents.records.values():
        if record.stage != "distil" or record.distil is None:
            continue
        where, said = contents.where(record), record.distil.privacy
        if not record.method_facts.private:
            if said is not None or record.distil.epsilon is not None:
                report.error("privacy", where, "it promises privacy, but its method is not private.")
        elif said is None:
            report.error(
                "privacy", where, "its method is private, but there is no statement of what its promise rests on."
            )
        else:
            _check(record, said, where, report)
    for record in contents.records.values():
        if record.audit is not None and record.method_facts.private:
            _check_audit(record, contents, report)


def _check(record: Record, said: PrivacyStatement, where: str, report: Report) -> None:
    assert record.distil is not None
    if (record.distil.epsilon, record.distil.delta) != (said.epsilon, said.delta):
        report.error(
            "privacy",
            where,
            f"it claims epsilon {record.distil.epsilon}, delta {record.distil.delta}; its statement {said.epsilon}, {said.delta}.",
        )
    asked = record.cell.config.get("epsilon")
    if said.raw_reads:
        report.add("warning", "raw-read", where, "it read rows outside of any mechanism: no promise.")
    if said.epsilon == "inf":
        if isinstance(asked, int | float) and not isinstance(asked, bool) and not said.raw_reads:
            report.error("privacy", where, f"epsilon {asked} was asked for, none is promised.")
        return
    if isinstance(asked, int | float) and not isinstance(asked, bool) and said.epsilon > asked * (1 + 1e-9):
        report.error("privacy", where, f"it promises epsilon {said.epsilon}; its options ask for {asked}.")
    if absurd := _absurd(said):
        report.error("privacy", where, f"{absurd}; that is not computed.")
        return
    _check_spending(said, where, report)


def _absurd(said: PrivacyStatement) -> str:
    """Says what makes a statement's queries not worth computing; empty where nothing does."""
    if len(said.queries) > MOST_QUERIES or sum(one.steps for one in said.queries) > MOST_STEPS:
        return f"it names more than {MOST_QUERIES} queries or {MOST_STEPS:,} answers"
    if any(not 1e-3 <= one.noise_multiplier <= 1e7 for one in said.queries if one.steps):
        return "its noise lies outside of 0.001 to 10,000,000 times the sensitivity"
    if len(said.epsilon_of_sets) > 20 or max(said.epsilon_of_sets, default=1) > 1_000:
        return "it counts over 1,000 sets"
    return ""


def _check_spending(said: PrivacyStatement, where: str, report: Report) -> None:
    """Computes epsilon again from what was answered."""
    try:
        spent = _spent(said, 1)
    except (TDBenchError, ValueError, OverflowError, ArithmeticError) as error:
        report.error("privacy", where, f"its epsilon cannot be computed from its queries ({error}).")
        return
    if said.oracle == "noise-only":
        return
    if not said.queries and (said.epsilon_spent or 0) > 0:
        report.error("privacy", where, "it spent privacy, and names no query.")
    if math.isinf(spent) or spent > float(said.epsilon) * (1 + TOLERANCE):
        report.error(
            "privacy",
            where,
            f"its queries spend epsilon {spent:.3f} at delta {said.delta:g}; it promises {said.epsilon}.",
        )
    elif said.epsilon_spent is not None and abs(spent - said.epsilon_spent) > TOLERANCE * max(spent, 1e-3):
        report.error("privacy", where, f"its queries spend epsilon {spent:.3f}; recorded is {said.epsilon_spent:.3f}.")
    for sets, claimed in said.epsilon_of_sets.items():
        together = _spent(said, sets)
        if together > claimed * (1 + TOLERANCE):
            report.error(
                "privacy", where, f"{sets} sets together spend epsilon {together:.3f}; recorded is {claimed:.3f}."
            )


def _spent(said: PrivacyStatement, sets: int) -> float:
    from bench.privacy.accounting import Mechanism, epsilon_of

    asked = [Mechanism(one.mechanism, one.noise_multiplier, one.rate, one.steps) for one in said.queries]
    return epsilon_of(asked, said.delta, group=said.group, sets=sets)


def _check_audit(record: Record, contents: Contents, report: Report) -> None:
    audit = record.audit
    assert audit is not None
    claim = audit.epsilon_claim
    if isinstance(claim, int | float) and audit.epsilon_lower > claim:
        report.error("privacy", contents.where(record), "its audit proves a larger epsilon than is promised.")
