"""A few generated texts of each method's first set, for readers of the board."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.results import Results
from tdbench.bench.record import Record
from tdbench.bench.registry import TASKS

MOST = 4
"""Texts of a set, one of each class."""


def generated_samples(records: Iterable[Record], results: Results) -> dict[str, list[tuple[str, str]]]:
    """Reads the first text of each class of first sets of new text. Nobody chooses them, and none is a text of a data set.

    Args:
        records: Records of the board.
        results: Where their sets are.

    Returns:
        Stage id of the set -> (class, text), for sets whose texts are at hand and are new.
    """
    samples: dict[str, list[tuple[str, str]]] = {}
    for record in records:
        facts = record.distil
        if (
            facts is None
            or record.cell.set_index
            or facts.output != "text"
            or facts.n_train_exact
            or facts.n_public_exact
        ):
            continue
        with suppress(TDBenchError, OSError):  # the board is about records; a set that cannot be read has no samples
            distilled = results.distilled(record)
            if distilled.fields is not None:
                names = _class_names(record.cell.task)
                samples[record.id] = _first_of_classes(distilled.fields, distilled.labels_M.tolist(), names)
    return samples


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
