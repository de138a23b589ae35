"""All checks of a submission, in one call. Nothing of it is run, imported, unpacked or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdbench.bench.commands.standing_checks import check_against, check_standing
from tdbench.bench.experiment.archive import Accepted
from tdbench.bench.submission.collect import CONTROLS
from tdbench.bench.submission.contents import Contents, read_contents
from tdbench.bench.submission.data_checks import check_data
from tdbench.bench.submission.findings import Report
from tdbench.bench.submission.intake import read_files
from tdbench.bench.submission.method_checks import check_methods
from tdbench.bench.submission.privacy_checks import check_promises
from tdbench.bench.submission.record_checks import check_records
from tdbench.bench.submission.retrain import check_by_training
from tdbench.bench.submission.set_checks import check_sets

_ABOUT_THE_WHOLE = {"form", "incomplete"}
"""Errors that leave every single training as it is."""


def validate(path: Path, accepted: Accepted, retrain: int = 0, device: str = "cpu") -> tuple[Report, Contents]:
    """Checks a submission.

    Args:
        path: A folder or .zip file.
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
    _guarded(report, None, check_records, contents, report)
    _guarded(report, None, check_methods, contents, accepted, report)
    sets = _guarded(report, {}, check_sets, contents, report)
    data = _guarded(report, {}, check_data, contents, sets, accepted, report)
    _guarded(report, None, check_promises, contents, report)
    method = _method(contents)
    _guarded(report, None, check_against, contents, accepted, method, report)
    if method is not None:
        _guarded(report, None, check_standing, contents, accepted, method, report)
    if report.codes() <= _ABOUT_THE_WHOLE:
        _guarded(report, None, check_by_training, contents, sets, data, report, count=retrain, device=device)
    return report, contents


def _method(contents: Contents) -> str | None:
    """Returns the method that a submission is about: as the form says, or the only one that is no control."""
    if contents.form is not None:
        return contents.form.method
    others = {record.cell.method for record in contents.records.values()} - {*CONTROLS}
    return others.pop() if len(others) == 1 else None


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
