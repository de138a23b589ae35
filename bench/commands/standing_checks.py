"""Checks against what is accepted: controls within tolerance, the same learners, and whether the rows would be ranked."""

from __future__ import annotations

from collections import defaultdict

from tdbench.bench.canonical import canonical_json
from tdbench.bench.experiment.archive import Accepted
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.submission.collect import CONTROLS, scope_of
from tdbench.bench.submission.contents import Contents
from tdbench.bench.submission.findings import Report, listed
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.runs import options_text

_REFERENCES = frozenset({"random", "kmeans", "full", "majority", "teacher-labels", "class-mean"})
"""Accepted rows that others are compared with."""
TOLERANCE_FRAC = 0.03
"""Scores of one control run may differ by this much between machines; training differs by rounding."""


def check_against(contents: Contents, accepted: Accepted, method: str | None, report: Report) -> None:
    """Compares with accepted results.

    Args:
        contents: The submission.
        accepted: Accepted results.
        method: What it is about; None where that is not known.
        report: Receives what was found.
    """
    _check_controls(contents, accepted, method, report)
    _check_learners(contents, accepted, report)
    _check_methods(contents, method, report)
    _check_known(contents, accepted, report)
    _check_form(contents, report)


def _check_controls(contents: Contents, accepted: Accepted, method: str | None, report: Report) -> None:
    own = [r for r in contents.records.values() if r.train is not None and r.cell.method in CONTROLS]
    known = [(record, accepted.get(record.id)) for record in own]
    compared = [(r, other) for r, other in known if other is not None and other.train is not None]
    fresh = [(r, other) for r, other in compared if r.created != other.created]
    for record, other in compared:
        assert record.train is not None
        assert other.train is not None
        differs = abs(getattr(record.train, record.train.metric) - getattr(other.train, other.train.metric))
        if record.set_sha256 != other.set_sha256:
            report.error(
                "control", contents.where(record), "this control's set is not the accepted one of the same id."
            )
        elif differs > TOLERANCE_FRAC:
            said = f"this control's score is {100 * differs:.1f} points off the accepted one."
            report.error("control", contents.where(record), said)
    if len(fresh) < len(compared):
        said = f"{len(compared) - len(fresh)} of its controls are the accepted records themselves, which show nothing."
        report.add("warning", "control", "records", said)
    covered = {scope_of(record) for record, _ in fresh}
    wanted = {scope_of(r) for r in contents.records.values() if r.train is not None and r.cell.method == method}
    if missing := wanted - covered:
        what = ", ".join(" ".join(scope) for scope in sorted(missing)[:3])
        said = (
            f"no run of {' or '.join(CONTROLS)} made beside it, that accepted results hold too, on {what}: nothing shows that the suite "
            "gives here what it gives elsewhere. Run it on the same task, budget and protocol, then collect again."
        )
        report.add("warning", "no-control", "records", said)


def _check_learners(contents: Contents, accepted: Accepted, report: Report) -> None:
    """Compares the learners' identities, weights included, with those of accepted results under the same protocol."""
    known: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in accepted.records():
        if record.train is not None:
            known[scope_of(record)[2], record.train.learner].add(canonical_json(record.train.learner_spec))
    used: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for record in contents.records.values():
        if record.train is None:
            continue
        key = scope_of(record)[2], record.train.learner
        if key in known and canonical_json(record.train.learner_spec) not in known[key]:
            said = f"its {record.train.learner} is not the one of accepted results: other options or weights."
            report.error("learner", contents.where(record), said)
        planned = tuple((record.protocol or {}).get("learners", ()))
        if record.distil_id in contents.records and _text_track(contents.records[record.distil_id]):
            used[(record.cell.method, *scope_of(record), *planned)].add(record.train.learner)
    for (method, task, budget, _, *planned), seen in used.items():
        if missing := set(planned) - seen:
            said = f"it was not trained on by {listed(missing)}: whether it transfers is a hole."
            report.add("warning", "learner", f"{task} {method} {budget}", said)


def _text_track(record: Record) -> bool:
    return record.distil is not None and record.distil.track != "learner-bound"


def _check_methods(contents: Contents, method: str | None, report: Report) -> None:
    found = {record.cell.method for record in contents.records.values()}
    if method is None:
        report.error("method", "records", f"which method it is about cannot be told; the packs hold {listed(found)}.")
        return
    if method in _REFERENCES:
        report.error(
            "method",
            "submission.yaml",
            f"{method} is a reference: its results are made by the suite's maintainers alone.",
        )
    if method not in found:
        report.error("method", "submission.yaml", f"it is about {method}; the packs hold {listed(found)}.")
    elif not any(r.train is not None and r.cell.method == method for r in contents.records.values()):
        report.error("incomplete", method, "no model was trained on its sets.")
    if extra := found - {method, *CONTROLS}:
        said = f"a submission holds one method and controls; this one is about {method}."
        report.error("method", listed(extra), said)


def _check_known(contents: Contents, accepted: Accepted, report: Report) -> None:
    """Accepted records are never replaced: what contradicts them is refused, what bears them out is named and left out."""
    audits = {_about(record): record.id for record in accepted.records() if record.audit is not None}
    repeated = []
    for record in contents.records.values():
        other = accepted.get(record.id)
        if record.cell.method in CONTROLS:
            continue
        if other is not None and not _bears_out(record, other):
            said = "an accepted record of this id has another result; accepted ones are not replaced."
            report.error("known", contents.where(record), said)
        elif other is not None:
            repeated.append(record)
        elif record.audit is not None and _about(record) in audits:
            said = f"what it is about has an accepted audit, {audits[_about(record)]}; accepted ones are not replaced."
            report.error("known", contents.where(record), said)
    if repeated:
        said = f"{len(repeated)} of its records are accepted already, with these results: they are left out."
        report.add("note", "known", contents.where(repeated[0]), said)


def _bears_out(record: Record, other: Record) -> bool:
    """Tells whether a record has the result of an accepted one of the same id, though it may have been made another time or elsewhere."""
    if record.train is None or other.train is None:
        same_set = set_sha256(record) == set_sha256(other)
        return same_set and record.stage == other.stage and record.audit == other.audit
    metric = other.train.metric
    differs = abs(getattr(record.train, metric) - getattr(other.train, metric))
    return record.set_sha256 == other.set_sha256 and differs <= TOLERANCE_FRAC


def _about(record: Record) -> str:
    return canonical_json([record.cell.model_dump(mode="json", exclude={"set_index"}), scope_of(record)[2]])


def _check_form(contents: Contents, report: Report) -> None:
    form = contents.form
    if form is None:
        return
    if form.division == "open" and not form.notes:
        report.error("form", "submission.yaml notes", "in the open division notes say what else was used.")
    if form.tuning.configurations and "test" in form.tuning.chosen_on.lower().split():
        said = "configurations are not compared on a test split; if this one was, its results cannot be accepted."
        report.add("warning", "tuning", "submission.yaml tuning.chosen_on", said)
    if not any(record.audit is not None for record in contents.records.values()):
        report.add("note", "no-audit", "records", "leakage was not measured; `tdbench run ... audit=model` does.")


def check_standing(contents: Contents, accepted: Accepted, method: str, report: Report) -> None:
    """Says which rows would not be ranked, the submission and accepted records taken together.

    Args:
        contents: The submission.
        accepted: Accepted results.
        method: What it is about.
        report: Receives what was found.
    """
    own = [r for r in contents.records.values() if r.cell.method == method and r.stage in {"distil", "train", "audit"}]
    tasks = {record.cell.task for record in own}
    known = [record for record in accepted.records() if record.cell.task in tasks]
    fresh = [record for record in own if accepted.get(record.id) is None]
    new = {_row_of(record) for record in fresh if record.train is not None}
    rows = build_rows([*known, *fresh])
    mine = [row for row in rows if (row["method"], row["task"], row["budget"], row["options"]) in new]
    if fresh and not any(row["is_source"] for row in mine):
        report.error("incomplete", method, "no source learner was trained on its new sets.")
    for row in mine:
        where = f"{row['task']} {row['budget']} {row['track']} {row['options']}".strip()
        if not row["ranked"] and row["is_source"]:
            said = f"this row would not be ranked: {row['unranked_reason']}. Finish it, or leave it out."
            report.error("incomplete", where, said)
        if row["failure_signs"] and row["is_source"]:
            report.add("warning", "failure-signs", where, f"{row['failure_signs']}.")


def _row_of(record: Record) -> tuple[str, str, str, str]:
    cell = record.cell
    return cell.method, cell.task, cell.budget, options_text(cell.options)
