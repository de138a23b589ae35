"""Reads packs of accepted results (see `tdbench.bench.experiment.packs`): plain data, of which every field is checked and no code runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tdbench.bench.config import is_custom, is_custom_audit
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import RecordError, UsageError
from tdbench.bench.record import Record, parse_record, unpack_ints
from tdbench.bench.settings import Audit, Protocol, check_values

PACK_VERSION = 1
MOST_PREDICTIONS = 20_000_000
"""Of all records of a pack."""
SHARED_KEYS = ("protocol", "provenance", "method_facts", "cell")
"""Parts of records that many share, which a pack holds once."""


def read_pack(path: Path) -> tuple[dict[str, Record], dict[str, Any]]:
    """Returns a pack's records by id and its sets as they stand there.

    Raises:
        RecordError: It cannot be read.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is no pack ({type(error).__name__}: {error}).") from None
    return parse_pack(raw, str(path))


def parse_pack(raw: Any, where: str) -> tuple[dict[str, Record], dict[str, Any]]:
    """Reads a pack from its JSON; `where` is part of messages.

    Raises:
        RecordError: It is no pack, or a record is not what its name or schema says.
    """
    try:
        if raw["pack_version"] != PACK_VERSION:
            raise RecordError(f"{where}: pack version is {raw['pack_version']!r}, expected {PACK_VERSION}.")
        records: dict[str, Record] = {}
        left = MOST_PREDICTIONS
        for number, item in enumerate(raw["records"]):
            for key in SHARED_KEYS:
                if item.get(key) is not None:
                    item[key] = raw["shared"][item[key]]
            if item.get("train") is not None:
                item["train"]["predictions"] = unpack_ints(item["train"]["predictions"], left)
                left -= len(item["train"]["predictions"])
            record = parse_record(item, f"{where}, record {number}")
            if record.protocol is not None and record.custom != _is_custom(record):
                raise RecordError(
                    f"{where}, record {number}: its protocol or audit is not the published one of its name."
                )
            if record.id in records:
                raise RecordError(f"{where}, record {number}: its id, {record.id}, stands there twice.")
            records[record.id] = record
        return records, dict(raw["sets"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError, UsageError) as error:
        raise RecordError(f"{where} is no pack ({type(error).__name__}: {error}).") from None


def _is_custom(record: Record) -> bool:
    audit = record.audit is not None and is_custom_audit(check_values(Audit, record.audit.settings))
    return audit or is_custom(check_values(Protocol, record.protocol or {}))


class Accepted:
    """Read-only view of a pack folder.

    Args:
        folder: Folder that holds the packs; may be absent.

    Raises:
        RecordError: A pack cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._records: dict[str, Record] = {}
        self._sets: dict[str, Any] = {}
        for path in sorted(folder.glob("*/*/*.json")):
            records, sets = read_pack(path)
            self._records.update(records)
            self._sets.update(sets)

    def records(self) -> list[Record]:
        """Returns all records."""
        return list(self._records.values())

    def get(self, stage_id: str) -> Record | None:
        """Returns the record of a stage id, or None."""
        return self._records.get(stage_id)

    def packed_set(self, distil_id: str) -> dict[str, Any]:
        """Returns a set as the pack holds it.

        Raises:
            RecordError: No pack holds it.
        """
        if distil_id not in self._sets:
            raise RecordError(f"the accepted records hold no distilled set {distil_id}.")
        return self._sets[distil_id]

    def keeps(self, distil_id: str) -> bool:
        """Tells whether a set's content can be had; that of some is only named by its hash."""
        return "not_kept" not in self._sets.get(distil_id, {"not_kept": ""})

    def distilled(self, distil_id: str, real: LabelledText) -> DistilledSet:
        """Returns the distilled set of an id.

        Args:
            distil_id: Id of the distil stage.
            real: The train split it was made from.

        Raises:
            RecordError: The pack does not hold it.
        """
        raw = self.packed_set(distil_id)
        if raw.get("all_rows"):
            return DistilledSet.from_rows(real, np.arange(len(real)))
        if "not_kept" in raw:
            raise RecordError(
                f"the accepted records do not hold the distilled set {distil_id}: {raw['not_kept']}. Make it again: "
                "runtime.accepted=false."
            )
        return unpacked_set(raw)


def unpacked_set(raw: dict[str, Any]) -> DistilledSet:
    """Reads a set of rows or texts as a pack holds it."""
    soft, weights = raw.get("soft_labels"), raw.get("weights")
    return DistilledSet(
        labels_M=np.array(unpack_ints(raw["labels"]), dtype=np.int64),
        row_ids_M=np.array(raw["row_ids"], dtype=np.int64) if "row_ids" in raw else None,
        fields=raw.get("fields"),
        soft_labels_MC=None if soft is None else np.array(soft, dtype=np.float32),
        weights_M=None if weights is None else np.array(weights, dtype=np.float32),
    )
