"""Notices that a plug-in reads the data folder or connects behind the harness's back. It finds mistakes; it is no sandbox."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tdbench.bench.data.sources import DATA_VARIABLE
from tdbench.bench.registry import TASKS

CANARY = "canary zqxj7 of the test split"
"""Text of every file of the data folder that plug-ins see while they are checked."""


@dataclass
class Watch:
    """What happened while it was looked at."""

    folders: tuple[str, ...]
    reads: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)


_watch: Watch | None = None
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    watch = _watch
    if watch is None:
        return
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(args[0]))
        if path.startswith(watch.folders):
            watch.reads.append(path)
    elif event == "socket.connect":
        watch.connections.append(str(args[1]))


@cache
def canary_folder() -> Path:
    """Writes a data folder in which every text of every task is `CANARY`; it goes away with the process."""
    import pandas as pd

    keeper = tempfile.TemporaryDirectory(prefix="tdbench-canary-")
    _KEEPERS.append(keeper)
    for name in TASKS.names():
        plugin = TASKS.get(name)
        columns = {column: [CANARY] * 4 for column in (*plugin.text_fields, "title", "description", "text")}
        frame = pd.DataFrame({**columns, "label": range(4)})
        for files in plugin.local.values():
            for file in (files,) if isinstance(files, str) else files:
                path = Path(keeper.name) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return Path(keeper.name)


_KEEPERS: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def watching() -> Iterator[Watch]:
    """Notes reads of the data folder and connections; TDBENCH_DATA names a folder of canaries meanwhile.

    Files that are read by code outside Python (parquet files by pyarrow) are not noticed when they are opened; what they hold is.
    """
    global _watch, _installed  # noqa: PLW0603 - an audit hook can be added and never removed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    canaries, before = canary_folder(), os.environ.get(DATA_VARIABLE)
    folders = [canaries, *([Path(before)] if before else [])]
    os.environ[DATA_VARIABLE] = str(canaries)
    _watch = Watch(tuple(os.path.realpath(folder) + os.sep for folder in folders))
    try:
        yield _watch
    finally:
        _watch = None
        if before is None:
            del os.environ[DATA_VARIABLE]
        else:
            os.environ[DATA_VARIABLE] = before
