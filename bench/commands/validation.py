"""All checks of a submission, in one call. Nothing of it is run, imported, unpacked or written."""

from __future__ import annotations

from pathlib import Path

from bench.commands.standing_checks import audited, check_against
from bench.experiment.accepted import Accepted
from bench.submission.contents import Contents, read_contents
from bench.submission.data_checks import check_data
from bench.submission.findings import Report
from bench.submission.intake import read_files
from bench.submission.privacy_checks import check_promises
from bench.submission.record_checks import check_records
from bench.submission.set_checks import check_sets


def validate(path: Path, accepted: Accepted) -> tuple[Report, Contents]:
    """Checks a submission.

    Args:
        path: A folder or .zip file.
        accepted: Accepted results that it is compared with.

    Returns:
        Everything that was found, and what could be read.
    """
    report = Report()
    files = read_files(path, report)
    if not files:
        if not report.refused:
            report.error("no-submission", path.name, "it is empty; `tdbench submit` makes one.")
        return report, Contents()
    contents = read_contents(files, report)
    if not contents.records:
        return report, contents
    check_records(contents, report)
    sets = check_sets(contents, report)
    check_data(contents, sets, report)
    check_promises(contents, report)
    check_against(contents, accepted, contents.form.method if contents.form else None, report)
    if not audited(list(contents.records.values())):
        report.add("note", "no-audit", "records", "leakage was not measured; `tdbench run ... audit=model` does.")
    return report, contents
