"""Score against the cost of making a set, and which methods nothing beats in both. The template draws it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from leaderboard.chart import Guide, round_limits
from leaderboard.column import duration_text, percent, shortened
from leaderboard.schema import ALL_BUDGET
from leaderboard.square import Curve, Figure, Point, along, spread_names, up
from leaderboard.tables import Line, Table

LEAST_S = 0.1
"""Shorter times stand at the left edge."""
_LETTERS = 24


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the points that no other beats: none is at most as dear and scores more, or is cheaper and scores as much.

    Args:
        points: (cost, score).

    Returns:
        Places in `points`, by rising cost.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    kept: list[int] = []
    for place in order:
        if not kept or points[place][1] > points[kept[-1]][1]:
            kept.append(place)
    return kept


def pareto_figure(table: Table) -> Figure | None:
    """Draws score by time to make a set, for one kind of hardware; null with fewer than two methods measured on it.

    Args:
        table: The table to draw. Where its rows come from several kinds of hardware, the one with the most is drawn.
    """
    hardware, found = measured(table)
    if len(found) < 2:
        return None
    costs = [cost for _, cost, _ in found]
    x_low, x_high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)) + 1e-9)
    y_low, y_high, step = round_limits([score for *_, score in found], (0.01, 0.02, 0.05, 0.1, 0.2), 6)

    def x(cost: float) -> float:
        return along((math.log10(cost) - x_low) / max(1, x_high - x_low))

    def y(score: float) -> float:
        return up((score - y_low) / (y_high - y_low))

    metric = "macro-F1" if table.metric == "macro_f1_frac" else "accuracy"
    marks = [
        _mark(line, x(cost), y(score), f"{metric} {percent(score)}, {duration_text(cost)}")
        for line, cost, score in found
    ]
    best = front([(cost, score) for _, cost, score in found])
    path = "M" + "L".join(f"{marks[i].x} {marks[i].y}" for i in best)
    levels = [y_low + i * step for i in range(round((y_high - y_low) / step) + 1)]
    return Figure(
        heading="Score against cost",
        x_title=f"time to make a set ({hardware})"[:60],
        y_title=f"{metric}, {table.source}",
        x_ticks=tuple(Guide(x(10.0**power), duration_text(10.0**power)) for power in range(x_low, x_high + 1)),
        y_ticks=tuple(Guide(y(level), f"{100 * level:.0f}") for level in levels),
        points=spread_names(marks),
        curves=(Curve("", path, 0, 0.0),) if len(best) > 1 else (),
        summary=f"{metric} against time to make a set on {table.title}, measured on {hardware}. "
        + f"Beaten by none in both: {', '.join(found[i][0].title for i in best)}. "
        + "; ".join(mark.text for mark in marks)
        + ".",
    )


def measured(table: Table) -> tuple[str, list[tuple[Line, float, float]]]:
    """Returns the kind of hardware that most methods were measured on, and their (line, seconds, score)."""
    by_kind: dict[str, list[tuple[Line, float, float]]] = defaultdict(list)
    for line in table.lines:
        row = line.rows.get(table.source)
        if row is None or row["budget"] == ALL_BUDGET or row["superseded"] or row["external"]:
            continue
        cost, score = row["distil_wall_s"], row["score_frac"]
        if cost is not None and score is not None:
            by_kind[row["hardware"]].append((line, max(LEAST_S, cost), score))
    return max(sorted(by_kind.items()), key=lambda one: len(one[1]), default=("", []))


def _mark(line: Line, x: float, y: float, said: str) -> Point:
    return Point(
        shortened(line.name, _LETTERS),
        f"{line.title}: {said}",
        x,
        x,
        x,
        y,
        line.kind != "method",
        x > along(0.5),
        y - 6,
    )
