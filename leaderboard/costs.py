"""What records cost, added up and averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from bench.experiment.record import PhaseCost, Record


def mean_cost(records: Iterable[Record], unit: str) -> float | None:
    """Averages a cost over records; one unknown phase makes the whole unknown."""
    totals = [_total(record.cost, unit) for record in records]
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def _total(phases: tuple[PhaseCost, ...], unit: str) -> float | None:
    values: list[float | None] = [getattr(phase, unit) for phase in phases]
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None
