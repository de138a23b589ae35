"""From the files of a submission to what they hold."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tdbench.bench.distilled import CARD_FILE, TABLE_FILE, TENSOR_FILE
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.archive import parse_pack
from tdbench.bench.record import Record
from tdbench.bench.submission.findings import Report, listed
from tdbench.bench.submission.form import FORM, MANIFEST, RECORDS, SETS, Manifest, SubmissionForm
from tdbench.bench.submission.intake import check_names
from tdbench.bench.submission.strict import StrictError, strict_json, strict_yaml

_PACK = re.compile(rf"{RECORDS}/([a-z0-9][a-z0-9.-]*)/([a-z0-9][a-z0-9_-]*)/([a-z0-9][a-z0-9_-]*)\.json")
_SET_FILE = re.compile(rf"{SETS}/([0-9a-f]{{16}})/({'|'.join(map(re.escape, (TABLE_FILE, TENSOR_FILE, CARD_FILE)))})")
_PROSE = frozenset({"README.md", "LICENSE.txt"})


@dataclass
class Contents:
    """What a submission holds, as far as it could be read."""

    form: SubmissionForm | None = None
    records: dict[str, Record] = field(default_factory=dict)
    """By id."""
    places: dict[str, str] = field(default_factory=dict)
    """Id of a record -> the pack that it stands in."""
    sets: dict[str, Any] = field(default_factory=dict)
    """Id of a set -> its content as the pack holds it."""
    set_files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Id of a set -> its files, for sets that packs only name."""

    def where(self, record: Record) -> str:
        """Names a record for a message."""
        cell = record.cell
        what = f"{cell.task} {cell.method} {cell.budget} set {cell.set_index}"
        return f"{self.places.get(record.id, '?')} {record.stage} {record.id} ({what}{f', {record.learner}' if record.learner else ''})"


def read_contents(files: dict[str, bytes], report: Report) -> Contents:
    """Parses the files of a submission; what cannot be read is reported and left out.

    Args:
        files: Content by path.
        report: Receives what is wrong.
    """
    contents = Contents()
    check_names(files, {FORM, MANIFEST}, report)
    _check_manifest(files, report)
    contents.form = _form(files.get(FORM), report)
    packs = 0
    for name in sorted(files):
        if found := _PACK.fullmatch(name):
            packs += 1
            _read_pack(name, files[name], found, contents, report)
        elif found := _SET_FILE.fullmatch(name):
            contents.set_files.setdefault(found[1], {})[found[2]] = files[name]
        elif name not in {FORM, MANIFEST} | _PROSE:
            report.error("unexpected-file", name, "a submission holds the form, the manifest, packs and sets only.")
    if not packs:
        report.error("missing-file", RECORDS, "there is no pack of records; `tdbench submit` writes them.")
    return contents


def _check_manifest(files: dict[str, bytes], report: Report) -> None:
    if MANIFEST not in files:
        return
    try:
        manifest = Manifest.model_validate(strict_json(files[MANIFEST]))
    except (StrictError, ValidationError) as error:
        report.error("manifest", MANIFEST, f"it cannot be used: {_first(error)}.")
        return
    own = {name: content for name, content in files.items() if name not in {FORM, MANIFEST}}
    if absent := set(manifest.files) - set(own):
        report.error("hash", listed(absent), "the manifest names files that are not there.")
    if unknown := set(own) - set(manifest.files):
        report.error("hash", listed(unknown), "the manifest does not name these files.")
    for name in sorted(set(own) & set(manifest.files)):
        if hashlib.sha256(own[name]).hexdigest() != manifest.files[name]:
            report.error(
                "hash", name, "its content is not the one that the manifest names; do not edit what the suite wrote."
            )


def _form(content: bytes | None, report: Report) -> SubmissionForm | None:
    if content is None:
        return None
    try:
        raw = strict_yaml(content)
    except StrictError as error:
        report.error("form", FORM, f"{error}.")
        return None
    try:
        return SubmissionForm.model_validate(raw)
    except ValidationError as error:
        for one in error.errors():
            place = ".".join(str(part) for part in one["loc"]) or "the file"
            said = one["msg"].removeprefix("Value error, ")
            report.error("form", f"{FORM} {place}", f"{said}; got {one.get('input')!r}.")
        return None


def _read_pack(name: str, content: bytes, found: re.Match[str], contents: Contents, report: Report) -> None:
    try:
        records, sets = parse_pack(strict_json(content), name)
    except (StrictError, RecordError) as error:
        report.error("pack", name, f"{error}")
        return
    protocol, task, method = found.groups()
    for record in records.values():
        own = f"{record.cell.task}-standin" if record.cell.data_kind == "standin" else record.cell.task
        named = (record.protocol or {}).get("name", protocol)
        if (named, own, record.cell.method) != (protocol, task, method):
            report.error("pack", name, f"record {record.id} belongs to {named}/{own}/{record.cell.method}.json.")
        elif record.id in contents.records:
            report.error("duplicate", name, f"record {record.id} stands in {contents.places[record.id]} too.")
        else:
            contents.records[record.id], contents.places[record.id] = record, name
    for set_id, packed in sets.items():
        if not isinstance(packed, dict):
            report.error("pack", name, f"set {set_id} is no object.")
        elif set_id in contents.sets:
            report.error("duplicate", name, f"set {set_id} stands in another pack too.")
        else:
            contents.sets[set_id] = packed


def _first(error: StrictError | ValidationError) -> str:
    if isinstance(error, StrictError):
        return str(error)
    one = error.errors()[0]
    return f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
