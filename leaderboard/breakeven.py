"""After how many downstream trainings a distilled set has paid for itself."""

from __future__ import annotations

import math

from tdbench.leaderboard.compare import index_roles, reference_of
from tdbench.leaderboard.derived_fields import BreakevenFields
from tdbench.leaderboard.entries import Entry
from tdbench.leaderboard.schema import UNSEEN_MEAN, Row

_UNITS = (
    ("cpu", "distil_cpu_s", "train_cpu_s"),
    ("gpu", "distil_gpu_s", "train_gpu_s"),
    ("flops", "distil_flops_counted", "train_flops"),
)


def trainings_to_pay(distil: float, train: float, distil_other: float, train_other: float) -> float | None:
    """Returns the least number of trainings from which on distil + n train <= distil_other + n train_other.

    Args:
        distil: Cost of making the set.
        train: Cost of one training on it, in the same unit.
        distil_other: Cost of making what it is compared with; 0 for all real data.
        train_other: Cost of one training on that.

    Returns:
        The least whole number of trainings; infinity where both are dearer. Null where the set is cheaper and each training on it dearer,
        so that it pays for few trainings and not for many.
    """
    extra, saved = distil - distil_other, train_other - train
    if extra <= 0:
        return 0.0 if saved >= 0 else None
    return float(math.ceil(extra / saved)) if saved > 0 else math.inf


def fill_breakeven(entries: list[Entry]) -> None:
    """Fills the break-even points of all rows in place: seconds within one kind of hardware, operations where all were counted.

    Args:
        entries: All entries of the board, unseen means included; these have none.
    """
    index = index_roles(entries)
    for entry in entries:
        if entry.row["full_data"] or entry.row["external"] or entry.row["learner"] == UNSEEN_MEAN:
            continue
        full, kmeans = (reference_of(entry, role, index) for role in ("full", "kmeans"))
        entry.row.update(_against(entry.row, full and full.row, "full"))  # type: ignore[typeddict-item]
        if kmeans is not entry:
            entry.row.update(_against(entry.row, kmeans and kmeans.row, "kmeans"))  # type: ignore[typeddict-item]


def _against(row: Row, other: Row | None, name: str) -> BreakevenFields:
    found = {}
    for unit, distil_key, train_key in _UNITS:
        value = None
        if other is not None and (_all_counted(row, other) if unit == "flops" else _one_machine(row, other)):
            made, trained, trained_other = row[distil_key], row[train_key], other[train_key]
            made_other = 0.0 if other["full_data"] else other[distil_key]
            if None not in (made, trained, made_other, trained_other):
                value = trainings_to_pay(made, trained, made_other, trained_other)
        found[f"breakeven_{name}_{unit}"] = value
    return found  # type: ignore[return-value]


def _one_machine(row: Row, other: Row) -> bool:
    """Tells whether both were made and trained on one kind of hardware; what is read for all data is made nowhere."""
    kinds = {row["hardware"], row["distil_hardware"], other["hardware"]}
    return len(kinds if other["full_data"] else kinds | {other["distil_hardware"]}) == 1


def _all_counted(row: Row, other: Row) -> bool:
    """Tells whether all operations were counted; against all data a part is enough for a bound from below."""
    if other["full_data"]:
        return row["distil_flops_counted"] is not None
    return not row["distil_flops_uncounted"] and not other["distil_flops_uncounted"]
