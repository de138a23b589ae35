"""A few generated texts of each method's first set, for readers of the board."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Accepted
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import Record, unpack_ints
from tdbench.bench.registry import TASKS

MOST = 4
"""Texts of a set, one of each class."""


def generated_samples(
    records: Iterable[Record], accepted: Accepted, store: Store | None
) -> dict[str, list[tuple[str, str]]]:
    """Reads the first text of each class of first sets of new text. Nobody chooses them, and none is a text of a data set.

    Args:
        records: Records of the board.
        accepted: The accepted sets.
        store: The run folder, or None to read accepted sets alone.

    Returns:
        Stage id of the set -> (class, text), for sets whose texts are at hand and are new.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for record in records:
        made = record.distil
        if made is None or record.cell.set_index or made.output != "text" or made.n_train_exact or made.n_public_exact:
            continue
        texts = _accepted(record, accepted) if accepted.keeps(record.id) else _stored(record, store)
        if texts is not None:
            found[record.id] = _first_of_classes(*texts, _class_names(record.cell.task))
    return found


def _accepted(record: Record, accepted: Accepted) -> tuple[dict[str, list[str]], Sequence[int]] | None:
    packed = accepted.packed_set(record.id)
    return (packed["fields"], unpack_ints(packed["labels"])) if "fields" in packed else None


def _stored(record: Record, store: Store | None) -> tuple[dict[str, list[str]], Sequence[int]] | None:
    place: Path | None = None if store is None else store.folder("distil", record.id)
    if place is None or not place.is_dir():
        return None
    try:
        made = DistilledSet.load(place, record.artefacts)
    except (TDBenchError, OSError):
        return None  # the board is about records; a set that cannot be read has no samples
    return None if made.fields is None else (made.fields, made.labels_M.tolist())


def _first_of_classes(
    fields: dict[str, list[str]], labels: Sequence[int], names: Sequence[str]
) -> list[tuple[str, str]]:
    chosen: dict[int, str] = {}
    for place, label in enumerate(labels):
        if label not in chosen and len(chosen) < MOST:
            chosen[label] = " / ".join(texts[place] for texts in fields.values())
    return [(names[label] if label < len(names) else str(label), text) for label, text in sorted(chosen.items())]


def _class_names(task: str) -> tuple[str, ...]:
    """Returns the names of a task's classes; none where the task is not installed."""
    entry = TASKS.entries().get(task)
    return () if entry is None or entry.plugin is None else tuple(entry.plugin.label_names)
