"""Figures for papers, drawn by matplotlib from the rows of a board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from tdbench.leaderboard.curves import ScalingSection
from tdbench.leaderboard.paper_tables import Draw, heat, pareto, plain, plain_ticks, privacy, roc, scores
from tdbench.leaderboard.rankings import Ranking
from tdbench.leaderboard.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "tdbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
FORMATS = ("svg", "pdf", "png")
KINDS = ("scores", "pareto", "heat", "privacy", "roc", "scaling", "ranks")
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
_WIDTH = 3.4
"""Inches: a column of a paper."""


def save(draw: Draw, path: Path, size: tuple[float, float] = (_WIDTH, 2.6)) -> bool:
    """Draws a figure into a file; equal inputs give equal bytes.

    Args:
        draw: What to draw.
        path: File that ends in one of FORMATS.
        size: Inches.

    Returns:
        Whether there was anything to draw; if not, no file is written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # pyright: ignore[reportArgumentType] - keys are checked by matplotlib
        figure: Figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        if not draw(figure.add_subplot()):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.removeprefix(".")
        figure.savefig(path, metadata=_METADATA[kind], dpi=200, bbox_inches="tight", pad_inches=0.03)
    return True


def scaling(section: ScalingSection) -> Draw:
    """Error by texts a class with the fitted laws."""

    def draw(axes: Axes) -> bool:
        for place, line in enumerate(section.lines):
            own, colour = line.fit.points, f"C{place}"
            steps = np.geomspace(own.sizes[0], own.sizes[-1], 100)
            axes.plot(
                steps,
                [100 * float(line.fit.law(step)) for step in steps],
                color=colour,
                lw=0.9,
                label=plain(line.name),
            )
            axes.plot(own.sizes, 100 * np.asarray(own.means), "o", color=colour, ms=3)
        axes.set(xscale="log", yscale="log")
        plain_ticks(axes.xaxis)
        plain_ticks(axes.yaxis)
        axes.set_xlabel("texts a class")
        axes.set_title(plain(section.title), fontsize=8)
        axes.set_ylabel("error in percent")
        axes.legend(fontsize=6, frameon=False)
        return bool(section.lines)

    return draw


def critical_difference(ranking: Ranking) -> Draw:
    """Mean ranks over at least eight tasks, with bars over entrants that Nemenyi's test does not tell apart."""

    def draw(axes: Axes) -> bool:
        width = ranking.critical
        if width is None:
            return False
        ordered = ranking.mean_ranks
        for place, one in enumerate(ordered):
            axes.plot([one.mean, one.mean], [0, -1 - place], color="0.4", lw=0.7)
            axes.annotate(
                f"{plain(one.label)} {one.mean:.2f}",
                (one.mean, -1 - place),
                (3, -2),
                textcoords="offset points",
                fontsize=6,
            )
        level = 0.4
        for group in cliques([one.mean for one in ordered], width):
            axes.plot(
                [ordered[group[0]].mean - 0.03, ordered[group[-1]].mean + 0.03], [level, level], color="black", lw=2
            )
            level += 0.35
        axes.set_ylim(-1.5 - len(ordered), level + 0.3)
        axes.get_yaxis().set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean rank over {len(ranking.tasks)} tasks (critical difference {width:.2f})")
        return True

    return draw


def cliques(means: Sequence[float], width: float) -> list[list[int]]:
    """Returns the largest runs of neighbours whose ends are less than `width` apart.

    Args:
        means: Mean ranks, ascending.
        width: Critical difference.
    """
    found: list[list[int]] = []
    for start in range(len(means)):
        run = [i for i in range(start, len(means)) if means[i] - means[start] < width]
        if len(run) > 1 and not (found and run[-1] <= found[-1][-1]):
            found.append(run)
    return found


def all_figures(
    tables: Sequence[Table],
    curves: Sequence[ScalingSection],
    rankings: Sequence[Ranking],
    attacks: Mapping[str, Sequence[float]],
    kinds: Collection[str] = KINDS,
) -> dict[str, Draw]:
    """Returns figures of a board by the name of their file; whether one has anything to draw shows when it is drawn.

    Args:
        tables: Tables, one figure of each kind for each.
        curves: Curves over budgets.
        rankings: Rankings over tasks.
        attacks: Audit id -> true-positive rates of the attack on the set.
        kinds: Those of KINDS that are wanted.
    """
    found: dict[str, Draw] = {}
    taken: dict[str, int] = defaultdict(int)

    def add(name: str, draw: Draw) -> None:
        plain = "".join(letter if letter.isalnum() or letter in "-+." else "-" for letter in name)[:120]
        taken[plain] += 1
        found[plain if taken[plain] == 1 else f"{plain}-{taken[plain]}"] = draw

    for table in tables:
        drawn = {
            "scores": scores(table),
            "pareto": pareto(table),
            "heat": heat(table),
            "privacy": privacy(table),
            "roc": roc(table, attacks),
        }
        for kind in (kind for kind in drawn if kind in kinds):
            add(f"{table.task}-{table.budget}-{table.track}-{table.protocol}{table.custom_id}-{kind}", drawn[kind])
    for section in curves if "scaling" in kinds else ():
        add(f"{section.task}-{section.protocol}-scaling", scaling(section))
    for ranking in rankings if "ranks" in kinds else ():
        add(
            f"over-tasks-{ranking.budget}-{ranking.track}-{ranking.protocol}-{ranking.learner}-{ranking.pool.name}",
            critical_difference(ranking),
        )
    return found
