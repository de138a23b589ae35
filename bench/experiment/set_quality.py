"""New measures for the records of sets that exist."""

from __future__ import annotations

from bench.experiment.record import Record, TextQuality, set_sha256

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
