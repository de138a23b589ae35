"""New measures for the records of sets that exist."""

from __future__ import annotations

from tdbench.bench.record import Record, TextQuality, set_sha256

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
