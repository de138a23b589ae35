"""Score against the cost of making a set, and which methods nothing beats in both. The template draws it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tdbench.leaderboard.chart import Guide, round_limits
from tdbench.leaderboard.column import duration_text, hardware_text, percent
from tdbench.leaderboard.rankings import competes
from tdbench.leaderboard.schema import ALL_BUDGET
from tdbench.leaderboard.square import Curve, Figure, KeyLine, Point, along, up
from tdbench.leaderboard.tables import Line, Table

LEAST_S = 0.1
"""Shorter times stand at the left edge."""
Measured = tuple[Line, float, float]
"""A method, its seconds and its score."""


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
        table: The table to draw. Where its rows come from several kinds of hardware, the one with the most is drawn, and the others are
            named below. Default configurations that are ranked take part: a mean over two sets is no rival of one over twenty.
    """
    hardware, found, others = measured(table)
    if len(found) < 2:
        return None
    costs = [cost for _, cost, _ in found]
    x_low, x_high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)) + 1e-9)
    y_low, y_high, step = round_limits([score for *_, score in found], (0.01, 0.02, 0.05, 0.1, 0.2), 6)

    def x(cost: float) -> float:
        return along((math.log10(cost) - x_low) / max(1, x_high - x_low))

    def y(score: float) -> float:
        return up((score - y_low) / (y_high - y_low))

    best = front([(cost, score) for _, cost, score in found])
    marks, key = [], []
    for number, (line, cost, score) in enumerate(found, 1):
        took = duration_text(line.any_row["distil_wall_s"])
        text = f"{line.title}: {percent(score)} in {took}{', beaten by none' if number - 1 in best else ''}"
        marks.append(Point(str(number), text, x(cost), x(cost), x(cost), y(score), line.kind != "method"))
        key.append(KeyLine(str(number), text))
    levels = [y_low + i * step for i in range(round((y_high - y_low) / step) + 1)]
    path = "M" + "L".join(f"{marks[i].x} {marks[i].y}" for i in best)
    apart = [
        f"{line.title} {percent(score)} in {duration_text(line.any_row['distil_wall_s'])} ({hardware_text(line.any_row)})"
        for line, _, score in others
    ]
    return Figure(
        heading="Score against cost",
        x_title="time to make a set",
        y_title=f"{table.score_name}, {table.source}",
        x_ticks=tuple(Guide(x(10.0**power), duration_text(10.0**power)) for power in range(x_low, x_high + 1)),
        y_ticks=tuple(Guide(y(level), f"{100 * level:.0f}") for level in levels),
        points=tuple(marks),
        curves=(Curve(path, 0),) if len(best) > 1 else (),
        key=tuple(key),
        notes=(
            f"Ranked methods measured on {hardware.replace('(R)', '')}; the line joins those that none beats in both.",
            *([f"Made on other hardware, and not to be compared: {'; '.join(apart)}."] if apart else []),
        ),
    )


def measured(table: Table) -> tuple[str, list[Measured], list[Measured]]:
    """Returns the kind of hardware that most ranked methods were made on, these methods, and those made on other kinds, best first."""
    found: list[Measured] = []
    for line in table.lines:
        row = line.rows.get(table.source)
        if row is None or not competes(row) or row["budget"] == ALL_BUDGET:
            continue
        cost, score = row["distil_wall_s"], row["score_frac"]
        if cost is not None and score is not None:
            found.append((line, max(LEAST_S, cost), score))
    found.sort(key=lambda one: (-one[2], one[0].title))
    kinds = Counter(line.any_row["distil_hardware"] for line, *_ in found)
    most = max(sorted(kinds), key=lambda kind: kinds[kind], default="")
    here = [one for one in found if one[0].any_row["distil_hardware"] == most]
    return most, here, [one for one in found if one not in here]
