"""Data sources of a task: the data folder, the Hub cache, the Hub, or the stand-in corpus."""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tdbench.bench.data.task import Task
from tdbench.bench.errors import DataError, PrerequisiteError, UsageError

if TYPE_CHECKING:
    import pandas as pd

SourceKind = Literal["auto", "local", "hub", "standin"]
DATA_VARIABLE = "TDBENCH_DATA"
PROBE_TIMEOUT_S = 2.0
STANDIN_ROWS = {"train": 8_000, "test": 2_000}
STANDIN_SEED = 20_260_101


@dataclass(frozen=True)
class RawSplits:
    """A task's files as read.

    Args:
        frames: Split -> frame in the file's own columns.
        kind: Where they came from.
        origin: The same in words, for messages and records.
    """

    frames: dict[str, pd.DataFrame]
    kind: Literal["local", "hub", "standin"]
    origin: str
    tried: tuple[str, ...] = ()
    """Why the sources before this one did not have the data."""


def read_source(task: Task, kind: SourceKind, root: Path | None) -> RawSplits:
    """Reads a task's splits from the first source that has them.

    Args:
        task: The task.
        kind: `auto` tries local files, the Hub cache, the Hub and the stand-in; any other kind is used alone.
        root: Data folder, or None where there is none.

    Raises:
        PrerequisiteError: The source does not have the data; the message says how to get them.
        DataError: A file is there and cannot be read.
    """
    if kind == "standin":
        return _standin(task)
    if root is not None and not root.is_dir():
        raise PrerequisiteError(f"the data folder {root} does not exist; correct data.root or {DATA_VARIABLE}.")
    if kind == "local":
        return _local(task, root)
    if kind == "hub":
        return _hub(task)
    if kind != "auto":
        raise UsageError(f"data.kind is '{kind}'; expected auto, local, hub or standin.")
    tried: list[str] = []
    for attempt in (lambda: _local(task, root), lambda: _hub(task)):
        try:
            return attempt()
        except PrerequisiteError as error:
            tried.append(str(error))
    return replace(_standin(task), tried=tuple(tried))


def _local(task: Task, root: Path | None) -> RawSplits:
    names = {split: _paths(files) for split, files in task.local.items()}
    obtain = f" How to get them: {task.facts.obtain}" if task.facts.obtain else ""
    if root is None:
        needed = ", ".join(name for files in names.values() for name in files)
        raise PrerequisiteError(
            f"no data folder for task '{task.name}': set {DATA_VARIABLE}=FOLDER with {needed}, or use data.kind=standin.{obtain}"
        )
    missing = [str(root / name) for files in names.values() for name in files if not (root / name).is_file()]
    if missing:
        raise PrerequisiteError(
            f"task '{task.name}' needs {', '.join(missing)}, which do not exist; put them there, or use "
            f"data.kind=standin.{obtain}"
        )
    frames = {split: _read([root / name for name in files]) for split, files in names.items()}
    return RawSplits(frames, "local", f"local files under {root}")


def _paths(files: str | tuple[str, ...]) -> tuple[str, ...]:
    return (files,) if isinstance(files, str) else files


def _read(paths: list[Path]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([_read_file(path) for path in paths], ignore_index=True)


def _read_file(path: Path) -> pd.DataFrame:
    import pandas as pd

    as_stored: Any = False
    kind = path.suffix.removeprefix(".")
    try:
        if kind == "csv":
            # Everything is text: pandas would otherwise read "NA" as nothing and "007" as a number.
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        if kind == "jsonl":
            return pd.read_json(path, lines=True, dtype=as_stored)
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid and pandas' ParserError are ValueErrors
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"{path} is no readable {kind} file ({reason}); replace it with an intact copy.") from None


def _hub(task: Task) -> RawSplits:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    hub = task.hub
    if hub is None:
        raise PrerequisiteError(f"task '{task.name}' is on no Hub; use data.kind=local or data.kind=standin.")

    def download(name: str, offline: bool) -> Path:
        return Path(
            hf_hub_download(
                hub.repo, name, repo_type="dataset", revision=hub.revision, local_files_only=offline, etag_timeout=3
            )
        )

    def fetch(offline: bool) -> dict[str, list[Path]]:
        return {split: [download(name, offline) for name in _paths(files)] for split, files in hub.files.items()}

    try:
        paths = fetch(offline=True)
    except LocalEntryNotFoundError:
        if not hub_reachable():
            raise PrerequisiteError(
                f"task '{task.name}': {hub.repo} is not in the local Hub cache and the Hub cannot be reached; "
                f"set {DATA_VARIABLE}, connect to the network, or use data.kind=standin."
            ) from None
        try:
            paths = fetch(offline=False)
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise PrerequisiteError(
                f"task '{task.name}': {hub.repo}@{hub.revision[:8]} cannot be downloaded ({type(error).__name__}); "
                "try again, or use data.kind=standin."
            ) from None
    frames = {split: _read(files) for split, files in paths.items()}
    return RawSplits(frames, "hub", f"Hub {hub.repo}@{hub.revision[:8]}")


@cache
def hub_reachable() -> bool:
    """Probes the Hub once a process, for two seconds at most; HF_HUB_OFFLINE=1 skips the probe."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reached = threading.Event()

    def probe() -> None:
        # A whole answer is asked for: a connection alone also succeeds where a proxy or firewall swallows what follows.
        try:
            urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PROBE_TIMEOUT_S).close()  # noqa: S310
            reached.set()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:  # an overloaded Hub is retried for half a minute by its client
                reached.set()
        except (OSError, ValueError, http.client.HTTPException):
            pass

    # A thread, because looking up a name has no time-out of its own.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    return reached.is_set()


def _standin(task: Task) -> RawSplits:
    from tdbench.bench.data.standin import generate

    if task.standin is None:
        raise PrerequisiteError(f"task '{task.name}' has no stand-in corpus; provide the data by {DATA_VARIABLE}.")
    frames = {split: generate(task.standin, split, rows, STANDIN_SEED) for split, rows in STANDIN_ROWS.items()}
    return RawSplits(frames, "standin", "stand-in corpus: generated text, comparable with nothing but itself")
