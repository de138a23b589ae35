"""Reads the files of a submission, a folder or a zip file, into memory: nothing is unpacked, linked or written anywhere."""

from __future__ import annotations

import lzma
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from pathlib import Path

from tdbench.bench.submission.findings import Report, listed

MOST_FILES = 400
MOST_BYTES = 64 << 20
"""Of one file."""
MOST_TOTAL = 256 << 20
MOST_DEPTH = 6
"""Folders above a file."""
MOST_RATIO = 200
"""Times that a file may be larger than it is in the zip file; text of records reaches 50."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,119}")
_ENDINGS = (".json", ".yaml", ".md", ".parquet", ".safetensors", ".txt")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10))})


def read_files(path: Path, report: Report) -> dict[str, bytes]:
    """Reads a submission.

    Args:
        path: A folder, or a .zip file.
        report: Receives what is wrong with names, kinds and sizes of files.

    Returns:
        Content by path inside the submission, with `/` between folders. Files that are refused are absent.
    """
    if path.is_symlink():
        report.error("link", path.name, "the submission is a symbolic link; name the folder itself.")
        return {}
    if path.is_dir():
        return _folder(path, report)
    if path.suffix == ".zip" and path.is_file():
        return _zip(path, report)
    what = "it is neither a folder nor a .zip file" if path.exists() else "there is no such folder or file"
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
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
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


def _zip(path: Path, report: Report) -> dict[str, bytes]:
    reader = _Reader(report)
    if path.stat().st_size > MOST_TOTAL:
        report.error("too-large", path.name, f"a zip file may have {MOST_TOTAL >> 20} MiB.")
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members[: MOST_FILES + 1]:
                _member(archive, member, reader)
            if len(members) > MOST_FILES + 1:
                report.error("too-many-files", path.name, f"there are more than {MOST_FILES} files.")
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        report.error("bad-zip", path.name, f"it cannot be read ({error}).")
    return _without_top(reader.files)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, reader: _Reader) -> None:
    name, report = member.filename, reader.report
    if member.is_dir():
        if problem := name_problem(f"{name.rstrip('/')}/x.txt"):
            report.error("file-name", name, f"{problem}.")
        return
    code, problem = _zip_problem(member)
    if problem:
        report.error(code, name, problem)
    elif reader.admits(name, member.file_size):
        try:
            with archive.open(member) as stream:
                content = stream.read(member.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, RuntimeError) as error:
            report.error("bad-zip", name, f"it cannot be read ({error}).")
            return
        if len(content) == member.file_size:
            reader.files[name] = content
        else:
            report.error("zip-bomb", name, "its size is not the one that the zip file states.")


def _zip_problem(member: zipfile.ZipInfo) -> tuple[str, str]:
    """Returns what is wrong with an entry before it is opened: the check and a message, both empty where nothing is."""
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return "link", "it is a link or no plain file; a submission holds plain files only."
    if member.flag_bits & 0x1:
        return "bad-zip", "it is encrypted."
    if member.file_size > MOST_RATIO * max(1, member.compress_size):
        return "zip-bomb", f"it would unpack to more than {MOST_RATIO} times its size."
    return "", ""


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    """Takes away the one folder that a zip file holds everything in."""
    tops = {name.split("/")[0] for name in files}
    if len(tops) == 1 and all("/" in name for name in files):
        return {name.split("/", 1)[1]: content for name, content in files.items()}
    return files


def check_names(files: dict[str, bytes], wanted: set[str], report: Report) -> None:
    """Reports files that a submission needs and lacks."""
    if missing := wanted - set(files):
        report.error("missing-file", listed(missing), "it is not there; `tdbench submit` writes it.")
