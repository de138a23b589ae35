"""The run folder: finished stages by id.

    <root>/distil/<id>/   record.json distilled.parquet card.yaml ...
    <root>/train/<id>/    record.json
    <root>/shadow/<id>/   an audit's sets, like distil
    <root>/query/<id>/    record.json scores.safetensors
    <root>/audit/<id>/    record.json
    <root>/cache/         encoder features, shared by all stages
    <root>/locks/         one lock file an id

A stage's folder is written beside its place and renamed into it, so it is whole or absent at every moment. A lock per id keeps concurrent
runs from doing the same work twice; the operating system releases it when a process dies.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from filelock import FileLock, Timeout

from tdbench.bench.errors import RecordError
from tdbench.bench.record import Record, Stage, read_record

BOARD_STAGES = ("distil", "train", "audit")
"""Stages that the board is built from; the others, which audits are made of, stay in the run folder."""
ALL_STAGES: tuple[str, ...] = get_args(Stage)


class Busy(Exception):  # noqa: N818 - not an error: another run is on it
    """Another run holds the id's lock."""


class Store:
    """Finished and failed stages under one folder.

    Args:
        root: The run folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        """Folder of caches that outlive a stage."""
        return self.root / "cache"

    def folder(self, stage: str, stage_id: str) -> Path:
        """Returns where a stage's files are, or will be."""
        return self.root / stage / stage_id

    def record_path(self, stage: str, stage_id: str) -> Path:
        """Returns where a stage's record is, or will be."""
        return self.folder(stage, stage_id) / "record.json"

    def get(self, stage: str, stage_id: str) -> Record | None:
        """Returns a stage's record, or None when it has not ended.

        Raises:
            RecordError: The record cannot be read.
        """
        path = self.record_path(stage, stage_id)
        return read_record(path) if path.is_file() else None

    def records(self, warn: list[str] | None = None, stages: tuple[str, ...] = BOARD_STAGES) -> list[Record]:
        """Returns all records of some stages; unreadable ones are skipped, and described in `warn`."""
        records = []
        for stage in stages:
            for path in sorted((self.root / stage).glob("*/record.json")):
                if ".tmp-" in path.parent.name:
                    continue
                try:
                    records.append(read_record(path))
                except RecordError as error:
                    if warn is not None:
                        warn.append(str(error))
        return records

    @contextmanager
    def lock(self, stage: str, stage_id: str, wait: bool) -> Iterator[None]:
        """Holds an id.

        Raises:
            Busy: Another run holds it and `wait` is false.
        """
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{stage}-{stage_id}.lock", timeout=-1 if wait else 0):
                self._sweep(stage, stage_id)
                yield
        except Timeout:
            raise Busy from None

    @contextmanager
    def writing(self, stage: str, stage_id: str) -> Iterator[Path]:
        """Yields a scratch folder for a stage's files; `put` moves it into place, anything else removes it."""
        scratch = self.root / stage / f"{stage_id}.tmp-{os.getpid()}"
        scratch.mkdir(parents=True)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def amend(self, stage: str, stage_id: str, change: Callable[[Record], Record]) -> None:
        """Changes a record as it is now, where there is one; its files stay.

        Args:
            stage: Kind of the stage.
            stage_id: Its id.
            change: Returns the changed record, or the same one.
        """
        with self.lock(stage, stage_id, wait=True):
            known = self.get(stage, stage_id)
            if known is not None and (new := change(known)) is not known:
                partial = self.folder(stage, stage_id) / f"record.json.tmp-{os.getpid()}"
                _write(partial, new)
                partial.replace(self.record_path(stage, stage_id))

    def put(self, record: Record, scratch: Path) -> None:
        """Writes the record into a scratch folder and moves the folder into place; an older one is replaced."""
        _write(scratch / "record.json", record)
        place = self.folder(record.stage, record.id)
        if place.exists():
            old = place.with_name(f"{place.name}.tmp-old-{os.getpid()}")
            place.replace(old)
            scratch.replace(place)
            shutil.rmtree(old, ignore_errors=True)
        else:
            scratch.replace(place)

    def _sweep(self, stage: str, stage_id: str) -> None:
        """Removes what killed runs left behind for this id; safe, because its lock is held."""
        place = self.folder(stage, stage_id)
        for left in place.parent.glob(f"{stage_id}.tmp-*"):
            # A kill between the two renames of `put` leaves only the old folder: bring it back.
            if ".tmp-old-" in left.name and not place.exists():
                left.replace(place)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _write(path: Path, record: Record) -> None:
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
