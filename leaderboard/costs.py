"""What records cost, added up and averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from typing_extensions import TypedDict

from tdbench.bench.record import PhaseCost, Record


class CostFields(TypedDict):
    """What it cost."""

    distil_wall_s: float | None
    """Mean over sets."""
    distil_cpu_s: float | None
    """Mean over sets of the processor seconds of making one, all cores together."""
    train_wall_s: float | None
    """Mean over trained models, test reading included."""


class CostDetailFields(TypedDict):
    """Costs in other units; means over sets, and over trained models."""

    distil_gpu_s: float | None
    """Seconds for which making one set held a GPU."""
    distil_peak_gb: float | None
    """Largest resident memory of a phase of any set."""
    distil_flops_counted: float | None
    """Operations that were counted; the whole, where `distil_flops_uncounted` is empty."""
    distil_flops_uncounted: str
    """Phases whose operations were not counted, joined by `, `."""
    train_cpu_s: float | None
    """Processor seconds of one training and reading the test split."""
    train_gpu_s: float | None
    """Seconds for which it held a GPU."""
    train_flops: float | None
    """Of training and reading the test split."""


_ARITHMETIC = ("train", "predict")


def cost_fields(distils: Iterable[Record], trains: Iterable[Record]) -> CostFields:
    """Returns the costs of a row in seconds.

    Args:
        distils: Records of its sets.
        trains: Records of its trained models.
    """
    sets, models = list(distils), list(trains)
    return {
        "distil_wall_s": mean_cost(sets, "wall_s"),
        "distil_cpu_s": mean_cost(sets, "cpu_s"),
        "train_wall_s": mean_cost(models, "wall_s"),
    }


def cost_detail_fields(distils: Iterable[Record], trains: Iterable[Record]) -> CostDetailFields:
    """Returns the costs of a row in other units; see `cost_fields`."""
    sets, models = list(distils), list(trains)
    flops, uncounted = counted_flops(sets)
    return {
        "distil_gpu_s": mean_cost(sets, "gpu_s"),
        "distil_peak_gb": peak(sets, "peak_rss_gb"),
        "distil_flops_counted": flops,
        "distil_flops_uncounted": uncounted,
        "train_cpu_s": mean_cost(models, "cpu_s"),
        "train_gpu_s": mean_cost(models, "gpu_s"),
        "train_flops": training_flops(models),
    }


def mean_cost(records: Iterable[Record], unit: str) -> float | None:
    """Averages a cost over records; one unknown phase makes the whole unknown."""
    totals = [_total(record.cost, unit) for record in records]
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def peak(records: Iterable[Record], unit: str) -> float | None:
    """Returns the largest value of any phase; null where none was measured."""
    return max((value for r in records for p in r.cost if (value := getattr(p, unit)) is not None), default=None)


def counted_flops(records: Iterable[Record]) -> tuple[float | None, str]:
    """Returns the mean of the operations that were counted, and the phases in which they were not."""
    found = list(records)
    counted = [[phase.flops for phase in record.cost if phase.flops is not None] for record in found]
    gaps = {phase.phase for record in found for phase in record.cost if phase.flops is None}
    mean = fmean(math.fsum(own) for own in counted) if counted and all(counted) else None
    return mean, ", ".join(sorted(gaps))


def training_flops(records: Iterable[Record]) -> float | None:
    """Returns the mean operations of training and reading the test split; building and tokenising do none."""
    totals = []
    for record in records:
        phases = [phase.flops for phase in record.cost if phase.phase in _ARITHMETIC]
        totals.append(None if not phases or None in phases else math.fsum(f for f in phases if f is not None))
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def _total(phases: tuple[PhaseCost, ...], unit: str) -> float | None:
    values: list[float | None] = [getattr(phase, unit) for phase in phases]
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None
