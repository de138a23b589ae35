"""Archive of results: accepted results as one compact JSON file for each protocol, task and method.

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
from filelock import FileLock

from tdbench.bench.canonical import canonical_json
from tdbench.bench.config import is_custom, is_custom_audit
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import RecordError, UsageError
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import (
    Record,
    TextQuality,
    pack_ints,
    parse_record,
    set_sha256,
    unpack_ints,
)
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


class Archive:
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

    def distilled(self, distil_id: str, real: LabelledText | None = None) -> DistilledSet:
        """Returns the distilled set of an id.

        Args:
            distil_id: Id of the distil stage.
            real: The train split it was made from; needed for a set of all rows.

        Raises:
            RecordError: The pack does not hold it.
        """
        raw = self.packed_set(distil_id)
        if raw.get("all_rows"):
            if real is None:
                raise RecordError(f"the set {distil_id} is all rows of the train split, which were not given.")
            return DistilledSet.from_rows(real, np.arange(len(real)))
        if "not_kept" in raw:
            raise RecordError(
                f"the content of the accepted set {distil_id} was not kept: {raw['not_kept']}. Make it again: "
                f"tdbench reproduce {distil_id}, or run with runtime.accepted=false."
            )
        return DistilledSet.from_json(raw)


_COST_DIGITS, _AUDIT_DIGITS = 4, 6


def write_packs(store: Store, folder: Path, records: Iterable[Record], fallback: Archive | None = None) -> list[Path]:
    """Packs finished records of published protocols and merges them into the packs that exist.

    Args:
        store: Where the records' distilled sets are.
        folder: Pack folder, such as leaderboard/records.
        records: Records of sets, trainings and audits; failed and custom ones are left out.
        fallback: Where sets that are in neither place come from.

    Returns:
        The files written.
    """
    found = list(records)
    # A set may have come from an accepted pack, when only its training was run here.
    accepted = [one for one in (Archive(folder), fallback) if one is not None]
    distils = {record.id: record for one in accepted[::-1] for record in one.records() if record.stage == "distil"}
    distils |= {record.id: record for record in found if record.stage == "distil" and record.status == "ok"}
    groups: dict[Path, list[Record]] = defaultdict(list)
    for record in found:
        if record.status == "ok" and not record.custom and _can_be_checked(record, distils):
            assert record.protocol is not None
            cell = record.cell
            task = f"{cell.task}-standin" if cell.data_kind == "standin" else cell.task
            groups[folder / record.protocol["name"] / task / f"{cell.method}.json"].append(record)
    for path, members in groups.items():
        with _lock(path):
            _merge(path, members, distils, store, accepted)
    return sorted(groups)


def accept_packs(source: Path, folder: Path, method: str) -> list[Path]:
    """Adds the packs of one method from a checked submission to accepted ones; its controls stay out, and no record is replaced.

    Args:
        source: The submission's folder of packs.
        folder: Pack folder, such as leaderboard/records.
        method: Name of the method.

    Returns:
        The files written.
    """
    written = []
    for path in sorted(source.glob(f"*/*/{method}.json")):
        records, sets = read_pack(path)
        target = folder / path.relative_to(source)
        with _lock(target):
            known, kept = read_pack(target) if target.is_file() else ({}, {})
            _write(target, {**records, **known}, {**sets, **kept})
        written.append(target)
    return written


def amend_packs(folder: Path, found: dict[SetKey, TextQuality]) -> None:
    """Writes what was measured about the texts of sets into the packs that hold them."""
    for path in sorted(folder.glob("*/*/*.json")):
        with _lock(path):
            known, sets = read_pack(path)
            own = {r.id: with_quality(r, found[set_key(r)]) for r in known.values() if set_key(r) in found}
            if own:
                _write(path, {**known, **own}, sets)


def _lock(path: Path) -> FileLock:
    """Lets one process at a time read a pack and write it anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_suffix(".lock"))


def _can_be_checked(record: Record, distils: dict[str, Record]) -> bool:
    """Leaves out trainings whose set is gone or was made anew. Audits name the contents of their sets, which seeds make again."""
    if record.stage == "audit":
        return True
    distil = distils.get(record.distil_id)
    return record.stage == "train" and distil is not None and record.set_sha256 == set_sha256(distil)


def _merge(
    path: Path, members: list[Record], distils: dict[str, Record], store: Store, accepted: list[Archive]
) -> None:
    old = read_pack(path) if path.is_file() else ({}, {})
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
            sets[distil.id] = next(one for one in accepted if one.get(distil.id) is not None).packed_set(distil.id)
    _drop_superseded(known)
    sets = {distil_id: packed for distil_id, packed in sets.items() if distil_id in known}
    _write(path, known, sets)


def _write(path: Path, known: dict[str, Record], sets: dict[str, Any]) -> None:
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


def _set_to_json(distilled: DistilledSet, record: Record) -> dict[str, Any]:
    if record.method_facts.full_data:
        return {"all_rows": True}
    if distilled.output == "embedding":
        return {"not_kept": "token vectors are too large; the record names their sha256"}
    copied = record.distil.n_train_exact if record.distil else 0
    if copied:  # text of the train split is not ours to publish
        return {"not_kept": f"{copied} of its texts equal train texts; the record names the set's sha256"}
    borrowed = record.distil.n_public_exact if record.distil else 0
    if borrowed:  # nor is that of other data sets
        return {"not_kept": f"{borrowed} of its texts are those of other data sets; the record names the set's sha256"}
    return distilled.to_json()


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
        for key in SHARED_KEYS:
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


SetKey = tuple[str, str]
"""Id of a set's stage, and the hash of its content."""


def set_key(record: Record) -> SetKey:
    """Returns what tells the set of a record from all others."""
    return record.id, set_sha256(record)


def with_quality(record: Record, quality: TextQuality) -> Record:
    """Returns a set's record with new measures of its texts; what a judge said of them before stays."""
    assert record.distil is not None
    old = {} if record.distil.quality is None else record.distil.quality.values
    judged = {name: value for name, value in old.items() if name.startswith("judge_")}
    whole = quality.model_copy(update={"values": dict(sorted((judged | quality.values).items()))})
    return record.model_copy(update={"distil": record.distil.model_copy(update={"quality": whole})})


def measured(record: Record, key: SetKey, quality: TextQuality) -> Record:
    """Returns a record with new measures, if it is still the set that was measured; else as it is."""
    return with_quality(record, quality) if record.distil is not None and set_key(record) == key else record


def best_measured(new: Record, old: Record | None) -> Record:
    """Returns the record of a set, with the measures of an older record of the same content where those say more."""
    found = None if old is None or old.distil is None or set_key(old) != set_key(new) else old.distil.quality
    own = None if new.distil is None else new.distil.quality
    return with_quality(new, found) if found is not None and _rank(found) > _rank(own) else new


def _rank(quality: TextQuality | None) -> tuple[int, bool]:
    return (-1, False) if quality is None else (quality.version, quality.encoder is not None)
