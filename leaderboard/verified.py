"""Which results were run again: records of `tdbench reproduce --save` beside the accepted ones of the same ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from typing_extensions import TypedDict

from bench.experiment.record import Record

TOLERANCE_FRAC = 0.01
"""Scores may differ by this much between processors with other number formats; training differs by rounding."""


class VerifiedFields(TypedDict):
    """Trainings that were run again from the task's data on, distilled set and all."""

    n_reproduced: int
    """Those with the same set and a score within a point."""
    n_not_reproduced: int
    """The others."""
    verified_on: str
    """When, at which commit and on what, joined by `; `; empty where nothing was run again."""


NOT_VERIFIED: VerifiedFields = {"n_reproduced": 0, "n_not_reproduced": 0, "verified_on": ""}


def agrees(first: Record, again: Record) -> bool:
    """Tells whether a training came out again: the same set, and the headline within a point.

    Args:
        first: A finished training.
        again: The same training, run once more.
    """
    if first.train is None or again.train is None or first.set_sha256 != again.set_sha256:
        return False
    metric = first.train.metric
    return abs(getattr(again.train, metric) - getattr(first.train, metric)) <= TOLERANCE_FRAC


def verified_fields(records: Iterable[Record], again: Mapping[str, Record]) -> VerifiedFields:
    """Compares the trainings behind a row with what running them again gave.

    Args:
        records: Trainings of the row.
        again: Stage id -> the training as it was run again. A copy of the first record counts for nothing.
    """
    pairs = [(record, again[record.id]) for record in records if record.id in again]
    pairs = [(first, second) for first, second in pairs if first.created != second.created]
    n_same = sum(agrees(first, second) for first, second in pairs)
    return {
        "n_reproduced": n_same,
        "n_not_reproduced": len(pairs) - n_same,
        "verified_on": "; ".join(sorted({_where(second) for _, second in pairs})),
    }


def _where(record: Record) -> str:
    found = record.provenance
    return f"{record.created[:10]}, {(found.git_commit or 'unknown commit')[:10]}, {found.gpu or found.cpu}"
