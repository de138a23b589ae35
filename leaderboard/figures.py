"""The figures of a board: scores, score against cost, methods by learners, leakage, attacks, scaling laws and mean ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.record import ROC_FPR
from tdbench.leaderboard.columns import (
    MISSING,
    copied_text,
    duration_text,
    hardware_text,
    percent,
    rate_text,
    score_text,
)
from tdbench.leaderboard.curves import ScalingSection
from tdbench.leaderboard.drawing import (
    CARD,
    INK,
    SERIES,
    SHADES,
    SOFT,
    Figure,
    KeyLine,
    label,
    round_limits,
    set_ticks,
)
from tdbench.leaderboard.rankings import Ranking, competes
from tdbench.leaderboard.schema import ALL_BUDGET, Row
from tdbench.leaderboard.tables import Line, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("scores", "pareto", "privacy", "roc", "heat", "scaling", "ranks")
LEAST_S = 0.1
"""Shorter times stand at the left edge."""
MOST_CURVES = 16
"""Curves of attacks in one figure: default configurations, as the table has them."""
LEAST_RATE = 0.01
"""Below it a curve of an attack rests on fewer than ten of a run's non-members."""
_SCORE_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_AUC_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1)
_ERROR_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_LABELS, _ROW = 130, 12
"""Points: width of the names at the left, and height of a method's line."""


def _title(table: Table) -> str:
    return f"{table.task}, {table.budget}, {table.track}"


def _source_rows(table: Table) -> list[tuple[Line, Row]]:
    return [(line, line.rows[table.source]) for line in table.lines if table.source in line.rows]


def _percent_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    set_ticks(axes.yaxis, ticks, [f"{100 * tick:.0f}" for tick in ticks])
    axes.set_ylim(ticks[0], ticks[-1])


def _name_rows(axes: Axes, lines: Sequence[Line]) -> None:
    """Writes the names of methods beside their lines, from the top; ticks would take matplotlib far longer."""
    axes.set_yticks([])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    place = axes.get_yaxis_transform()
    for row, line in enumerate(lines):
        axes.text(-0.015, row, label(line.title), ha="right", va="center", transform=place)


def scores(table: Table) -> Figure | None:
    """Score of the source learner with its interval, one line a method; null where nothing was measured.

    Args:
        table: The table to draw. What ignores the budget is a dashed line.
    """
    measured = [(line, row, row["score_frac"]) for line, row in _source_rows(table) if row["score_frac"] is not None]
    across = [point for point in measured if point[1]["budget"] == ALL_BUDGET and not point[1]["superseded"]]
    marks = [point for point in measured if point not in across]
    if not marks:
        return None
    bounds = [bound for _, row, score in measured for bound in (score, row["ci_low"], row["ci_high"])]
    inside = [min(1.0, max(0.0, bound)) for bound in bounds if bound is not None]
    low, high, ticks = round_limits(inside, (0.02, 0.05, 0.1, 0.2, 0.5), 8)

    def draw(axes: Axes) -> None:
        for place, (line, row, score) in enumerate(marks):
            colour = SERIES[0] if line.kind == "method" else SOFT
            ends = [score if bound is None else bound for bound in (row["ci_low"], row["ci_high"])]
            dot = {"mfc": colour, "mew": 0} if row["ranked"] else {"mfc": CARD, "mew": 0.8}
            style = {"color": colour, "lw": 1, "marker": "o", "markevery": [1], "ms": 4.8, **dot}
            axes.plot([ends[0], score, ends[1]], [place] * 3, gid=f"dot{place}", **style)
        for place, (line, row, score) in enumerate(across, len(marks)):
            axes.axvline(score, color=SOFT, ls="--", lw=0.7, gid=f"dot{place}")
            side = "right" if score > (low + high) / 2 else "left"
            axes.annotate(
                label(f"{line.name} {score_text(row)}"),
                (score, 1),
                (0, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color=SOFT,
                ha=side,
            )
        set_ticks(axes.xaxis, ticks, [f"{100 * tick:.0f}" for tick in ticks])
        _name_rows(axes, [line for line, *_ in marks])
        axes.set_xlim(low, high)
        axes.set_xlabel(label(f"{table.score_name} in percent, {table.source}", 80))

    name = table.score_name[0].upper() + table.score_name[1:]
    return Figure(
        kind="scores",
        heading="Scores",
        title=_title(table),
        summary=f"{name} in percent with {table.source} on {table.title}, with intervals: the numbers of the table above.",
        draw=draw,
        size=(396, _ROW * len(marks) + 44),
        margins=(_LABELS, 28, 14, 16),
        titles=tuple(f"{line.title}: {score_text(row)}" for line, row, _ in (*marks, *across)),
    )


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the points that no other beats: none costs at most as much and scores more, or costs less and scores as much.

    Args:
        points: (cost, score).

    Returns:
        Places in `points`, by rising cost.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    unbeaten: list[int] = []
    for place in order:
        if not unbeaten or points[place][1] > points[unbeaten[-1]][1]:
            unbeaten.append(place)
    return unbeaten


def _numbered(
    axes: Axes, points: Sequence[tuple[float, float]], lines: Sequence[Line], squares: Collection[int] = ()
) -> None:
    """Draws a numbered dot for every point, some as squares, references in grey."""
    for place, ((x, y), line) in enumerate(zip(points, lines, strict=True)):
        colour = SERIES[0] if line.kind == "method" else SOFT
        marker = "s" if place in squares else "o"
        axes.plot(x, y, marker, color=colour, ms=9, mew=0, gid=f"dot{place}", clip_on=False)
        axes.annotate(str(place + 1), (x, y), ha="center", va="center", fontsize=5.5, color=CARD)


def pareto(table: Table) -> Figure | None:
    """Score by time to make a set, for one kind of hardware; null with fewer than two methods measured on it.

    Args:
        table: The table to draw. Where its rows come from several kinds of hardware, the one with the most is drawn, and the others are
            named below. Default configurations that are ranked take part: a mean over two sets is no rival of one over twenty.
    """
    hardware, measured, others = _costs(table)
    if len(measured) < 2:
        return None
    points = [(cost, score) for _, cost, score in measured]
    best = front(points)
    costs = [cost for cost, _ in points]
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)) + 1e-9)
    decades = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    *_, ticks = round_limits([score for _, score in points], _SCORE_STEPS, 6)

    def draw(axes: Axes) -> None:
        if len(best) > 1:
            axes.plot(*zip(*(points[place] for place in best), strict=True), color=SERIES[0], lw=1)
        _numbered(axes, points, [line for line, *_ in measured])
        axes.set_xscale("log")
        set_ticks(axes.xaxis, decades, [duration_text(decade) for decade in decades])
        axes.set_xlim(decades[0], decades[-1])
        _percent_ticks(axes, ticks)
        axes.set_xlabel("time to make a set")
        axes.set_ylabel(label(f"{table.score_name}, {table.source}", 60))

    def cost_text(line: Line, score: float) -> str:
        return f"{percent(score)} in {duration_text(line.any_row['distil_wall_s'])}"

    apart = [f"{line.title} {cost_text(line, score)} ({hardware_text(line.any_row)})" for line, _, score in others]
    key = tuple(
        KeyLine(line.title, cost_text(line, score) + (", Pareto-optimal" if place in best else ""), str(place + 1))
        for place, (line, _, score) in enumerate(measured)
    )
    return Figure(
        kind="pareto",
        heading="Score against cost",
        title=f"{_title(table)}, {hardware.replace('(R)', '')}",
        summary=f"Score against cost: {table.score_name}, {table.source} by time to make a set; the list below says the same.",
        draw=draw,
        titles=tuple(f"{line.name}: {line.text}" for line in key),
        key=key,
        notes=(
            f"Ranked methods measured on {hardware.replace('(R)', '')}; the line is the Pareto front.",
            *([f"On other hardware, and not comparable: {'; '.join(apart)}."] if apart else []),
        ),
    )


def _costs(table: Table) -> tuple[str, list[tuple[Line, float, float]], list[tuple[Line, float, float]]]:
    """Returns the hardware of most ranked methods, these methods with their seconds and scores, and those of other kinds, best first."""
    measured = [
        (line, max(LEAST_S, row["distil_wall_s"]), row["score_frac"])
        for line, row in _source_rows(table)
        if competes(row) and row["budget"] != ALL_BUDGET
        if row["distil_wall_s"] is not None and row["score_frac"] is not None
    ]
    measured.sort(key=lambda point: (-point[2], point[0].title))
    kinds = Counter(hardware_text(line.any_row) for line, *_ in measured)
    most = max(sorted(kinds), key=lambda kind: kinds[kind], default="")
    here = [point for point in measured if hardware_text(point[0].any_row) == most]
    return most, here, [point for point in measured if point not in here]


def heat(table: Table) -> Figure | None:
    """Scores of a table's methods with every learner; null with fewer than two learners or two methods.

    Shades compare methods within a learner's column, because learners differ by more than methods do.

    Args:
        table: The table to draw.
    """
    lines = [line for line in table.lines if line.any_row["budget"] != ALL_BUDGET]
    columns = {name: [_score(line, name) for line in lines] for name in table.learners}
    columns = {name: column for name, column in columns.items() if any(value is not None for value in column)}
    if len(lines) < 2 or len(columns) < 2:
        return None
    best = []
    for name in columns:
        ranked = [(_score(line, name) or 0.0, line.name) for line in lines if _is_ranked(line, name)]
        best.append(f"{name}: {f'{max(ranked)[1]} {percent(max(ranked)[0])}' if ranked else MISSING}")

    def draw(axes: Axes) -> None:
        cells = [
            (-1 if level is None else level, x, y, percent(value))
            for x, column in enumerate(columns.values())
            for y, (value, level) in enumerate(zip(column, levels(column), strict=True))
        ]
        for level, group in groupby(sorted(cells), lambda cell: cell[0]):
            places = [(x, y, text) for _, x, y, text in group]
            if level >= 0:
                _fill(axes, [(x, y) for x, y, _ in places], SHADES[level])
            for x, y, text in places:
                axes.text(x, y, text, ha="center", va="center", color=CARD if level > len(SHADES) // 2 else INK)
        axes.grid(visible=False)
        set_ticks(axes.xaxis, range(len(columns)), [label(name, 14) for name in columns])
        axes.xaxis.tick_top()
        _name_rows(axes, lines)
        axes.set_xlim(-0.5, len(columns) - 0.5)

    return Figure(
        kind="heat",
        heading="Methods by learners",
        title=_title(table),
        summary=f"Score of {len(lines)} methods with {len(columns)} learners on {table.title}. "
        f"Best of those that are ranked, by learner: {'; '.join(best)}.",
        draw=draw,
        size=(_LABELS + 44 * len(columns), _ROW * len(lines) + 20),
        margins=(_LABELS, 4, 2, 16),
    )


def _score(line: Line, learner: str) -> float | None:
    row = line.rows.get(learner)
    return None if row is None else row["score_frac"]


def _is_ranked(line: Line, learner: str) -> bool:
    row = line.rows.get(learner)
    return row is not None and row["rank"] is not None


def levels(column: Sequence[float | None]) -> list[int | None]:
    """Returns the shade of every score of a learner's column, the middle one where all are equal; null for a missing score."""
    known = [value for value in column if value is not None]
    low, width = min(known), max(known) - min(known)
    last = len(SHADES) - 1

    def level(value: float) -> int:
        return min(last, int((value - low) / width * len(SHADES))) if width > 0 else len(SHADES) // 2

    return [None if value is None else level(value) for value in column]


def _fill(axes: Axes, centres: Sequence[tuple[int, int]], colour: str) -> None:
    """Fills the cells of one shade at once."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    cell = np.asarray(Path.unit_rectangle().vertices)
    shapes = [Path(cell * (0.96, 0.9) + (x - 0.48, y - 0.45), closed=True) for x, y in centres]
    axes.add_patch(PathPatch(Path.make_compound_path(*shapes), facecolor=colour, lw=0))


_PRIVACY_NOTE = (
    "The dashed line is guessing. An AUC is about all members: a set that publishes forty of a thousand hardly moves it. "
    "Squares copy texts of members verbatim, whatever their AUC."
)


def _bounds(row: Row, auc: float) -> list[float]:
    """Returns the interval of an AUC; the AUC itself where a bound is unknown."""
    return [auc if bound is None else bound for bound in (row["t1_auc_low"], row["t1_auc_high"])]


def privacy(table: Table) -> Figure | None:
    """Score against membership inference on the set; null where fewer than two methods were audited.

    Args:
        table: The table to draw.
    """
    points = [
        (line, row, row["score_frac"], row["t1_auc"])
        for line, row in _audited(table)
        if row["score_frac"] is not None and row["t1_auc"] is not None
    ]
    if len(points) < 2:
        return None
    points.sort(key=lambda point: -point[2])
    intervals = [_bounds(row, auc) for _, row, _, auc in points]
    copies = [place for place, (_, row, *_) in enumerate(points) if row["t1_exact_matches"]]
    aucs = [0.5, *(auc for *_, auc in points), *(bound for interval in intervals for bound in interval)]
    low, high, x_ticks = round_limits([min(1.0, max(0.0, auc)) for auc in aucs], _AUC_STEPS, 6)
    *_, y_ticks = round_limits([score for _, _, score, _ in points], _SCORE_STEPS, 6)

    def draw(axes: Axes) -> None:
        axes.axvline(0.5, color=SOFT, ls="--", lw=0.7)
        for place, ((line, _, score, _), interval) in enumerate(zip(points, intervals, strict=True)):
            colour = SERIES[0] if line.kind == "method" else SOFT
            axes.plot(interval, [score, score], color=colour, lw=0.8, gid=f"dot{place}")
        _numbered(axes, [(auc, score) for _, _, score, auc in points], [line for line, *_ in points], copies)
        set_ticks(axes.xaxis, x_ticks, ["0.5" if t == 0.5 else f"{t:.3f}".rstrip("0") for t in x_ticks])
        axes.set_xlim(low, high)
        _percent_ticks(axes, y_ticks)
        axes.set_xlabel("AUC of membership inference on the set")
        axes.set_ylabel(label(f"{table.score_name}, {table.source}", 60))

    key = []
    for place, ((line, row, score, auc), (least, most)) in enumerate(zip(points, intervals, strict=True)):
        copied = f", copies {copied_text(row)} texts" if place in copies else ""
        text = f"{percent(score)}, AUC {auc:.3f} [{least:.3f}, {most:.3f}]{copied}"
        key.append(KeyLine(line.title, text, str(place + 1)))
    return Figure(
        kind="privacy",
        heading="Utility against leakage",
        title=_title(table),
        summary=f"Utility against leakage: {table.score_name}, {table.source} by AUC of membership inference on the set; "
        "the list below says the same.",
        draw=draw,
        titles=tuple(f"{line.name}: {line.text}" for line in key),
        key=tuple(key),
        notes=(_PRIVACY_NOTE,),
    )


def _audited(table: Table) -> list[tuple[Line, Row]]:
    """Returns the methods with an audit of the set whose null run does not leak."""
    return [(line, row) for line, row in _source_rows(table) if row["t1_auc"] is not None and not row["t1_invalid"]]


def roc(table: Table, attacks: Mapping[str, Sequence[float]]) -> Figure | None:
    """Curves of the headline attack on the set, both axes logarithmic; null where fewer than two methods were audited.

    Args:
        table: The table to draw.
        attacks: Audit id -> true-positive rates at ROC_FPR.
    """
    audited = _audited(table)
    plain = [(line, row) for line, row in audited if not row["options"] and row["audit_id"] in attacks][:MOST_CURVES]
    if len(audited) < 2 or not plain:
        return None
    first = next(place for place, rate in enumerate(ROC_FPR) if rate >= LEAST_RATE)
    rates = ROC_FPR[first:]
    decades = (LEAST_RATE, 0.1, 1.0)

    def draw(axes: Axes) -> None:
        axes.plot([LEAST_RATE, 1], [LEAST_RATE, 1], color=SOFT, ls="--", lw=0.7)
        for place, (_, row) in enumerate(plain):
            powers = [max(LEAST_RATE, rate) for rate in attacks[row["audit_id"]][first:]]
            axes.plot(rates, powers, gid=f"dot{place}", **_curve_style(place))
        axes.set(xscale="log", yscale="log", xlim=(LEAST_RATE, 1), ylim=(LEAST_RATE, 1))
        for axis in (axes.xaxis, axes.yaxis):
            set_ticks(axis, decades, [f"{decade:g}" for decade in decades])
        axes.set_xlabel("false-positive rate")
        axes.set_ylabel("true-positive rate")

    key = tuple(
        KeyLine(line.title, f"{rate_text(row)} of members at 1 % false alarms", curve=place)
        for place, (line, row) in enumerate(plain)
    )
    return Figure(
        kind="roc",
        heading="Attack on the set",
        title=_title(table),
        summary="Attack on the set: true-positive rate by false-positive rate; the list below says the same.",
        draw=draw,
        titles=tuple(line.name for line in key),
        key=key,
        notes=("Both axes are logarithmic; the dashed line is guessing.",),
    )


def _curve_style(place: int) -> dict[str, Any]:
    return {"color": SERIES[place % len(SERIES)], "ls": "-" if place < len(SERIES) else ":", "lw": 1}


def scaling(section: ScalingSection) -> Figure:
    """Error by texts a class with the fitted laws, over the sizes that were measured, both axes logarithmic.

    Args:
        section: The curves of one task and protocol.
    """
    sizes = sorted({size for line in section.lines for size in line.fit.points.sizes.tolist()})
    errors = np.concatenate([line.fit.points.means for line in section.lines])
    low, high = float(errors.min()) * 0.95, min(1.0, float(errors.max()) * 1.05)
    dots = [
        (place, size, mean)
        for place, line in enumerate(section.lines)
        for size, mean in zip(line.fit.points.sizes, line.fit.points.means, strict=True)
    ]
    titles = [f"{section.lines[n].name}, {size:.0f} texts a class: error {100 * mean:.1f} %" for n, size, mean in dots]

    def draw(axes: Axes) -> None:
        for place, line in enumerate(section.lines):
            steps = np.geomspace(line.fit.points.sizes[0], line.fit.points.sizes[-1], 40)
            axes.plot(steps, np.clip(line.fit.law(steps), low, high), **_curve_style(place))
        for number, (place, size, mean) in enumerate(dots):
            axes.plot(
                size, mean, "o", color=SERIES[place % len(SERIES)], ms=3.6, mew=0, gid=f"dot{number}", clip_on=False
            )
        axes.set(xscale="log", yscale="log", xlim=(sizes[0], sizes[-1]), ylim=(low, high))
        ticks = [error for error in _ERROR_TICKS if low <= error <= high]
        set_ticks(axes.xaxis, sizes, [f"{size:.0f}" for size in sizes])
        set_ticks(axes.yaxis, ticks, [f"{100 * error:g}" for error in ticks])
        axes.set_xlabel("texts a class")
        axes.set_ylabel(f"{metric} in percent")

    metric = "1 - macro-F1" if section.metric == "macro_f1_frac" else "error"
    return Figure(
        kind="scaling",
        heading="Error by number of texts",
        title=section.title,
        summary=f"Error by number of texts: {metric} in percent by texts a class; the list below says the same.",
        draw=draw,
        titles=tuple(titles),
        key=tuple(KeyLine(line.name, line.texts[2], curve=place) for place, line in enumerate(section.lines)),
        notes=("Both axes are logarithmic; dots are means over sets, lines the fitted laws.",),
    )


def ranks(ranking: Ranking) -> Figure | None:
    """Mean ranks over at least eight tasks, with bars over methods that Nemenyi's test does not find significantly different.

    Args:
        ranking: Ranks over tasks; null without a critical difference.
    """
    width, ordered = ranking.critical, ranking.mean_ranks
    if width is None:
        return None
    groups = cliques([entry.mean for entry in ordered], width)

    def draw(axes: Axes) -> None:
        for place, entry in enumerate(ordered):
            axes.plot([entry.mean, entry.mean], [0, -1 - place], color=SOFT, lw=0.7)
            name = label(f"{entry.label} {entry.mean:.2f}", 48)
            axes.annotate(name, (entry.mean, -1 - place), (3, -2), textcoords="offset points", fontsize=6)
        for number, group in enumerate(groups):
            ends = [ordered[group[0]].mean - 0.03, ordered[group[-1]].mean + 0.03]
            axes.plot(ends, [0.4 + 0.35 * number] * 2, color=INK, lw=2)
        axes.grid(visible=False)
        axes.set_ylim(-1.5 - len(ordered), 0.7 + 0.35 * len(groups))
        axes.get_yaxis().set_visible(False)
        axes.set_xlabel(f"mean rank over {len(ranking.tasks)} tasks (critical difference {width:.2f})")

    listed = "; ".join(f"{entry.label} {entry.mean:.2f}" for entry in ordered)
    return Figure(
        kind="ranks",
        heading="Mean ranks",
        title=ranking.title,
        summary=f"Mean ranks over {len(ranking.tasks)} tasks: {listed}.",
        draw=draw,
        size=(245, 9 * len(ordered) + 60),
    )


def cliques(means: Sequence[float], width: float) -> list[list[int]]:
    """Returns the largest runs of neighbours whose ends are less than `width` apart.

    Args:
        means: Mean ranks, ascending.
        width: Critical difference.
    """
    groups: list[list[int]] = []
    for start in range(len(means)):
        run = [i for i in range(start, len(means)) if means[i] - means[start] < width]
        if len(run) > 1 and not (groups and run[-1] <= groups[-1][-1]):
            groups.append(run)
    return groups


def table_figures(table: Table, attacks: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Returns what can be drawn of a table, in the order in which the page shows it.

    Args:
        table: The table.
        attacks: Audit id -> true-positive rates of the attack on the set.
    """
    drawn = (scores(table), pareto(table), privacy(table), roc(table, attacks), heat(table))
    return [figure for figure in drawn if figure is not None]


def all_figures(
    tables: Sequence[Table],
    curves: Sequence[ScalingSection],
    rankings: Sequence[Ranking],
    attacks: Mapping[str, Sequence[float]],
    kinds: Collection[str] = KINDS,
) -> dict[str, Figure]:
    """Returns the figures of a board by the name of their file.

    Args:
        tables: Tables, one figure of each kind for each.
        curves: Curves over budgets.
        rankings: Rankings over tasks.
        attacks: Audit id -> true-positive rates of the attack on the set.
        kinds: Those of KINDS that are wanted.
    """
    named: dict[str, Figure] = {}
    taken: Counter[str] = Counter()
    for name, figure in _named(tables, curves, rankings, attacks):
        if figure is not None and figure.kind in kinds:
            plain = "".join(letter if letter.isalnum() or letter in "-+." else "-" for letter in name)[:120]
            taken[plain] += 1
            named[plain if taken[plain] == 1 else f"{plain}-{taken[plain]}"] = figure
    return named


def _named(
    tables: Sequence[Table],
    curves: Sequence[ScalingSection],
    rankings: Sequence[Ranking],
    attacks: Mapping[str, Sequence[float]],
) -> Iterator[tuple[str, Figure | None]]:
    for table in tables:
        where = f"{table.task}-{table.budget}-{table.track}-{table.protocol}{table.custom_id}"
        yield from ((f"{where}-{figure.kind}", figure) for figure in table_figures(table, attacks))
    for section in curves:
        yield f"{section.task}-{section.protocol}-scaling", scaling(section)
    for ranking in rankings:
        where = f"{ranking.budget}-{ranking.track}-{ranking.protocol}-{ranking.learner}-{ranking.pool.name}"
        yield f"over-tasks-{where}", ranks(ranking)
