"""Which results were run again: records of `tdbench reproduce --save` beside the accepted ones of the same ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from typing_extensions import TypedDict

from tdbench.bench.record import Record
from tdbench.leaderboard.stats import prediction_interval

TOLERANCE_FRAC = 0.01
"""Scores may differ by this much between processors with other number formats; training differs by rounding."""

Verdict: TypeAlias = Literal["reproduced", "consistent", "not reproduced"]
"""`consistent`: on other hardware, not the same, but with a score that the method's sets have."""


class VerifiedFields(TypedDict):
    """Trainings that were run again from the task's data on, distilled set and all."""

    n_reproduced: int
    """Those with the same set and a score within a point."""
    n_consistent: int
    """Those that rounding on other hardware led to another set or score, within the 95 % prediction interval of the row's own."""
    n_not_reproduced: int
    """The others."""
    verified_on: str
    """When, at which commit and on what, joined by `; `; empty where nothing was run again."""


NOT_VERIFIED: VerifiedFields = {"n_reproduced": 0, "n_consistent": 0, "n_not_reproduced": 0, "verified_on": ""}


def machine(record: Record) -> str:
    """Returns what a record was made on: the GPU, or the processor with its cores."""
    found = record.provenance
    return found.gpu or f"{found.cpu} ({found.cores} core{'s' if found.cores > 1 else ''})"


def verdict(first: Record, again: Record, scores: Sequence[float]) -> Verdict:
    """Compares a training with what running it again gave.

    A method whose every step hangs on the one before is not the same on a processor that rounds otherwise, and nobody could tell it
    from a forgery by its hash; its scores are draws from the same distribution all the same.

    Args:
        first: A finished training.
        again: The same training, run once more.
        scores: The headline of all trainings of the row.
    """
    if first.train is None or again.train is None:
        return "not reproduced"
    metric = first.train.metric
    old, new = getattr(first.train, metric), getattr(again.train, metric)
    if first.set_sha256 == again.set_sha256 and abs(new - old) <= TOLERANCE_FRAC:
        return "reproduced"
    low, high = prediction_interval(scores)
    elsewhere = first.provenance.hardware != again.provenance.hardware
    return "consistent" if elsewhere and low <= new <= high else "not reproduced"


def verified_fields(records: Iterable[Record], again: Mapping[str, Record]) -> VerifiedFields:
    """Compares the trainings behind a row with what running them again gave.

    Args:
        records: Trainings of the row.
        again: Stage id -> the training as it was run again. A copy of the first record counts for nothing.
    """
    own = list(records)
    pairs = [(one, again[one.id]) for one in own if one.id in again and one.created != again[one.id].created]
    scores = [getattr(one.train, one.train.metric) for one in own if one.train is not None]
    found = Counter(verdict(first, second, scores) for first, second in pairs)
    return {
        "n_reproduced": found["reproduced"],
        "n_consistent": found["consistent"],
        "n_not_reproduced": found["not reproduced"],
        "verified_on": "; ".join(sorted({_where(second) for _, second in pairs})),
    }


def _where(record: Record) -> str:
    return f"{record.created[:10]}, {(record.provenance.git_commit or 'unknown commit')[:10]}, {machine(record)}"
