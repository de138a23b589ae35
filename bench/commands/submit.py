"""`tdbench submit` and `tdbench validate`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from itertools import count
from pathlib import Path

from tdbench.bench._paths import RECORDS, SUBMISSIONS
from tdbench.bench.commands.validation import validate
from tdbench.bench.errors import UsageError
from tdbench.bench.experiment.archive import Accepted, accept_packs
from tdbench.bench.experiment.provenance import choose_device
from tdbench.bench.experiment.store import Store
from tdbench.bench.submission.collect import collect
from tdbench.bench.submission.findings import ORDER
from tdbench.bench.submission.form import FORM
from tdbench.bench.submission.form import RECORDS as PACKS

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
    counts = collect(method, Store(root), folder, Accepted(RECORDS))
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
        path: A folder or .zip file.
        accept: Whether to add its packs to leaderboard/records and its form to leaderboard/submissions, where nothing refuses it.
        allow_unchecked: Whether to do so though scores or sets could not be checked here.
        strict: Whether what could not be checked refuses it.
        retrain: Trainings to be repeated, besides the quick ones.
        as_json: Whether to print one JSON object.

    Raises:
        UsageError: A zip file is to be accepted.
    """
    if accept and not path.is_dir():
        raise UsageError("--accept takes a folder; unpack the zip file once it has been checked.")
    accepted = Accepted(RECORDS)
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
            said = f"added to {file.parent}; build the board: tdbench leaderboard"
            report.add("note", "accepted", file.name, said)
        shutil.copyfile(path / FORM, _place_of_form(contents.form.method, known))
    counted = Counter(finding.severity for finding in report.findings)
    if as_json:
        found = [asdict(finding) for finding in report.sorted()]
        print(json.dumps({"valid": not report.refused, "records": len(contents.records), "findings": found}))  # noqa: T201
        return int(report.refused)
    for finding in report.sorted():
        print(f"{finding.severity:9} {finding.code:16} {finding.where}\n{'':26} {finding.message}")  # noqa: T201
    said = ", ".join(f"{counted[severity]} {severity}" for severity in ORDER if counted[severity]) or "nothing found"
    verdict = "REFUSED" if report.refused else "Nothing refuses it"
    print(f"{len(contents.records)} records; {said}. {verdict}.")  # noqa: T201
    return int(report.refused)


def _place_of_form(method: str, known: set[str]) -> Path:
    """Returns where an accepted form goes: the first of a new method names its authors, later ones those of further runs."""
    SUBMISSIONS.mkdir(exist_ok=True)
    if method not in known and not (SUBMISSIONS / f"{method}.yaml").exists():
        return SUBMISSIONS / f"{method}.yaml"
    number = next(n for n in count(2) if not (SUBMISSIONS / f"{method}.{n}.yaml").exists())
    return SUBMISSIONS / f"{method}.{number}.yaml"
