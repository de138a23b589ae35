"""Packs: accepted results as one compact JSON file for each protocol, task and method.

A pack holds records (predictions compressed) and distilled sets: generated text, or row ids for selections, never data-set text. What
many records share is stored once. Packs are plain data: reading one runs no code and checks every field.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.canonical import canonical_json
from bench.config import is_custom
from bench.data.text import LabelledText
from bench.distilled import DistilledSet
from bench.errors import RecordError, UsageError
from bench.experiment.record import Record, pack_ints, parse_record, set_sha256, unpack_ints
from bench.experiment.store import Store
from bench.settings import Protocol, check_values

PACK_VERSION = 1
_SHARED_KEYS = ("protocol", "provenance", "method_facts", "cell")
_COST_DIGITS = 4


def write_packs(store: Store, folder: Path, records: Iterable[Record]) -> list[Path]:
    """Packs finished records of published protocols and merges them into the packs that exist.

    Args:
        store: Where the records' distilled sets are.
        folder: Pack folder, such as leaderboard/records.
        records: Records of both stages; failed and custom ones are left out.

    Returns:
        The files written.
    """
    found = list(records)
    # A set may have come from an accepted pack, when only its training was run here.
    accepted = Accepted(folder)
    distils = {record.id: record for record in accepted.records() if record.stage == "distil"}
    distils |= {record.id: record for record in found if record.stage == "distil" and record.status == "ok"}
    groups: dict[Path, list[Record]] = defaultdict(list)
    for record in found:
        # A train record whose set is gone or was made anew cannot be checked by anyone.
        if record.stage != "train" or record.status != "ok" or record.custom or record.distil_id not in distils:
            continue
        distil = distils[record.distil_id]
        if record.set_sha256 == set_sha256(distil):
            assert record.protocol is not None
            cell = record.cell
            task = f"{cell.task}-standin" if cell.data_kind == "standin" else cell.task
            groups[folder / record.protocol["name"] / task / f"{cell.method}.json"].append(record)
    for path, trains in groups.items():
        _merge(path, trains, distils, store, accepted)
    return sorted(groups)


def _merge(path: Path, trains: list[Record], distils: dict[str, Record], store: Store, accepted: Accepted) -> None:
    old = _read(path) if path.is_file() else ({}, {})
    known, sets = dict(old[0]), dict(old[1])
    for train in trains:
        distil = distils[train.distil_id]
        known[train.id], known[distil.id] = train, distil
        place = store.folder("distil", distil.id)
        if place.is_dir():
            sets[distil.id] = _set_to_json(DistilledSet.load(place, distil.artefacts), distil)
        else:
            sets[distil.id] = accepted.packed_set(distil.id)
    _drop_superseded(known)
    sets = {distil_id: packed for distil_id, packed in sets.items() if distil_id in known}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(_dump(known, sets), encoding="utf-8")
    partial.replace(path)


def _drop_superseded(known: dict[str, Record]) -> None:
    """Removes trainings by an older engine where a newer one has done the same, and then sets that nothing was trained on."""

    def done(record: Record) -> str:
        cell = record.cell.model_dump(mode="json", exclude={"source"})
        return canonical_json([cell, record.learner, record.seed_index, (record.protocol or {}).get("name")])

    newest: dict[str, int] = {}
    for record in known.values():
        if record.train is not None:
            newest[done(record)] = max(newest.get(done(record), 0), record.train.engine_numerics)
    for record in list(known.values()):
        if record.train is not None and record.train.engine_numerics < newest[done(record)]:
            del known[record.id]
    used = {record.distil_id for record in known.values() if record.stage == "train"}
    for record in list(known.values()):
        if record.stage == "distil" and record.id not in used:
            del known[record.id]


def _set_to_json(made: DistilledSet, record: Record) -> dict[str, Any]:
    if record.method_facts.full_data:
        return {"all_rows": True}
    if made.soft is not None:
        return {"not_kept": "token vectors are too large; the record names their sha256"}
    copied = record.distil.n_train_exact if record.distil else 0
    if copied:  # text of the train split is not ours to publish
        return {"not_kept": f"{copied} of its texts equal train texts; the record names the set's sha256"}
    packed: dict[str, Any] = {"labels": pack_ints(tuple(made.labels_M.tolist()))}
    if made.row_ids_M is not None:
        packed["row_ids"] = made.row_ids_M.tolist()
    else:
        packed["fields"] = made.fields
    if made.soft_labels_MC is not None:
        packed["soft_labels"] = [[_exactly(share) for share in row] for row in made.soft_labels_MC]
    if made.weights_M is not None:
        packed["weights"] = [_exactly(weight) for weight in made.weights_M]
    return packed


def _exactly(value: Any) -> float:
    """Returns the shortest number that is the same float32."""
    return float(f"{float(value):.9g}")


def _dump(records: dict[str, Record], sets: dict[str, Any]) -> str:
    """One record a line, so that version control shows what was added."""
    shared: dict[str, int] = {}
    lines = []
    for record in sorted(records.values(), key=lambda r: (r.stage, r.cell.budget, r.cell.set_index, r.id)):
        raw = record.model_dump(mode="json", exclude_defaults=True)
        raw["schema_version"] = record.schema_version
        raw["cost"] = [_rounded(cost) for cost in raw.get("cost", [])]
        if record.train is not None:
            raw["train"]["predictions"] = pack_ints(record.train.predictions)
        for key in _SHARED_KEYS:
            if raw.get(key) is not None:
                text = json.dumps(raw[key], sort_keys=True, ensure_ascii=False)
                raw[key] = shared.setdefault(text, len(shared))
        lines.append(json.dumps(raw, sort_keys=True, ensure_ascii=False, allow_nan=False))
    set_lines = [
        f"{json.dumps(key)}: {json.dumps(sets[key], sort_keys=True, ensure_ascii=False)}" for key in sorted(sets)
    ]
    return (
        f'{{"pack_version": {PACK_VERSION},\n"shared": [\n'
        + ",\n".join(shared)
        + '\n],\n"records": [\n'
        + ",\n".join(lines)
        + '\n],\n"sets": {\n'
        + ",\n".join(set_lines)
        + "\n}}\n"
    )


def _rounded(cost: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.{_COST_DIGITS}g}") if isinstance(v, float) else v for k, v in cost.items()}


def _read(path: Path) -> tuple[dict[str, Record], dict[str, Any]]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["pack_version"] != PACK_VERSION:
            raise RecordError(f"{path}: pack version is {raw['pack_version']!r}, expected {PACK_VERSION}.")
        records = {}
        for number, item in enumerate(raw["records"]):
            for key in _SHARED_KEYS:
                if item.get(key) is not None:
                    item[key] = raw["shared"][item[key]]
            if item.get("train") is not None:
                item["train"]["predictions"] = unpack_ints(item["train"]["predictions"])
            record = parse_record(item, f"{path}, record {number}")
            if record.protocol is not None and record.custom != is_custom(check_values(Protocol, record.protocol)):
                raise RecordError(f"{path}, record {number}: its protocol is not the published one of its name.")
            records[record.id] = record
        return records, dict(raw["sets"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError, UsageError) as error:
        raise RecordError(f"{path} is no pack ({type(error).__name__}: {error}).") from None


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
            records, sets = _read(path)
            self._records.update(records)
            self._sets.update(sets)

    def records(self) -> list[Record]:
        """Returns all records of both stages."""
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
        soft, weights = raw.get("soft_labels"), raw.get("weights")
        return DistilledSet(
            labels_M=np.array(unpack_ints(raw["labels"]), dtype=np.int64),
            row_ids_M=np.array(raw["row_ids"], dtype=np.int64) if "row_ids" in raw else None,
            fields=raw.get("fields"),
            soft_labels_MC=None if soft is None else np.array(soft, dtype=np.float32),
            weights_M=None if weights is None else np.array(weights, dtype=np.float32),
        )
