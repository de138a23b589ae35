"""Submission reader: files, form, packs and sets of a submission folder, read into memory. Nothing of it is run, linked or written."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tdbench.bench.data.loading import TaskData
from tdbench.bench.distilled import CARD_FILE, TABLE_FILE, TENSOR_FILE, DistilledSet
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.archive import parse_pack
from tdbench.bench.record import Record

Severity = Literal["error", "warning", "unchecked", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "unchecked", "note")
"""Worst first. `unchecked`: what cannot be checked here, with what it would take."""
_LETTERS = 400


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of a submission should know.

    Args:
        severity: `error` refuses the submission.
        code: Stable name of the check, such as `metric-differs`.
        where: File and record that it is about.
        message: What was found, what was expected, and what to do.
    """

    severity: Severity
    code: str
    where: str
    message: str


@dataclass
class Report:
    """Everything that was found, in the order in which it was."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, code: str, where: str, message: str) -> None:
        """Adds a finding; foreign text in it becomes one line without control characters, cut to a few hundred letters."""
        self.findings.append(Finding(severity, code, shown(where), shown(message)))

    def error(self, code: str, where: str, message: str) -> None:
        """Adds an error."""
        self.add("error", code, where, message)

    @property
    def refused(self) -> bool:
        """Whether anything refuses the submission."""
        return any(finding.severity == "error" for finding in self.findings)

    def sorted(self) -> list[Finding]:
        """Returns the findings, worst first."""
        return sorted(self.findings, key=lambda finding: ORDER.index(finding.severity))

    def codes(self, severity: Severity = "error") -> set[str]:
        """Returns the names of the checks that found something of a severity."""
        return {finding.code for finding in self.findings if finding.severity == severity}


def shown(text: str) -> str:
    """Makes foreign text fit to be printed: one line, nothing that moves a cursor or turns the reading direction."""
    plain = "".join(letter if letter.isprintable() else "�" for letter in text.replace("\n", " "))
    return plain if len(plain) <= _LETTERS else f"{plain[: _LETTERS - 1]}…"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Writes a few names and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


FORM, MANIFEST = "submission.yaml", "manifest.json"
RECORDS = "records"
"""Folder of packs: records/<protocol>/<task>/<method>.json."""
SETS = "sets"
"""Folder of the sets that packs only name, such as token vectors: sets/<id>/<file>."""
FORM_VERSION = 1
TODO = "TODO"
"""Stands in the form where authors have to write."""
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
_MARKUP = re.compile(r"[<>`]|javascript:|data:text", re.IGNORECASE)


def hidden_letter(text: str) -> str | None:
    """Returns the first letter of a text that shows nothing: control, direction, zero width, or no letter at all; None without one."""
    return next((letter for letter in text if unicodedata.category(letter) in _HIDDEN), None)


def _plain(text: str) -> str:
    """Takes one line of readable text without markup.

    Raises:
        ValueError: It has control or direction characters, markup, or is not in composed form.
    """
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError("is not in composed Unicode form (NFC)")
    if hidden := hidden_letter(text):
        raise ValueError(f"has the invisible character U+{ord(hidden):04X}")
    if _MARKUP.search(text):
        raise ValueError("has markup (<, >, `, or a script address)")
    if text != text.strip() or text.startswith(("=", "+", "-", "@")):
        raise ValueError("begins or ends with a blank, or begins like a formula")
    return text


def _filled_in(text: str) -> str:
    """Refuses what the authors have not written yet."""
    if TODO in text:
        raise ValueError(f"still says {TODO}; write it")
    return text


def _web(text: str) -> str:
    if text and not re.fullmatch(r"https://[\w.-]+(/[\w./?&=%#@~+-]*)?", text, re.ASCII):
        raise ValueError("is no https address")
    return text


Line = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_plain), AfterValidator(_filled_in)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Web = Annotated[str, Field(max_length=300), AfterValidator(_web)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Tuning(_Form):
    """How options were chosen. Every method tunes; a reader must know on what, and how much."""

    configurations: int = Field(ge=0, le=1_000_000)
    """Configurations that were tried before the one submitted; 0 where none was compared."""
    chosen_on: Line
    """Data on which they were compared, such as `rotten_tomatoes, hidden rows`; never a test split."""


class SubmissionForm(_Form):
    """The authors' part."""

    form_version: Literal[1]
    method: Name
    title: Line
    authors: list[Line] = Field(min_length=1, max_length=50)
    contact: Line
    division: Literal["closed", "open"]
    """`closed`: the suite's recipe, data and learners as they are. `open`: something else was used, which `notes` says."""
    code: Web = ""
    """Address of the plug-in's code; empty where it is part of the suite."""
    paper: Annotated[str, Field(max_length=300), AfterValidator(_plain)] = ""
    tags: list[Name] = Field(default_factory=list, max_length=20)
    """Facts for which someone would reasonably exclude the method."""
    tuning: Tuning
    hardware: Line
    notes: Annotated[str, Field(max_length=2_000), AfterValidator(_plain), AfterValidator(_filled_in)] = ""


class Manifest(_Form):
    """The suite's part: every other file with its content's hash."""

    manifest_version: Literal[1]
    suite_version: str = Field(max_length=40)
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(max_length=400)


def blank_form(method: str, tags: tuple[str, ...], hardware: str) -> str:
    """Writes a form for authors to fill in.

    Args:
        method: Name of the method.
        tags: Tags of its card.
        hardware: Hardware of its records.
    """
    values: dict[str, Any] = {
        "form_version": FORM_VERSION,
        "method": method,
        "title": f"{TODO}: one line about the method",
        "authors": [f"{TODO}: name"],
        "contact": f"{TODO}: who answers questions",
        "division": "closed",
        "code": "",
        "paper": "",
        "tags": list(tags),
        "tuning": {"configurations": 0, "chosen_on": f"{TODO}: data on which options were compared, or none"},
        "hardware": " ".join(hardware.split()) or TODO,
        "notes": "",
    }
    head = (
        "# Fill in every TODO, then run: tdbench validate FOLDER\n"
        "# division: closed (recipe, data and learners of the suite as they are) or open (notes say what else was used)\n"
        "# tuning.configurations: how many configurations were tried before this one; chosen_on: never a test split\n"
    )
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


MOST_NESTED = 40
MOST_YAML_BYTES = 64 << 10
MOST_YAML_DEPTH = 8
_MOST_DIGITS = 20
_SIGN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class StrictError(ValueError):
    """A file that is not read, with the reason."""


def strict_json(content: bytes) -> Any:
    """Parses JSON in UTF-8.

    Raises:
        StrictError: It is malformed, nested too deep, has a key twice, or holds NaN, an infinity or a number that becomes one.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
    if (depth := _depth(text)) > MOST_NESTED:
        raise StrictError(f"it is nested {depth} deep, at most {MOST_NESTED} is read")
    try:
        return json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_short, object_pairs_hook=_once
        )
    except StrictError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictError(f"it is not JSON ({error})") from None


def _depth(text: str) -> int:
    """Returns how deep brackets are nested outside of strings, in one pass and without recursion."""
    deepest = depth = 0
    inside = False
    for match in _SIGN.finditer(text):
        sign = match[0]
        if sign == '"':
            inside = not inside
        elif not inside and len(sign) == 1:
            depth += 1 if sign in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


def _no_constant(name: str) -> Any:
    raise StrictError(f"it holds {name}, which is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictError(f"it holds the number {text[:40]}, which is not finite")
    return value


def _short(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise StrictError(f"it holds the number {text[:40]}…, which has more than {_MOST_DIGITS} digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise StrictError(f"the key {key[:80]!r} stands there twice")
        values[key] = value
    return values


def strict_yaml(content: bytes) -> Any:
    """Parses a small YAML file of plain values.

    Raises:
        StrictError: It is malformed or large, nested too deep, has a key twice, or uses anchors, aliases or tags.
    """
    if len(content) > MOST_YAML_BYTES:
        raise StrictError(f"it has {len(content) >> 10} KiB, at most {MOST_YAML_BYTES >> 10} is read")
    try:
        text = content.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise StrictError("it uses an anchor or an alias; write the value itself")
            if getattr(event, "tag", None):
                raise StrictError("it uses a tag; write plain values")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_YAML_DEPTH:
                raise StrictError(f"it is nested more than {MOST_YAML_DEPTH} deep")
        return _finite_values(yaml.load(text, Loader=_OnceLoader))  # noqa: S506 - a safe loader
    except StrictError:
        raise
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OverflowError) as error:
        raise StrictError(f"it is not YAML ({' '.join(str(error).split())[:200]})") from None


class _OnceLoader(yaml.SafeLoader):
    """A safe loader that takes every key once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        plain = [key for key in keys if isinstance(key, str)]
        if len(plain) != len(keys) or len(set(plain)) != len(plain):
            raise StrictError("a key stands there twice, or is no text")
        return super().construct_mapping(node, deep)


def _finite_values(value: Any) -> Any:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise StrictError("it holds a number that is not finite")
        if isinstance(item, int) and abs(item) >= 10**_MOST_DIGITS:
            raise StrictError(f"it holds a whole number of more than {_MOST_DIGITS} digits")
        stack += list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
    return value


MOST_FILES = 400
MOST_BYTES = 64 << 20
"""Of one file."""
MOST_TOTAL = 256 << 20
MOST_DEPTH = 6
"""Folders above a file."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,119}")
_ENDINGS = (".json", ".yaml", ".md", ".parquet", ".safetensors", ".txt")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10))})


def read_files(path: Path, report: Report) -> dict[str, bytes]:
    """Reads a submission.

    Args:
        path: The folder.
        report: Receives what is wrong with names, kinds and sizes of files.

    Returns:
        Content by path inside the submission, with `/` between folders. Files that are refused are absent.
    """
    if path.is_symlink():
        report.error("link", path.name, "the submission is a symbolic link; name the folder itself.")
        return {}
    if path.is_dir():
        return _folder(path, report)
    what = "it is no folder" if path.exists() else "there is no such folder"
    report.error("no-submission", str(path), f"{what}; expected what `tdbench submit` makes.")
    return {}


def name_problem(name: str) -> str:
    """Says what is wrong with the path of a file inside a submission; empty where nothing is."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts or "" in parts or "." in parts:
        return "its path leads out of the submission"
    if len(parts) > MOST_DEPTH:
        return f"it lies more than {MOST_DEPTH} folders deep"
    if unicodedata.normalize("NFC", name) != name or not all(_NAME.fullmatch(part) for part in parts):
        return "its path has letters other than A-Z a-z 0-9 . _ + @ = -, begins with a dot, or is too long"
    if any(part.split(".")[0].lower() in _RESERVED for part in parts):
        return "its name means a device on some systems"
    if not name.endswith(_ENDINGS):
        return f"it is none of {', '.join(_ENDINGS)}"
    return ""


class _Reader:
    """Keeps count of what was read."""

    def __init__(self, report: Report) -> None:
        self.report, self.files, self._total = report, {}, 0
        self._folded: set[str] = set()
        self._seen = 0

    def admits(self, name: str, size: int) -> bool:
        """Checks a name and a size before anything is read."""
        self._seen += 1
        if self._seen > MOST_FILES:
            if self._seen == MOST_FILES + 1:
                self.report.error("too-many-files", name, f"there are more than {MOST_FILES} files.")
            return False
        if problem := name_problem(name):
            self.report.error("file-name", name, f"{problem}.")
            return False
        if name.lower() in self._folded:
            self.report.error("file-name", name, "another file has the same name, or the same but for upper case.")
            return False
        self._folded.add(name.lower())
        if size > MOST_BYTES or self._total + size > MOST_TOTAL:
            self.report.error(
                "too-large", name, f"a file may have {MOST_BYTES >> 20} MiB, all together {MOST_TOTAL >> 20} MiB."
            )
            return False
        self._total += size
        return True


def _folder(path: Path, report: Report) -> dict[str, bytes]:
    reader = _Reader(report)
    stack = [(path, "")]
    while stack:
        folder, inside = stack.pop()
        if inside.count("/") > MOST_DEPTH:
            report.error("file-name", inside, f"it lies more than {MOST_DEPTH} folders deep.")
            continue
        for entry in sorted(os.scandir(folder), key=lambda item: item.name):
            name = f"{inside}{entry.name}"
            kind = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(kind.st_mode):
                stack.append((Path(entry.path), f"{name}/"))
            elif not stat.S_ISREG(kind.st_mode):
                report.error("link", name, "it is a link or no plain file; a submission holds plain files only.")
            elif kind.st_nlink > 1:
                report.error("link", name, "it is a hard link; a submission holds files of its own.")
            elif reader.admits(name, kind.st_size):
                content = Path(entry.path).read_bytes()[: MOST_BYTES + 1]
                reader.files[name] = content
    return reader.files


def check_names(files: dict[str, bytes], required: set[str], report: Report) -> None:
    """Reports files that a submission needs and lacks."""
    if missing := required - set(files):
        report.error("missing-file", listed(missing), "it is not there; `tdbench submit` writes it.")


_PACK = re.compile(rf"{RECORDS}/([a-z0-9][a-z0-9.-]*)/([a-z0-9][a-z0-9_-]*)/([a-z0-9][a-z0-9_-]*)\.json")
_SET_FILE = re.compile(rf"{SETS}/([0-9a-f]{{16}})/({'|'.join(map(re.escape, (TABLE_FILE, TENSOR_FILE, CARD_FILE)))})")
_PROSE = frozenset({"README.md", "LICENSE.txt"})


def is_control(record: Record) -> bool:
    """Tells whether a record is of random rows, whose runs go along: they show that the suite gives here what it gives elsewhere."""
    return record.method_facts.role == "random"


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
    distilled: dict[str, DistilledSet] = field(default_factory=dict)
    """Id of a set -> the set, as far as it could be read."""
    data: dict[str, TaskData] = field(default_factory=dict)
    """Id of a record -> the data of its task, where they are at hand."""

    @property
    def method(self) -> str | None:
        """The method that the submission is about: as the form says, or the only one that is no control."""
        if self.form is not None:
            return self.form.method
        others = {record.cell.method for record in self.records.values() if not is_control(record)}
        return others.pop() if len(others) == 1 else None

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
        if match := _PACK.fullmatch(name):
            packs += 1
            _read_pack(name, files[name], match, contents, report)
        elif match := _SET_FILE.fullmatch(name):
            contents.set_files.setdefault(match[1], {})[match[2]] = files[name]
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
    listed_files = {name: content for name, content in files.items() if name not in {FORM, MANIFEST}}
    if absent := set(manifest.files) - set(listed_files):
        report.error("hash", listed(absent), "the manifest names files that are not there.")
    if unknown := set(listed_files) - set(manifest.files):
        report.error("hash", listed(unknown), "the manifest does not name these files.")
    for name in sorted(set(listed_files) & set(manifest.files)):
        if hashlib.sha256(listed_files[name]).hexdigest() != manifest.files[name]:
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
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"]) or "the file"
            message = problem["msg"].removeprefix("Value error, ")
            report.error("form", f"{FORM} {place}", f"{message}; got {problem.get('input')!r}.")
        return None


def _read_pack(name: str, content: bytes, match: re.Match[str], contents: Contents, report: Report) -> None:
    try:
        records, sets = parse_pack(strict_json(content), name)
    except (StrictError, RecordError) as error:
        report.error("pack", name, f"{error}")
        return
    protocol, task, method = match.groups()
    for record in records.values():
        folder = f"{record.cell.task}-standin" if record.cell.data_kind == "standin" else record.cell.task
        named = (record.protocol or {}).get("name", protocol)
        if (named, folder, record.cell.method) != (protocol, task, method):
            report.error("pack", name, f"record {record.id} belongs to {named}/{folder}/{record.cell.method}.json.")
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
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
