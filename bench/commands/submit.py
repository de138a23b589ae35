"""`tdbench submit` and `tdbench validate`, with the checks against accepted results. No code of a submission is run."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from tdbench.bench._paths import RECORDS, SUBMISSIONS
from tdbench.bench.canonical import canonical_json
from tdbench.bench.experiment.archive import Archive, accept_packs
from tdbench.bench.experiment.provenance import choose_device
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.submission.collect import collect, scope_of
from tdbench.bench.submission.data_checks import check_by_training, check_data
from tdbench.bench.submission.intake import FORM, ORDER, Contents, Report, is_control, listed, read_contents, read_files
from tdbench.bench.submission.intake import RECORDS as PACKS
from tdbench.bench.submission.privacy_checks import check_promises
from tdbench.bench.submission.record_checks import check_methods, check_records
from tdbench.bench.submission.set_checks import check_sets
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.runs import options_text

_DECISIVE = frozenset({"data", "set", "set-hash"})
"""Checks without which nobody knows whether scores are true."""


def submit_command(method: str, out: Path | None, root: Path, as_json: bool) -> int:
    """Collects a method's results into a folder. Returns the exit code.

    Args:
        method: Name of the plug-in.
        out: Folder to make; `submission-METHOD` by default.
        root: Run folder.
        as_json: Whether to print one JSON object.
    """
    folder = out or Path(f"submission-{method}")
    counts = collect(method, Store(root), folder, Archive(RECORDS))
    if as_json:
        print(json.dumps({"folder": str(folder), **counts}))  # noqa: T201
        return 0
    held = f"{counts['sets']} sets, {counts['trainings']} trainings, {counts['audits']} audits, {counts['controls']} of controls"
    print(f"{folder}: {held}.\nFill in {folder / FORM}, then check it: tdbench validate {folder}")  # noqa: T201
    return 0


def validate_command(
    path: Path, *, accept: bool, allow_unchecked: bool, strict: bool, retrain: int, as_json: bool
) -> int:
    """Checks a submission and prints all findings, worst first. Returns 0 when nothing refuses it, else 1.

    Args:
        path: The folder.
        accept: Whether to add its packs to leaderboard/records and its form to leaderboard/submissions, where nothing refuses it.
        allow_unchecked: Whether to do so though scores or sets could not be checked here.
        strict: Whether what could not be checked refuses it.
        retrain: Trainings to be repeated, besides the quick ones.
        as_json: Whether to print one JSON object.
    """
    accepted = Archive(RECORDS)
    known = {record.cell.method for record in accepted.records()}
    report, contents = validate(path, accepted, retrain, choose_device("auto") if retrain else "cpu")
    open_ends = report.codes("unchecked") & _DECISIVE
    if open_ends and (strict or (accept and not allow_unchecked)):
        hint = "" if strict else "; --allow-unchecked accepts it all the same"
        report.error(
            "unchecked", ", ".join(sorted(open_ends)), f"what decides its rows could not be checked here{hint}."
        )
    if accept and not report.refused and contents.form is not None:
        for file in accept_packs(path / PACKS, RECORDS, contents.form.method):
            message = f"added to {file.parent}; build the board: tdbench leaderboard"
            report.add("note", "accepted", file.name, message)
        shutil.copyfile(path / FORM, _place_of_form(contents.form.method, known))
    counted = Counter(finding.severity for finding in report.findings)
    if as_json:
        findings = [asdict(finding) for finding in report.sorted()]
        print(json.dumps({"valid": not report.refused, "records": len(contents.records), "findings": findings}))  # noqa: T201
        return int(report.refused)
    for finding in report.sorted():
        print(f"{finding.severity:9} {finding.code:16} {finding.where}\n{'':26} {finding.message}")  # noqa: T201
    message = ", ".join(f"{counted[severity]} {severity}" for severity in ORDER if counted[severity]) or "nothing found"
    verdict = "REFUSED" if report.refused else "Nothing refuses it"
    print(f"{len(contents.records)} records; {message}. {verdict}.")  # noqa: T201
    return int(report.refused)


def _place_of_form(method: str, known: set[str]) -> Path:
    """Returns where an accepted form goes: the first of a new method names its authors, later ones those of further runs."""
    SUBMISSIONS.mkdir(exist_ok=True)
    if method not in known and not (SUBMISSIONS / f"{method}.yaml").exists():
        return SUBMISSIONS / f"{method}.yaml"
    number = next(n for n in count(2) if not (SUBMISSIONS / f"{method}.{n}.yaml").exists())
    return SUBMISSIONS / f"{method}.{number}.yaml"


TOLERANCE_FRAC = 0.03
"""Scores of one control run may differ by this much between machines; training differs by rounding."""


def check_controls(contents: Contents, accepted: Archive, report: Report) -> None:
    """Compares controls with accepted runs of the same ids."""
    controls = [r for r in contents.records.values() if r.train is not None and is_control(r)]
    known = [(record, accepted.get(record.id)) for record in controls]
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
            message = f"this control's score is {100 * differs:.1f} points off the accepted one."
            report.error("control", contents.where(record), message)
    if len(fresh) < len(compared):
        message = (
            f"{len(compared) - len(fresh)} of its controls are the accepted records themselves, which show nothing."
        )
        report.add("warning", "control", "records", message)
    covered = {scope_of(record) for record, _ in fresh}
    wanted = {
        scope_of(r) for r in contents.records.values() if r.train is not None and r.cell.method == contents.method
    }
    if missing := wanted - covered:
        what = ", ".join(" ".join(scope) for scope in sorted(missing)[:3])
        message = (
            f"no run of random rows made beside it, that accepted results hold too, on {what}: nothing shows that the suite "
            "gives here what it gives elsewhere. Run it on the same task, budget and protocol, then collect again."
        )
        report.add("warning", "no-control", "records", message)


def check_learners(contents: Contents, accepted: Archive, report: Report) -> None:
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
            message = f"its {record.train.learner} is not the one of accepted results: other options or weights."
            report.error("learner", contents.where(record), message)
        planned = tuple((record.protocol or {}).get("learners", ()))
        if record.distil_id in contents.records and _text_track(contents.records[record.distil_id]):
            used[(record.cell.method, *scope_of(record), *planned)].add(record.train.learner)
    for (method, task, budget, _, *planned), seen in used.items():
        if missing := set(planned) - seen:
            message = f"it was not trained on by {listed(missing)}: its transfer is unknown."
            report.add("warning", "learner", f"{task} {method} {budget}", message)


def _text_track(record: Record) -> bool:
    return record.distil is not None and record.distil.track != "learner-bound"


def check_entry(contents: Contents, _accepted: Archive, report: Report) -> None:
    """Checks that a submission is about one method that is no reference."""
    method = contents.method
    records = list(contents.records.values())
    methods = {record.cell.method for record in records}
    if method is None:
        report.error("method", "records", f"which method it is about cannot be told; the packs hold {listed(methods)}.")
        return
    if any(record.method_facts.role for record in records if record.cell.method == method):
        report.error(
            "method",
            "submission.yaml",
            f"{method} is a reference: its results are made by the suite's maintainers alone.",
        )
    if method not in methods:
        report.error("method", "submission.yaml", f"it is about {method}; the packs hold {listed(methods)}.")
    elif not any(r.train is not None and r.cell.method == method for r in records):
        report.error("incomplete", method, "no model was trained on its sets.")
    if extra := {record.cell.method for record in records if not is_control(record)} - {method}:
        message = f"a submission holds one method and controls; this one is about {method}."
        report.error("method", listed(extra), message)


def check_known(contents: Contents, accepted: Archive, report: Report) -> None:
    """Accepted records are never replaced: what contradicts them is refused, what bears them out is named and left out."""
    audits = {_about(record): record.id for record in accepted.records() if record.audit is not None}
    repeated = []
    for record in contents.records.values():
        other = accepted.get(record.id)
        if is_control(record):
            continue
        if other is not None and not _bears_out(record, other):
            message = "an accepted record of this id has another result; accepted ones are not replaced."
            report.error("known", contents.where(record), message)
        elif other is not None:
            repeated.append(record)
        elif record.audit is not None and _about(record) in audits:
            message = (
                f"what it is about has an accepted audit, {audits[_about(record)]}; accepted ones are not replaced."
            )
            report.error("known", contents.where(record), message)
    if repeated:
        message = f"{len(repeated)} of its records are accepted already, with these results: they are left out."
        report.add("note", "known", contents.where(repeated[0]), message)


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


def check_form(contents: Contents, _accepted: Archive, report: Report) -> None:
    """Checks what the form says against the rules of its division."""
    form = contents.form
    if form is None:
        return
    if form.division == "open" and not form.notes:
        report.error("form", "submission.yaml notes", "in the open division notes say what else was used.")
    if form.tuning.configurations and "test" in form.tuning.chosen_on.lower().split():
        message = "configurations are not compared on a test split; if this one was, its results cannot be accepted."
        report.add("warning", "tuning", "submission.yaml tuning.chosen_on", message)
    if not any(record.audit is not None for record in contents.records.values()):
        report.add("note", "no-audit", "records", "leakage was not measured; `tdbench run ... audit=model` does.")


def check_rankable(contents: Contents, accepted: Archive, report: Report) -> None:
    """Says which rows would not be ranked, the submission and accepted records taken together."""
    method = contents.method
    if method is None:
        return
    records = [
        r for r in contents.records.values() if r.cell.method == method and r.stage in {"distil", "train", "audit"}
    ]
    tasks = {record.cell.task for record in records}
    known = [record for record in accepted.records() if record.cell.task in tasks]
    fresh = [record for record in records if accepted.get(record.id) is None]
    new = {_row_of(record) for record in fresh if record.train is not None}
    rows = build_rows([*known, *fresh])
    new_rows = [row for row in rows if (row["method"], row["task"], row["budget"], row["options"]) in new]
    if fresh and not any(row["is_source"] for row in new_rows):
        report.error("incomplete", method, "no source learner was trained on its new sets.")
    for row in new_rows:
        where = f"{row['task']} {row['budget']} {row['track']} {row['options']}".strip()
        if not row["ranked"] and row["is_source"]:
            message = f"this row would not be ranked: {row['unranked_reason']}. Finish it, or leave it out."
            report.error("incomplete", where, message)
        if row["failure_flags"] and row["is_source"]:
            report.add("warning", "failure-flags", where, f"{row['failure_flags']}.")


def _row_of(record: Record) -> tuple[str, str, str, str]:
    cell = record.cell
    return cell.method, cell.task, cell.budget, options_text(cell.options)


CHECKS: tuple[Callable[[Contents, Archive, Report], None], ...] = (
    check_records,
    check_methods,
    check_sets,
    check_data,
    check_promises,
    check_controls,
    check_learners,
    check_entry,
    check_known,
    check_form,
    check_rankable,
)
"""Checks of a submission, in order: each gets the submission, the accepted results, and a report that receives what it finds."""
_ABOUT_THE_WHOLE = {"form", "incomplete"}
"""Errors that leave every single training as it is."""


def validate(path: Path, accepted: Archive, retrain: int = 0, device: str = "cpu") -> tuple[Report, Contents]:
    """Checks a submission.

    Args:
        path: The folder.
        accepted: Accepted results that it is compared with.
        retrain: Trainings of learners that take more than seconds, to be repeated on their sets.
        device: What to repeat them on.

    Returns:
        Everything that was found, and what could be read.
    """
    report = Report()
    files = _guarded(report, {}, read_files, path, report)
    if not files:
        if not report.refused:
            report.error("no-submission", path.name, "it is empty; `tdbench submit` makes one.")
        return report, Contents()
    contents = _guarded(report, Contents(), read_contents, files, report)
    if not contents.records:
        return report, contents
    for check in CHECKS:
        _guarded(report, None, check, contents, accepted, report)
    if report.codes() <= _ABOUT_THE_WHOLE:
        _guarded(report, None, check_by_training, contents, report, count=retrain, device=device)
    return report, contents


def _guarded(report: Report, instead: Any, check: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a check. What it does not foresee refuses the submission and does not end the others."""
    try:
        return check(*args, **options)
    except Exception as error:
        name = check.__name__.removeprefix("check_")
        report.error(
            "internal", name, f"this check failed ({type(error).__name__}: {error}); report it with the submission."
        )
        return instead
