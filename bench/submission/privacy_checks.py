"""Privacy checks: epsilon is recomputed from the answered queries and compared with the claim."""

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
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.record import RELATION, UNIT, PrivacyStatement, Record
from tdbench.bench.submission.intake import Contents, Report

Asked: TypeAlias = tuple[PrivacyStatement, int]
"""A statement, and how many sets with its queries are released together."""
MOST_S = 300.0
"""Seconds for all statements of a submission."""
MOST_BYTES = 12 << 30
"""Address space of the process, of which libraries take a part."""


def spent_by(requests: Sequence[Asked]) -> list[float | str | None]:
    """Computes epsilon for every statement.

    Args:
        requests: Statements, each with a number of sets.

    Returns:
        For each, epsilon, or why it cannot be computed, or None where it took too long.
    """
    if not requests:
        return []
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_compute, args=(sender, list(requests)), daemon=True)
    child.start()
    sender.close()
    results: list[float | str | None] = []
    try:
        while len(results) < len(requests) and receiver.poll(MOST_S / len(requests) if results else MOST_S):
            results.append(receiver.recv())
    except EOFError:
        pass
    finally:
        child.kill()
        child.join()
    return [*results, *([None] * (len(requests) - len(results)))]


def _compute(answers: Connection, requests: list[Asked]) -> None:
    """Sends one answer after the other."""
    from tdbench.bench.privacy.accounting import Mechanism, epsilon_of

    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for statement, sets in requests:
        mechanisms = [
            Mechanism(query.mechanism, query.noise_multiplier, query.rate, query.steps) for query in statement.queries
        ]
        try:
            answers.send(float(epsilon_of(mechanisms, statement.delta, group=statement.group, sets=sets)))
        except MemoryError:
            answers.send("it takes too much memory")
        except (TDBenchError, ValueError, OverflowError, ArithmeticError) as error:
            answers.send(f"{type(error).__name__}: {error}")


MOST_QUERIES, MOST_STEPS = 100, 1_000_000
LEAST_SAMPLED_NOISE = 0.3
TOLERANCE = 0.02
"""Relative; the two accountants agree to it."""


def check_promises(contents: Contents, _accepted: Archive, report: Report) -> None:
    """Checks the promise of every private set, and that others make none."""
    claims: list[tuple[str, PrivacyStatement]] = []
    for record in contents.records.values():
        if record.stage != "distil" or record.distil is None:
            continue
        where, statement = contents.where(record), record.distil.privacy
        if not record.method_facts.private:
            if statement is not None or record.distil.epsilon is not None:
                report.error("privacy", where, "it promises privacy, but its method is not private.")
        elif statement is None:
            report.error("privacy", where, "its method is private, but there is no statement of its assumptions.")
        elif _check(record, statement, where, report):
            claims.append((where, statement))
    _check_spending(claims, report)
    _check_together(contents, report)
    for record in contents.records.values():
        if record.audit is not None and record.method_facts.private:
            _check_audit(record, contents, report)


def _check(record: Record, statement: PrivacyStatement, where: str, report: Report) -> bool:
    """Checks what a statement says of itself; tells whether its spending is to be computed."""
    assert record.distil is not None
    if (record.distil.epsilon, record.distil.delta) != (statement.epsilon, statement.delta):
        report.error(
            "privacy",
            where,
            f"it claims epsilon {record.distil.epsilon}, delta {record.distil.delta}; its statement "
            f"{statement.epsilon}, {statement.delta}.",
        )
    requested, oracle = record.cell.config.get("epsilon"), record.cell.config.get("oracle", "data")
    if statement.raw_reads:
        report.add("warning", "raw-read", where, "it read rows outside of any mechanism: no promise.")
    if (statement.unit, statement.relation) != (UNIT, RELATION):
        report.error(
            "privacy",
            where,
            f"it is about {statement.unit!r}, {statement.relation!r}; promises are about {UNIT!r}, {RELATION!r}.",
        )
    if statement.delta * statement.n_rows > 1:
        report.error(
            "privacy",
            where,
            f"delta {statement.delta:g} is more than one in {statement.n_rows:,} rows: that promises nothing.",
        )
    if statement.oracle != oracle:
        report.error("privacy", where, f"it was answered with {statement.oracle}; its options say {oracle}.")
    if statement.epsilon == "inf":
        if isinstance(requested, int | float) and not isinstance(requested, bool) and not statement.raw_reads:
            report.error("privacy", where, f"epsilon {requested} was asked for, none is promised.")
        return False
    if (
        isinstance(requested, int | float)
        and not isinstance(requested, bool)
        and statement.epsilon > requested * (1 + 1e-9)
    ):
        report.error("privacy", where, f"it promises epsilon {statement.epsilon}; its options ask for {requested}.")
    if not statement.queries and statement.epsilon > 0:
        report.add(
            "warning",
            "privacy",
            where,
            "it names no query: its set says nothing about the rows, or the ledger is not whole.",
        )
    if absurd := _absurd(statement):
        report.error("privacy", where, f"{absurd}; that is not computed.")
        return False
    return True


def _absurd(statement: PrivacyStatement) -> str:
    """Says what makes a statement's queries not worth computing; empty where nothing does."""
    if len(statement.queries) > MOST_QUERIES or sum(query.steps for query in statement.queries) > MOST_STEPS:
        return f"it names more than {MOST_QUERIES} queries or {MOST_STEPS:,} answers"
    if any(not 1e-3 <= query.noise_multiplier <= 1e7 for query in statement.queries if query.steps):
        return "its noise lies outside of 0.001 to 10,000,000 times the sensitivity"
    if any(
        query.noise_multiplier < LEAST_SAMPLED_NOISE for query in statement.queries if query.steps and query.rate < 1
    ):
        return f"noise below {LEAST_SAMPLED_NOISE} times the sensitivity on samples protects nobody"
    if len(statement.epsilon_of_sets) > 20 or not all(1 <= sets <= 1_000 for sets in statement.epsilon_of_sets):
        return "it counts over no set, or over 1,000 sets"
    return ""


def _check_spending(claims: list[tuple[str, PrivacyStatement]], report: Report) -> None:
    """Recomputes epsilon from the answered queries; equal statements once."""
    unique: dict[str, tuple[PrivacyStatement, int]] = {}
    for _, statement in claims:
        for sets in (1, *statement.epsilon_of_sets):
            unique.setdefault(_same(statement, sets), (statement, sets))
    spent = dict(zip(unique, spent_by(list(unique.values())), strict=True))
    for where, statement in claims:
        epsilon = spent[_same(statement, 1)]
        if not isinstance(epsilon, float):
            _not_computed(epsilon, where, report)
            continue
        if statement.oracle == "noise-only":
            continue
        if not statement.queries and (statement.epsilon_spent or 0) > 0:
            report.error("privacy", where, "it spent privacy, and names no query.")
        if math.isinf(epsilon) or epsilon > float(statement.epsilon) * (1 + TOLERANCE):
            text = f"its queries spend epsilon {epsilon:.3f} at delta {statement.delta:g}; it promises {statement.epsilon}."
            report.error("privacy", where, text)
        elif statement.epsilon_spent is not None and abs(epsilon - statement.epsilon_spent) > TOLERANCE * max(
            epsilon, 1e-3
        ):
            report.error(
                "privacy", where, f"its queries spend epsilon {epsilon:.3f}; recorded is {statement.epsilon_spent:.3f}."
            )
        for sets, claimed in statement.epsilon_of_sets.items():
            together = spent[_same(statement, sets)]
            if not isinstance(together, float):
                _not_computed(together, where, report)
            elif together > claimed * (1 + TOLERANCE):
                text = f"{sets} sets together spend epsilon {together:.3f}; recorded is {claimed:.3f}."
                report.error("privacy", where, text)


def _same(statement: PrivacyStatement, sets: int) -> str:
    return canonical_json(
        [
            [q.model_dump(mode="json", exclude={"name"}) for q in statement.queries],
            statement.delta,
            statement.group,
            sets,
        ]
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
        statement = records[0].distil.privacy if records[0].distil else None
        if statement is None or statement.epsilon == "inf" or not statement.queries or len(records) == 1:
            continue
        if max(statement.epsilon_of_sets, default=1) < len(records):
            text = f"{len(records)} sets are released, and their promise does not say what so many cost together."
            report.error("privacy", contents.where(records[0]), text)


def _check_audit(record: Record, contents: Contents, report: Report) -> None:
    audit = record.audit
    assert audit is not None
    claim = audit.epsilon_claim
    if isinstance(claim, int | float) and audit.epsilon_lower > claim:
        report.error("privacy", contents.where(record), "its audit proves a larger epsilon than is promised.")
