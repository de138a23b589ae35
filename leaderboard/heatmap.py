"""Geometry of the heat map of a table: methods by learners. The template draws it."""

from __future__ import annotations

from dataclasses import dataclass

from tdbench.leaderboard.chart import Guide
from tdbench.leaderboard.column import MISSING, percent, shortened
from tdbench.leaderboard.schema import ALL_BUDGET
from tdbench.leaderboard.tables import Line, Table

LABEL_WIDTH, CELL_WIDTH, CELL_HEIGHT, TOP = 230, 74, 22, 28
LEVELS = 7
"""Shades; 0 is the lowest score of a learner's column, the last the highest."""


@dataclass(frozen=True)
class HeatCell:
    """One method with one learner."""

    x: int
    y: int
    text: str
    level: int | None
    """Shade; null for a hole."""


@dataclass(frozen=True)
class HeatMap:
    """A drawing ready for the template, in pixels."""

    width: int
    height: int
    columns: tuple[Guide, ...]
    rows: tuple[Guide, ...]
    cells: tuple[HeatCell, ...]
    summary: str


def heat_map(table: Table) -> HeatMap | None:
    """Lays out the scores of a table's methods with every learner; null with fewer than two learners or two methods.

    Shades compare methods within a learner's column, because learners differ by more than methods do.

    Args:
        table: The table to draw.
    """
    lines, learners, scores = score_grid(table)
    if len(lines) < 2 or len(learners) < 2:
        return None
    cells, said = [], []
    for column, learner in enumerate(learners):
        known = [own[column] for own in scores if own[column] is not None]
        for place, own in enumerate(scores):
            value = own[column]
            x, y = LABEL_WIDTH + column * CELL_WIDTH, TOP + place * CELL_HEIGHT
            cells.append(HeatCell(x, y, percent(value), _level(value, [v for v in known if v is not None])))
        ranked = [
            (own[column] or 0.0, line.name)
            for line, own in zip(lines, scores, strict=True)
            if _is_ranked(line, learner)
        ]
        said.append(f"{learner}: {f'{max(ranked)[1]} {percent(max(ranked)[0])}' if ranked else MISSING}")
    return HeatMap(
        width=LABEL_WIDTH + CELL_WIDTH * len(learners),
        height=TOP + CELL_HEIGHT * len(lines) + 6,
        columns=tuple(Guide(LABEL_WIDTH + (i + 0.5) * CELL_WIDTH, name) for i, name in enumerate(learners)),
        rows=tuple(Guide(TOP + (i + 0.5) * CELL_HEIGHT + 4, shortened(line.title)) for i, line in enumerate(lines)),
        cells=tuple(cells),
        summary=f"Score of {len(lines)} methods with {len(learners)} learners on {table.title}. "
        f"Best of those that are ranked, by learner: {'; '.join(said)}.",
    )


def _is_ranked(line: Line, learner: str) -> bool:
    row = line.rows.get(learner)
    return row is not None and row["rank"] is not None


def score_grid(table: Table) -> tuple[list[Line], list[str], list[list[float | None]]]:
    """Returns a table's methods, the learners that any of them was measured with, and their mean scores (methods x learners)."""
    lines = [line for line in table.lines if line.any_row["budget"] != ALL_BUDGET]
    grid = {
        name: [None if (row := line.rows.get(name)) is None else row["score_frac"] for line in lines]
        for name in table.learners
    }
    learners = [name for name, column in grid.items() if any(value is not None for value in column)]
    return lines, learners, [[grid[name][place] for name in learners] for place in range(len(lines))]


def _level(value: float | None, known: list[float]) -> int | None:
    if value is None:
        return None
    low, high = min(known), max(known)
    return LEVELS // 2 if high - low <= 0 else min(LEVELS - 1, int((value - low) / (high - low) * LEVELS))
