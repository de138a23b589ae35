"""Geometry of the chart above a table: the score with its interval, one row per method. The template draws it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tdbench.leaderboard.column import score_text, shortened
from tdbench.leaderboard.schema import ALL_BUDGET
from tdbench.leaderboard.tables import LineKind, Table

WIDTH = 720
LABEL_WIDTH = 230
RIGHT_MARGIN = 24
ROW_HEIGHT = 22
TOP = 26
BOTTOM = 26


@dataclass(frozen=True)
class Mark:
    """One method: a dot with its whisker, in pixels."""

    name: str
    text: str
    kind: LineKind
    ranked: bool
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True)
class Guide:
    """A line across a drawing: an axis tick or a reference."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing ready for the template, in pixels."""

    height: float
    floor: float
    """Where the axis lies."""
    marks: tuple[Mark, ...]
    ticks: tuple[Guide, ...]
    references: tuple[Guide, ...]
    summary: str
    """Text alternative of the whole drawing."""


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    step: float

    def x(self, fraction: float) -> float:
        share = (fraction - self.low) / (self.high - self.low)
        return round(LABEL_WIDTH + min(1.0, max(0.0, share)) * (WIDTH - RIGHT_MARGIN - LABEL_WIDTH), 1)

    def ticks(self) -> tuple[Guide, ...]:
        count = round((self.high - self.low) / self.step)
        values = (self.low + index * self.step for index in range(count + 1))
        return tuple(Guide(self.x(value), f"{100 * value:.0f}") for value in values)


def round_limits(values: list[float], steps: tuple[float, ...], most: int) -> tuple[float, float, float]:
    """Chooses round limits around values.

    Args:
        values: What must lie within.
        steps: Distances of ticks to choose from, ascending.
        most: Ticks that are wanted at most; the last step makes as many as it takes.

    Returns:
        The limits and the distance of ticks.
    """
    low, high = min(values), max(values)
    step = next((step for step in steps if (high - low) / step <= most), steps[-1])
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return bottom, top if top > bottom else bottom + step, step


def _scale(values: list[float]) -> _Scale:
    """Chooses round limits around the values, within 0 to 1."""
    return _Scale(*round_limits([min(1.0, max(0.0, value)) for value in values], (0.02, 0.05, 0.1, 0.2, 0.5), 8))


def build_chart(table: Table) -> Chart | None:
    """Lays out one table's source-learner scores; null where nothing was measured.

    Args:
        table: The table to draw.
    """
    found = [(line, line.rows[table.source]) for line in table.lines if table.source in line.rows]
    measured = [(line, row, row["score_frac"]) for line, row in found if row["score_frac"] is not None]
    if not measured:
        return None
    bounds = [v for _, row, _ in measured for v in (row["ci_low"], row["ci_high"]) if v is not None]
    scale = _scale([score for _, _, score in measured] + bounds)
    marks: list[Mark] = []
    references: list[Guide] = []
    for line, row, score in measured:
        if row["budget"] == ALL_BUDGET and not row["superseded"]:
            references.append(Guide(scale.x(score), f"{line.name} {score_text(row)}"))
            continue
        low = score if row["ci_low"] is None else row["ci_low"]
        high = score if row["ci_high"] is None else row["ci_high"]
        y = TOP + (len(marks) + 0.5) * ROW_HEIGHT
        name = shortened(line.title)
        text = f"{line.title}: {score_text(row)}"
        x, x_low, x_high = scale.x(score), scale.x(low), scale.x(high)
        marks.append(Mark(name, text, line.kind, row["ranked"], x, x_low, x_high, y))
    floor = TOP + len(marks) * ROW_HEIGHT
    name = table.score_name[0].upper() + table.score_name[1:]
    summary = f"{name} in percent with {table.source} on {table.title}, with intervals: the numbers of the table above."
    return Chart(floor + BOTTOM, floor, tuple(marks), scale.ticks(), tuple(references), summary)
