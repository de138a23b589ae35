"""Figures of one table for papers; see `leaderboard.paper`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.experiment.record import ROC_FPR
from leaderboard.column import shortened
from leaderboard.heatmap import score_grid
from leaderboard.pareto import LEAST_S, front, measured
from leaderboard.schema import ALL_BUDGET
from leaderboard.tables import Table

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
        axes.set_yticks(range(len(methods)), [plain(line.title) for line, _ in methods], fontsize=6)
        axes.set_ylim(len(methods) - 0.5, -1.6)
        axes.set_xlabel(f"{_metric(table)} in percent, {table.source}")
        return True

    return draw


def pareto(table: Table) -> Draw:
    """Score against time to make a set, on one kind of hardware."""

    def draw(axes: Axes) -> bool:
        hardware, found, _ = measured(table)
        if len(found) < 2:
            return False
        costs, values = [cost for _, cost, _ in found], [100 * score for *_, score in found]
        axes.plot(costs, values, "o", ms=3.5)
        for (line, *_), cost, value in zip(found, costs, values, strict=True):
            axes.annotate(plain(line.name), (cost, value), (3, 3), textcoords="offset points", fontsize=6)
        best = front(list(zip(costs, values, strict=True)))
        axes.plot([costs[i] for i in best], [values[i] for i in best], lw=0.8)
        axes.set_xscale("log")
        axes.set_xlim(left=max(LEAST_S / 2, min(costs) / 2))
        plain_ticks(axes.xaxis)
        axes.set_xlabel(f"seconds to make a set\n({plain(hardware)})")
        axes.set_ylabel(f"{_metric(table)}, {table.source}")
        return True

    return draw


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
        axes.set_xticks(range(len(learners)), learners, fontsize=6)
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
            and not row["t1_void"]
            and row["score_frac"] is not None
        ]
        if len(found) < 2:
            return False
        for line, row in found:
            auc, score = row["t1_auc"] or 0.5, 100 * (row["score_frac"] or 0.0)
            if row["t1_auc_low"] is not None and row["t1_auc_high"] is not None:
                axes.plot([row["t1_auc_low"], row["t1_auc_high"]], [score, score], color="C0", lw=0.8)
            axes.plot(auc, score, "o", color="C0", ms=3.5)
            axes.annotate(plain(line.name), (auc, score), (3, 3), textcoords="offset points", fontsize=6)
        axes.axvline(0.5, color="0.5", ls="--", lw=0.7)
        axes.set_xlabel("AUC of membership inference on the set")
        axes.set_ylabel(f"{_metric(table)}, {table.source}")
        return True

    return draw


def roc(table: Table, attacks: Mapping[str, Sequence[float]]) -> Draw:
    """Curves of the attack on the set, both axes logarithmic."""

    def draw(axes: Axes) -> bool:
        found = [
            (line, attacks[row["audit_id"]])
            for line in table.lines
            if (row := line.rows.get(table.source)) is not None and row["audit_id"] in attacks and not row["t1_void"]
        ]
        for line, rates in found:
            axes.plot(ROC_FPR, rates, lw=0.9, label=plain(line.title))
        axes.plot([1e-3, 1], [1e-3, 1], color="0.5", ls="--", lw=0.7)
        axes.set(xscale="log", yscale="log", xlim=(1e-2, 1), ylim=(1e-2, 1))
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")
        if found:
            axes.legend(fontsize=6, frameon=False)
        return bool(found)

    return draw


def _metric(table: Table) -> str:
    return "macro-F1" if table.metric == "macro_f1_frac" else "accuracy"


def plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis at 1, 2 and 5 of every decade with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plain(text: str) -> str:
    """Keeps matplotlib from reading a name as mathematics, and shortens it."""
    return shortened(" ".join(text.split()), 40).replace("$", "\\$")
