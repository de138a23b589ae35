"""Checks against what is accepted: controls within tolerance, the same learners, and whether the rows would be ranked."""

from __future__ import annotations

from collections import defaultdict

from bench.canonical import canonical_json
from bench.experiment.accepted import Accepted
from bench.experiment.record import Record
from bench.submission.collect import CONTROLS
from bench.submission.contents import Contents
from bench.submission.findings import Report, listed
from leaderboard.rows import build_rows

_REFERENCES = {"random", "kmeans", "full", "majority", "teacher-labels", "class-mean"}
"""Accepted rows that others are compared with."""
TOLERANCE_FRAC = 0.03
"""Scores of one control run may differ by this much between machines; training differs by rounding."""


def check_against(contents: Contents, accepted: Accepted, method: str | None, report: Report) -> None:
    """Compares with accepted results and says which rows would be ranked.

    Args:
        contents: The submission.
        accepted: Accepted results.
        method: Name that the form says; None where it could not be read.
        report: Receives what was found.
    """
    _check_controls(contents, accepted, report)
    _check_learners(contents, accepted, report)
    _check_methods(contents, accepted, method, report)
    if method is not None:
        _check_standing(contents, accepted, method, report)


def _check_controls(contents: Contents, accepted: Accepted, report: Report) -> None:
    own = [r for r in contents.records.values() if r.train is not None and r.cell.method in CONTROLS]
    known = [(record, accepted.get(record.id)) for record in own]
    compared = [(record, other) for record, other in known if other is not None and other.train is not None]
    if not compared:
        report.add(
            "warning",
            "no-control",
            "records",
            f"no run of {' or '.join(CONTROLS)} that accepted results hold too: nothing shows that the suite gives here what it gives "
            "elsewhere. Run it on the same task, budget and protocol, then collect again.",
        )
    for record, other in compared:
        assert record.train is not None
        assert other.train is not None
        differs = abs(getattr(record.train, record.train.metric) - getattr(other.train, other.train.metric))
        if record.set_sha256 != other.set_sha256:
            report.error(
                "control", contents.where(record), "this control's set is not the accepted one of the same id."
            )
        elif differs > TOLERANCE_FRAC:
            report.error(
                "control",
                contents.where(record),
                f"this control's score is {100 * differs:.1f} points off the accepted one.",
            )


def _check_learners(contents: Contents, accepted: Accepted, report: Report) -> None:
    """Compares the learners' identities, weights included, with those of accepted results under the same protocol."""
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in accepted.records():
        if record.train is not None:
            known[str((record.protocol or {}).get("name")), record.train.learner].add(
                canonical_json(record.train.learner_spec)
            )
    for record in contents.records.values():
        if record.train is None:
            continue
        key = str((record.protocol or {}).get("name")), record.train.learner
        if key in known and canonical_json(record.train.learner_spec) not in known[key]:
            report.error(
                "learner",
                contents.where(record),
                f"its {record.train.learner} is not the one of accepted results: other options or weights.",
            )


def _check_methods(contents: Contents, accepted: Accepted, method: str | None, report: Report) -> None:
    found = {record.cell.method for record in contents.records.values()}
    if method is not None and method not in found:
        report.error("method", "submission.yaml", f"it is about {method}; the packs hold {listed(found)}.")
    if method is not None and (extra := found - {method, *CONTROLS}):
        report.error(
            "method", listed(extra), f"a submission holds one method and controls; this one is about {method}."
        )
    ids = {record.id for record in accepted.records()}
    if repeated := [r for r in contents.records.values() if r.id in ids and r.cell.method not in CONTROLS]:
        report.add(
            "note",
            "known",
            contents.where(repeated[0]),
            f"{len(repeated)} of its records are among the accepted ones already.",
        )


def _check_standing(contents: Contents, accepted: Accepted, method: str, report: Report) -> None:
    own = [record for record in contents.records.values() if record.stage in {"distil", "train", "audit"}]
    tasks = {record.cell.task for record in own}
    beside = [r for r in accepted.records() if r.cell.method in _REFERENCES - {method} and r.cell.task in tasks]
    try:
        rows = [row for row in build_rows([*beside, *own]) if row["method"] == method]
    except Exception as error:  # records that were refused above may not make rows
        report.error("rows", "records", f"no rows can be made of its records ({type(error).__name__}: {error}).")
        return
    trained = {(r.cell.task, r.cell.budget) for r in own if r.train is not None and r.cell.method == method}
    mine = [row for row in rows if (row["task"], row["budget"]) in trained and row["is_source"]]
    for row in mine:
        where = f"{row['task']} {row['budget']} {row['track']} {row['options']}".strip()
        if not row["ranked"]:
            report.add("warning", "unranked", where, f"this row would not be ranked: {row['unranked_reason']}.")
        if row["failure_signs"]:
            report.add("warning", "failure-signs", where, f"{row['failure_signs']}.")
    if mine and not any(row["ranked"] for row in mine):
        report.error(
            "incomplete",
            method,
            "none of its rows would be ranked; finish the sets and seeds that the protocol asks for.",
        )


def audited(records: list[Record]) -> bool:
    """Tells whether leakage was measured."""
    return any(record.audit is not None for record in records)
