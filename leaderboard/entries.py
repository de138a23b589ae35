"""What stands behind one row while rows are compared with one another."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

from leaderboard.keys import MethodKey, ProtocolFacts
from leaderboard.schema import Row

Grid: TypeAlias = dict[int, dict[int, float]]
"""Set index -> seed index -> value of one trained model."""


def unit_values(grid: Grid, fixed: bool) -> list[float]:
    """Reduces trained models to independent units.

    Args:
        grid: Values by set and seed.
        fixed: True for methods that produce the same set every time.

    Returns:
        One mean per set. Where a fixed method has its only set, one value per seed: another set would be the same, so
        seeds are all that varies. A single set of any other method stays one unit, because seeds say nothing about the
        spread between its sets.
    """
    if fixed and len(grid) == 1:
        (seeds,) = grid.values()
        # A learner without randomness gives one value again and again: one unit, whose spread is unknown rather than zero.
        return [seeds[seed] for seed in sorted(seeds)] if len(set(seeds.values())) > 1 else list(seeds.values())[:1]
    return [fmean(grid[index].values()) for index in sorted(grid)]


@dataclass(frozen=True)
class Entry:
    """One row with the numbers it was computed from. Comparisons are written into `row`."""

    row: Row
    key: MethodKey
    protocol: ProtocolFacts
    fixed: bool
    accuracy: Grid
    macro_f1: Grid

    @property
    def units(self) -> list[float]:
        """Accuracy of every independent unit."""
        return unit_values(self.accuracy, self.fixed)
