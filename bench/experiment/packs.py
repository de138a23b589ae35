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
from bench.config import is_custom, is_custom_audit
from bench.data.text import LabelledText
from bench.distilled import DistilledSet
from bench.errors import RecordError, UsageError
from bench.experiment.record import (
    Record,
    TextQuality,
    pack_ints,
    parse_record,
    set_sha256,
    unpack_ints,
)
from bench.experiment.set_quality import SetKey, best_measured, set_key, with_quality
from bench.experiment.store import Store, file_lock
from bench.settings import Audit, Protocol, check_values

PACK_VERSION = 1
_SHARED_KEYS = ("protocol", "provenance", "method_facts", "cell")
_COST_DIGITS, _AUDIT_DIGITS = 4, 6


def write_packs(store: Store, folder: Path, records: Iterable[Record]) -> list[Path]:
    """Packs finished records of published protocols and merges them into the packs that exist.

    Args:
        store: Where the records' distilled sets are.
        folder: Pack folder, such as leaderboard/records.
        records: Records of sets, trainings and audits; failed and custom ones are left out.

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
        if record.status == "ok" and not record.custom and _can_be_checked(record, distils):
            assert record.protocol is not None
            cell = record.cell
            task = f"{cell.task}-standin" if cell.data_kind == "standin" else cell.task
            groups[folder / record.protocol["name"] / task / f"{cell.method}.json"].append(record)
    for path, members in groups.items():
        with file_lock(path):
            _merge(path, members, distils, store, accepted)
    return sorted(groups)


def amend_packs(folder: Path, found: dict[SetKey, TextQuality]) -> None:
    """Writes what was measured about the texts of sets into the packs that hold them."""
    for path in sorted(folder.glob("*/*/*.json")):
        with file_lock(path):
            known, sets = _read(path)
            own = {r.id: with_quality(r, found[set_key(r)]) for r in known.values() if set_key(r) in found}
            if own:
                _write(path, {**known, **own}, sets)


def _can_be_checked(record: Record, distils: dict[str, Record]) -> bool:
    """Leaves out trainings whose set is gone or was made anew. Audits name the contents of their sets, which seeds make again."""
    if record.stage == "audit":
        return True
    distil = distils.get(record.distil_id)
    return record.stage == "train" and distil is not None and record.set_sha256 == set_sha256(distil)


def _merge(path: Path, members: list[Record], distils: dict[str, Record], store: Store, accepted: Accepted) -> None:
    old = _read(path) if path.is_file() else ({}, {})
    known, sets = dict(old[0]), dict(old[1])
    for record in members:
        known[record.id] = record
        if record.stage == "audit":
            continue
        distil = distils[record.distil_id]
        known[distil.id] = best_measured(distil, known.get(distil.id))
        place = store.folder("distil", distil.id)
        if place.is_dir():
            sets[distil.id] = _set_to_json(DistilledSet.load(place, distil.artefacts), distil)
        else:
            sets[distil.id] = accepted.packed_set(distil.id)
    _drop_superseded(known)
    sets = {distil_id: packed for distil_id, packed in sets.items() if distil_id in known}
    _write(path, known, sets)


def _write(path: Path, known: dict[str, Record], sets: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(_dump(known, sets), encoding="utf-8")
    partial.replace(path)


def _drop_superseded(known: dict[str, Record]) -> None:
    """Removes trainings and audits by older code where newer code has done the same, and then sets that nothing was trained on."""

    def done(record: Record) -> str:
        cell = record.cell.model_dump(mode="json", exclude={"source"})
        what = (record.stage, record.learner, record.seed_index, (record.protocol or {}).get("name"))
        return canonical_json([cell, *what, record.audit.settings if record.audit is not None else None])

    newest: dict[str, int] = {}
    for record in known.values():
        newest[done(record)] = max(newest.get(done(record), 0), _version(record))
    for record in list(known.values()):
        if _version(record) < newest[done(record)]:
            del known[record.id]
    used = {record.distil_id for record in known.values() if record.stage == "train"}
    for record in list(known.values()):
        if record.stage == "distil" and record.id not in used:
            del known[record.id]


def _version(record: Record) -> int:
    """Returns the version of the code that made a training or an audit; of sets all count."""
    if record.train is not None:
        return record.train.engine_numerics
    return 0 if record.audit is None else record.audit.audit_version


def _set_to_json(made: DistilledSet, record: Record) -> dict[str, Any]:
    if record.method_facts.full_data:
        return {"all_rows": True}
    if made.soft is not None:
        return {"not_kept": "token vectors are too large; the record names their sha256"}
    copied = record.distil.n_train_exact if record.distil else 0
    if copied:  # text of the train split is not ours to publish
        return {"not_kept": f"{copied} of its texts equal train texts; the record names the set's sha256"}
    borrowed = record.distil.n_public_exact if record.distil else 0
    if borrowed:  # nor is that of other data sets
        return {"not_kept": f"{borrowed} of its texts are those of other data sets; the record names the set's sha256"}
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
        raw["cost"] = [_rounded(cost, _COST_DIGITS) for cost in raw.get("cost", [])]
        if record.distil is not None and record.distil.quality is not None:
            raw["distil"]["quality"]["values"] = _rounded(record.distil.quality.values, _COST_DIGITS)
        if record.audit is not None:
            raw["audit"] = _rounded(raw["audit"], _AUDIT_DIGITS)
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


def _rounded(value: Any, digits: int) -> Any:
    """Returns a JSON value whose numbers have so many significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


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
            if record.protocol is not None and record.custom != _is_custom(record):
                raise RecordError(
                    f"{path}, record {number}: its protocol or audit is not the published one of its name."
                )
            records[record.id] = record
        return records, dict(raw["sets"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError, UsageError) as error:
        raise RecordError(f"{path} is no pack ({type(error).__name__}: {error}).") from None


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
            records, sets = _read(path)
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
