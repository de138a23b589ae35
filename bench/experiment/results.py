"""Results of a run folder and of the archive, asked in one place."""

from __future__ import annotations

from pathlib import Path

from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.experiment.store import BOARD_STAGES, Store
from tdbench.bench.record import Record, set_sha256


class Results:
    """Records and sets of finished stages; where both places hold one, the run folder's counts.

    Args:
        root: The run folder; None to read the archive alone.
        archive: Folder of accepted results, such as leaderboard/records; None to read the run folder alone.
    """

    def __init__(self, root: Path | None, archive: Path | None = None) -> None:
        self._store = None if root is None else Store(root)
        self.archive = None if archive is None else Archive(archive)

    @property
    def store(self) -> Store:
        """The run folder, where there is one."""
        assert self._store is not None
        return self._store

    def archived(self, stage_id: str) -> Record | None:
        """Returns the archive's record of a stage; None where it has none."""
        return None if self.archive is None else self.archive.get(stage_id)

    def get(self, stage: str, stage_id: str) -> Record | None:
        """Returns the record of a stage, or None while it has not ended.

        Raises:
            RecordError: The run folder's record cannot be read.
        """
        record = None if self._store is None else self._store.get(stage, stage_id)
        return record or self.archived(stage_id)

    def records(self, warn: list[str] | None = None, stages: tuple[str, ...] = BOARD_STAGES) -> list[Record]:
        """Returns the archive's records, then the run folder's of some stages; unreadable ones are described in `warn`."""
        archived = [] if self.archive is None else self.archive.records()
        return archived + ([] if self._store is None else self._store.records(warn, stages))

    def distilled(self, record: Record, real: LabelledText | None = None) -> DistilledSet:
        """Returns the set that a record of a distil stage describes.

        Args:
            record: The record; its hashes decide whether the run folder's files are that set.
            real: The train split it was made from; needed for sets of all rows alone.

        Raises:
            RecordError: Neither place holds a set of that content, or its files have changed.
        """
        problem = RecordError(f"no run folder was named that could hold the set {record.id}.")
        if self._store is not None:
            try:
                return DistilledSet.load(self._store.folder(record.stage, record.id), record.artefacts)
            except RecordError as error:
                problem = error
        archived = self.archived(record.id)
        if self.archive is None or archived is None or set_sha256(archived) != set_sha256(record):
            raise problem
        return self.archive.distilled(record.id, real)
