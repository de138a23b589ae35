"""What stands behind one row while rows are compared with one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from tdbench.leaderboard.keys import MethodKey, ProtocolFacts
from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.stats import mean_interval

Grid: TypeAlias = dict[int, dict[int, float]]
"""Set index -> seed index -> value of one trained model."""
_SEEDS = 1_000
"""More than any set has."""
METRICS = ("accuracy_frac", "macro_f1_frac")


def unit_map(grid: Grid, fixed: bool) -> dict[int, float]:
    """Reduces trained models to independent units.

    Args:
        grid: Values by set and seed.
        fixed: True where all sets are the same.

    Returns:
        One mean per set, by its index. Where all sets are the same, one value per training: seeds are all that varies. A single set of
        any other method stays one unit, because seeds say nothing about the spread between its sets.
    """
    if fixed:
        trained = {
            _SEEDS * index + seed: value for index in sorted(grid) for seed, value in sorted(grid[index].items())
        }
        # A learner without randomness gives one value again and again: one unit, whose spread is unknown rather than zero.
        return trained if len(set(trained.values())) > 1 else dict(list(trained.items())[:1])
    return {index: fmean(grid[index].values()) for index in sorted(grid)}


def unit_values(grid: Grid, fixed: bool) -> list[float]:
    """Returns the values of `unit_map`."""
    return list(unit_map(grid, fixed).values())


@dataclass(frozen=True)
class Entry:
    """One row with the numbers it was computed from. Comparisons are written into `row`."""

    row: Row
    key: MethodKey
    protocol: ProtocolFacts
    fixed: bool
    grids: dict[str, Grid]
    """Metric -> values."""
    options: Mapping[str, Any]
    """Options of the method that differ from its defaults."""

    @property
    def by_unit(self) -> dict[int, float]:
        """The headline of every independent unit: by set, or by seed where there is one set."""
        return unit_map(self.grids[self.row["metric"]], self.fixed)

    @property
    def units(self) -> list[float]:
        """The headline of every independent unit."""
        return list(self.by_unit.values())


def score_fields(grids: dict[str, Grid], metric: str, fixed: bool) -> dict[str, Any]:
    """Returns the fields of a row that hold scores: the mean of every metric, and the headline with its interval, cut at 0 and 1."""
    interval = mean_interval(unit_values(grids[metric], fixed))
    means = {name: mean_interval(unit_values(grid, fixed)).mean for name, grid in grids.items()}
    low, high = (None if bound is None else min(1.0, max(0.0, bound)) for bound in (interval.low, interval.high))
    return {**means, "metric": metric, "score_frac": interval.mean, "ci_low": low, "ci_high": high}
