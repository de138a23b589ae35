"""Figures of one table for papers; see `tdbench.leaderboard.paper`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.record import ROC_FPR
from tdbench.leaderboard.column import shortened
from tdbench.leaderboard.heatmap import score_grid
from tdbench.leaderboard.pareto import LEAST_S, front, measured
from tdbench.leaderboard.schema import ALL_BUDGET
from tdbench.leaderboard.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Draw = Callable[["Axes"], bool]
"""Draws into axes; false where there is nothing to draw."""


def scores(table: Table) -> Draw:
    """Score of the source learner with its interval, one line a method."""

    def draw(axes: Axes) -> bool:
        lines = [
            (line, row)
            for line in table.lines
            if (row := line.rows.get(table.source)) is not None and row["score_frac"] is not None
        ]
        methods = [(line, row) for line, row in lines if row["budget"] != ALL_BUDGET]
        if not methods:
            return False
        for place, (line, row) in enumerate(methods):
            score = 100 * (row["score_frac"] or 0.0)
            bounds = [row["ci_low"], row["ci_high"]]
            colour = "0.5" if line.kind != "method" else "C0"
            if None not in bounds:
                axes.plot([100 * (b or 0.0) for b in bounds], [place, place], color=colour, lw=1)
            axes.plot(score, place, "o", color=colour, ms=3.5, mfc=colour if row["ranked"] else "white")
        for line, row in lines:
            if row["budget"] == ALL_BUDGET:
                axes.axvline(100 * (row["score_frac"] or 0.0), color="0.5", ls="--", lw=0.7)
                axes.annotate(line.name, (100 * (row["score_frac"] or 0.0), -0.9), fontsize=6, ha="center", va="bottom")
        _grow(axes, len(methods))
        axes.set_yticks(range(len(methods)), [plain(line.title) for line, _ in methods], fontsize=6)
        axes.set_ylim(len(methods) - 0.5, -1.6)
        axes.set_xlabel(f"{table.score_name} in percent, {table.source}")
        _entitle(axes, table)
        return True

    return draw


def pareto(table: Table) -> Draw:
    """Score against time to make a set, on one kind of hardware; the list beside it names the dots."""

    def draw(axes: Axes) -> bool:
        hardware, found, _ = measured(table)
        if len(found) < 2:
            return False
        points = [(cost, 100 * score) for _, cost, score in found]
        named = [
            (x, y, line.title, line.kind != "method", False) for (line, *_), (x, y) in zip(found, points, strict=True)
        ]
        _numbered(axes, named)
        best = front(points)
        axes.plot([points[i][0] for i in best], [points[i][1] for i in best], lw=0.8, zorder=1)
        axes.set_xscale("log")
        axes.set_xlim(left=max(LEAST_S / 2, min(cost for cost, _ in points) / 2))
        plain_ticks(axes.xaxis)
        axes.set_xlabel(f"seconds to make a set\n({plain(hardware.replace('(R)', ''))})")
        axes.set_ylabel(f"{table.score_name}, {table.source}")
        _entitle(axes, table)
        return True

    return draw


def _numbered(axes: Axes, points: Sequence[tuple[float, float, str, bool, bool]]) -> None:
    """Draws numbered dots, squares for the last flag, and a list of their names to the right.

    Args:
        axes: Where.
        points: (x, y, name, whether it is a reference, whether it is a square).
    """
    for number, (x, y, _, reference, square) in enumerate(points, 1):
        colour = "0.5" if reference else "C0"
        axes.plot(x, y, "s" if square else "o", color=colour, ms=7, zorder=2)
        axes.annotate(str(number), (x, y), ha="center", va="center", fontsize=4.5, color="white", zorder=3)
    names = "\n".join(f"{number} {plain(name)}" for number, (_, _, name, *_) in enumerate(points, 1))
    axes.annotate(names, (1.02, 1), xycoords="axes fraction", va="top", fontsize=6, annotation_clip=False)


def _grow(axes: Axes, lines: int) -> None:
    """Makes a figure high enough for so many lines of text."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, max(height, 0.115 * lines + 0.8))


def _entitle(axes: Axes, table: Table) -> None:
    axes.set_title(plain(f"{table.task}, {table.budget}, {table.track}"), fontsize=8)


def heat(table: Table) -> Draw:
    """Scores of methods with every learner; shades compare the methods of one column."""

    def draw(axes: Axes) -> bool:
        lines, learners, known = score_grid(table)
        grid = np.array(known, dtype=float)  # None becomes NaN
        if len(lines) < 2 or len(learners) < 2:
            return False
        low, high = np.nanmin(grid, axis=0), np.nanmax(grid, axis=0)
        with np.errstate(invalid="ignore"):
            shades = np.where(high > low, (grid - low) / np.where(high > low, high - low, 1.0), 0.5)
        axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
        for (place, column), value in np.ndenumerate(grid):
            text = "–" if math.isnan(value) else f"{100 * value:.1f}"
            dark = not math.isnan(value) and shades[place, column] > 0.75
            axes.text(column, place, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
        _grow(axes, len(lines))
        axes.set_xticks(range(len(learners)), learners, fontsize=6, rotation=20, ha="right")
        _entitle(axes, table)
        axes.set_yticks(range(len(lines)), [plain(line.title) for line in lines], fontsize=6)
        axes.spines[:].set_visible(False)
        return True

    return draw


def privacy(table: Table) -> Draw:
    """Score against AUC of membership inference on the set."""

    def draw(axes: Axes) -> bool:
        found = [
            (line, row)
            for line in table.lines
            if (row := line.rows.get(table.source)) is not None
            and row["t1_auc"] is not None
            and not row["t1_invalid"]
            and row["score_frac"] is not None
        ]
        if len(found) < 2:
            return False
        found.sort(key=lambda one: -(one[1]["score_frac"] or 0.0))
        points = []
        for line, row in found:
            auc, score = row["t1_auc"] or 0.5, 100 * (row["score_frac"] or 0.0)
            if row["t1_auc_low"] is not None and row["t1_auc_high"] is not None:
                axes.plot([row["t1_auc_low"], row["t1_auc_high"]], [score, score], color="0.7", lw=0.8, zorder=1)
            points.append((auc, score, line.title, line.kind != "method", bool(row["t1_exact_matches"])))
        _numbered(axes, points)
        axes.axvline(0.5, color="0.5", ls="--", lw=0.7)
        axes.set_xlabel("AUC of membership inference on the set (squares copy members' texts)")
        axes.set_ylabel(f"{table.score_name}, {table.source}")
        _entitle(axes, table)
        return True

    return draw


def roc(table: Table, attacks: Mapping[str, Sequence[float]]) -> Draw:
    """Curves of the attack on the set, both axes logarithmic."""

    def draw(axes: Axes) -> bool:
        found = [
            (line, attacks[row["audit_id"]])
            for line in table.lines
            if (row := line.rows.get(table.source)) is not None
            and row["audit_id"] in attacks
            and not row["t1_invalid"]
            and not row["options"]
        ]
        for place, (line, rates) in enumerate(found):
            style = ("-", "--", ":")[place // 10 % 3]
            axes.plot(ROC_FPR, rates, style, color=f"C{place % 10}", lw=0.9, label=plain(line.title))
        axes.plot([1e-3, 1], [1e-3, 1], color="0.5", ls="--", lw=0.7)
        axes.set(xscale="log", yscale="log", xlim=(1e-2, 1), ylim=(1e-2, 1))
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        if found:
            axes.legend(fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.02))
        _entitle(axes, table)
        return bool(found)

    return draw


def plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis with plain numbers: 1, 2 and 5 of every decade, or the decades alone where there are more than two."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    wide = low > 0 and math.log10(high / low) > 2.2
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(text: str) -> str:
    """Keeps matplotlib from reading a name as mathematics, and shortens it."""
    return shortened(" ".join(text.split()), 40).replace("$", "\\$")
