"""Checks of promises: epsilon is computed again from what was answered, and compared with what is claimed."""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
from collections import defaultdict
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TypeAlias

from tdbench.bench.canonical import canonical_json
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Accepted
from tdbench.bench.record import RELATION, UNIT, PrivacyStatement, Record
from tdbench.bench.submission.intake import Contents, Report

Asked: TypeAlias = tuple[PrivacyStatement, int]
"""A statement, and how many sets with its queries are released together."""
MOST_S = 300.0
"""Seconds for all statements of a submission."""
MOST_BYTES = 12 << 30
"""Address space of the process, of which libraries take a part."""


def spent_by(asked: Sequence[Asked]) -> list[float | str | None]:
    """Computes epsilon for every statement.

    Args:
        asked: Statements, each with a number of sets.

    Returns:
        For each, epsilon, or why it cannot be computed, or None where it took too long.
    """
    if not asked:
        return []
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_compute, args=(theirs, list(asked)), daemon=True)
    child.start()
    theirs.close()
    found: list[float | str | None] = []
    try:
        while len(found) < len(asked) and mine.poll(MOST_S / len(asked) if found else MOST_S):
            found.append(mine.recv())
    except EOFError:
        pass
    finally:
        child.kill()
        child.join()
    return [*found, *([None] * (len(asked) - len(found)))]


def _compute(answers: Connection, asked: list[Asked]) -> None:
    """Sends one answer after the other."""
    from tdbench.bench.privacy.accounting import Mechanism, epsilon_of

    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for said, sets in asked:
        mechanisms = [Mechanism(one.mechanism, one.noise_multiplier, one.rate, one.steps) for one in said.queries]
        try:
            answers.send(float(epsilon_of(mechanisms, said.delta, group=said.group, sets=sets)))
        except MemoryError:
            answers.send("it takes too much memory")
        except (TDBenchError, ValueError, OverflowError, ArithmeticError) as error:
            answers.send(f"{type(error).__name__}: {error}")


MOST_QUERIES, MOST_STEPS = 100, 1_000_000
LEAST_SAMPLED_NOISE = 0.3
TOLERANCE = 0.02
"""Relative; the two accountants agree to it."""


def check_promises(contents: Contents, _accepted: Accepted, report: Report) -> None:
    """Checks the promise of every private set, and that others make none."""
    claims: list[tuple[str, PrivacyStatement]] = []
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
        elif _check(record, said, where, report):
            claims.append((where, said))
    _check_spending(claims, report)
    _check_together(contents, report)
    for record in contents.records.values():
        if record.audit is not None and record.method_facts.private:
            _check_audit(record, contents, report)


def _check(record: Record, said: PrivacyStatement, where: str, report: Report) -> bool:
    """Checks what a statement says of itself; tells whether its spending is to be computed."""
    assert record.distil is not None
    if (record.distil.epsilon, record.distil.delta) != (said.epsilon, said.delta):
        report.error(
            "privacy",
            where,
            f"it claims epsilon {record.distil.epsilon}, delta {record.distil.delta}; its statement {said.epsilon}, {said.delta}.",
        )
    asked, oracle = record.cell.config.get("epsilon"), record.cell.config.get("oracle", "data")
    if said.raw_reads:
        report.add("warning", "raw-read", where, "it read rows outside of any mechanism: no promise.")
    if (said.unit, said.relation) != (UNIT, RELATION):
        report.error(
            "privacy",
            where,
            f"it is about {said.unit!r}, {said.relation!r}; promises are about {UNIT!r}, {RELATION!r}.",
        )
    if said.delta * said.n_rows > 1:
        report.error(
            "privacy", where, f"delta {said.delta:g} is more than one in {said.n_rows:,} rows: that promises nothing."
        )
    if said.oracle != oracle:
        report.error("privacy", where, f"it was answered with {said.oracle}; its options say {oracle}.")
    if said.epsilon == "inf":
        if isinstance(asked, int | float) and not isinstance(asked, bool) and not said.raw_reads:
            report.error("privacy", where, f"epsilon {asked} was asked for, none is promised.")
        return False
    if isinstance(asked, int | float) and not isinstance(asked, bool) and said.epsilon > asked * (1 + 1e-9):
        report.error("privacy", where, f"it promises epsilon {said.epsilon}; its options ask for {asked}.")
    if not said.queries and said.epsilon > 0:
        report.add(
            "warning",
            "privacy",
            where,
            "it names no query: its set says nothing about the rows, or the ledger is not whole.",
        )
    if absurd := _absurd(said):
        report.error("privacy", where, f"{absurd}; that is not computed.")
        return False
    return True


def _absurd(said: PrivacyStatement) -> str:
    """Says what makes a statement's queries not worth computing; empty where nothing does."""
    if len(said.queries) > MOST_QUERIES or sum(one.steps for one in said.queries) > MOST_STEPS:
        return f"it names more than {MOST_QUERIES} queries or {MOST_STEPS:,} answers"
    if any(not 1e-3 <= one.noise_multiplier <= 1e7 for one in said.queries if one.steps):
        return "its noise lies outside of 0.001 to 10,000,000 times the sensitivity"
    if any(one.noise_multiplier < LEAST_SAMPLED_NOISE for one in said.queries if one.steps and one.rate < 1):
        return f"noise below {LEAST_SAMPLED_NOISE} times the sensitivity on samples protects nobody"
    if len(said.epsilon_of_sets) > 20 or not all(1 <= sets <= 1_000 for sets in said.epsilon_of_sets):
        return "it counts over no set, or over 1,000 sets"
    return ""


def _check_spending(claims: list[tuple[str, PrivacyStatement]], report: Report) -> None:
    """Computes epsilon again from what was answered; equal statements once."""
    unique: dict[str, tuple[PrivacyStatement, int]] = {}
    for _, said in claims:
        for sets in (1, *said.epsilon_of_sets):
            unique.setdefault(_same(said, sets), (said, sets))
    spent = dict(zip(unique, spent_by(list(unique.values())), strict=True))
    for where, said in claims:
        found = spent[_same(said, 1)]
        if not isinstance(found, float):
            _not_computed(found, where, report)
            continue
        if said.oracle == "noise-only":
            continue
        if not said.queries and (said.epsilon_spent or 0) > 0:
            report.error("privacy", where, "it spent privacy, and names no query.")
        if math.isinf(found) or found > float(said.epsilon) * (1 + TOLERANCE):
            text = f"its queries spend epsilon {found:.3f} at delta {said.delta:g}; it promises {said.epsilon}."
            report.error("privacy", where, text)
        elif said.epsilon_spent is not None and abs(found - said.epsilon_spent) > TOLERANCE * max(found, 1e-3):
            report.error(
                "privacy", where, f"its queries spend epsilon {found:.3f}; recorded is {said.epsilon_spent:.3f}."
            )
        for sets, claimed in said.epsilon_of_sets.items():
            together = spent[_same(said, sets)]
            if not isinstance(together, float):
                _not_computed(together, where, report)
            elif together > claimed * (1 + TOLERANCE):
                text = f"{sets} sets together spend epsilon {together:.3f}; recorded is {claimed:.3f}."
                report.error("privacy", where, text)


def _same(said: PrivacyStatement, sets: int) -> str:
    return canonical_json(
        [[q.model_dump(mode="json", exclude={"name"}) for q in said.queries], said.delta, said.group, sets]
    )


def _not_computed(why: float | str | None, where: str, report: Report) -> None:
    if why is None:
        report.error("privacy", where, "its epsilon takes too long to compute from its queries.")
    else:
        report.error("privacy", where, f"its epsilon cannot be computed from its queries ({why}).")


def _check_together(contents: Contents, report: Report) -> None:
    """Looks whether promises say what all released sets cost together."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in contents.records.values():
        if record.stage == "distil" and record.distil is not None and record.distil.privacy is not None:
            groups[canonical_json(record.cell.model_dump(mode="json", exclude={"set_index"}))].append(record)
    for records in groups.values():
        said = records[0].distil.privacy if records[0].distil else None
        if said is None or said.epsilon == "inf" or not said.queries or len(records) == 1:
            continue
        if max(said.epsilon_of_sets, default=1) < len(records):
            text = f"{len(records)} sets are released, and their promise does not say what so many cost together."
            report.error("privacy", contents.where(records[0]), text)


def _check_audit(record: Record, contents: Contents, report: Report) -> None:
    audit = record.audit
    assert audit is not None
    claim = audit.epsilon_claim
    if isinstance(claim, int | float) and audit.epsilon_lower > claim:
        report.error("privacy", contents.where(record), "its audit proves a larger epsilon than is promised.")
