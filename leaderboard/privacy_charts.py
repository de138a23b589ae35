"""Geometry of the two privacy figures under a table: leakage against gain, and the attacks' curves. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tdbench.leaderboard.chart import Guide, round_limits
from tdbench.leaderboard.column import percent
from tdbench.leaderboard.privacy_columns import copied_text, rate_text
from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.square import Curve, Figure, KeyLine, Point, along, up
from tdbench.leaderboard.tables import Line, Table

MOST = 16
"""Curves in one figure: default configurations, as the table has them."""
_LEAST_RATE = 0.01
"""Below it a curve rests on fewer than ten of a run's non-members."""
_AUC_STEPS = (0.005, 0.01, 0.02, 0.05, 0.1)


def privacy_figures(table: Table, curves: Mapping[str, Sequence[float]], rates: Sequence[float]) -> tuple[Figure, ...]:
    """Draws what is known about a table's privacy; nothing where fewer than two methods were audited.

    Args:
        table: The table.
        curves: Audit id -> true-positive rates of the headline attack on the set.
        rates: Their false-positive rates.
    """
    found = [(line, line.rows[table.source]) for line in table.lines if table.source in line.rows]
    audited = [(line, row) for line, row in found if row["t1_auc"] is not None and not row["t1_invalid"]]
    if len(audited) < 2:
        return ()
    plain = [(line, row) for line, row in audited if not row["options"]]
    return tuple(
        filter(
            None,
            (
                _plane(table, audited),
                _roc([one for one in plain if one[1]["audit_id"] in curves][:MOST], curves, rates),
            ),
        )
    )


def _plane(table: Table, audited: list[tuple[Line, Row]]) -> Figure | None:
    points = [(line, row) for line, row in audited if row["score_frac"] is not None]
    if not points:
        return None
    aucs = [
        value
        for _, row in points
        for value in (row["t1_auc_low"], row["t1_auc"], row["t1_auc_high"])
        if value is not None
    ]
    x_low, x_high, x_step = round_limits([0.5, *aucs], _AUC_STEPS, 6)
    y_low, y_high, y_step = round_limits(
        [row["score_frac"] or 0.0 for _, row in points], (0.01, 0.02, 0.05, 0.1, 0.2), 6
    )

    def x(value: float) -> float:
        return along(min(1.0, max(0.0, (value - x_low) / (x_high - x_low))))

    def y(value: float) -> float:
        return up((value - y_low) / (y_high - y_low))

    def ticks(low: float, high: float, step: float) -> list[float]:
        return [low + index * step for index in range(round((high - low) / step) + 1)]

    marks, key = _dots(points, x, y)
    return Figure(
        heading="Utility against leakage",
        x_title="AUC of membership inference on the set",
        y_title=f"{table.score_name}, {table.source}",
        x_ticks=tuple(
            Guide(x(value), f"{value:.3f}".rstrip("0") if value != 0.5 else "0.5")
            for value in ticks(x_low, x_high, x_step)
        ),
        y_ticks=tuple(Guide(y(value), f"{100 * value:.0f}") for value in ticks(y_low, y_high, y_step)),
        points=tuple(marks),
        curves=(),
        key=tuple(key),
        notes=(
            "The dashed line is guessing. An AUC is about all members: a set that publishes forty of a thousand hardly moves it. "
            "Squares copy texts of members verbatim, whatever their AUC.",
        ),
        chance=f"M{x(0.5)} {up(0)}V{up(1)}",
    )


def _dots(
    points: list[tuple[Line, Row]], x: Callable[[float], float], y: Callable[[float], float]
) -> tuple[list[Point], list[KeyLine]]:
    """Returns a numbered dot for every method, best first, and what it says in words."""
    marks, key = [], []
    for number, (line, row) in enumerate(sorted(points, key=lambda one: -(one[1]["score_frac"] or 0.0)), 1):
        auc, score = row["t1_auc"] or 0.5, row["score_frac"] or 0.0
        low, high = (auc if bound is None else bound for bound in (row["t1_auc_low"], row["t1_auc_high"]))
        copied = row["t1_exact_matches"] or 0
        said = f", copies {copied_text(row)} texts" if copied else ""
        text = f"{line.title}: {percent(score)}, AUC {auc:.3f} [{low:.3f}, {high:.3f}]{said}"
        marks.append(Point(str(number), text, x(auc), x(low), x(high), y(score), line.kind != "method", copied > 0))
        key.append(KeyLine(str(number), text))
    return marks, key


def _roc(
    audited: list[tuple[Line, Row]], curves: Mapping[str, Sequence[float]], rates: Sequence[float]
) -> Figure | None:
    if not audited:
        return None

    def share(rate: float) -> float:
        return 1 - math.log10(max(rate, _LEAST_RATE)) / math.log10(_LEAST_RATE)

    drawn, key = [], []
    for place, (line, row) in enumerate(audited):
        seen = [(fpr, tpr) for fpr, tpr in zip(rates, curves[row["audit_id"]], strict=True) if fpr >= _LEAST_RATE]
        corners = [f"{along(share(fpr))} {up(share(tpr))}" for fpr, tpr in seen]
        drawn.append(Curve("M" + "L".join(corners), place))
        key.append(KeyLine("", f"{line.title}: {rate_text(row)} of members at 1 % false alarms", place))
    decades = [_LEAST_RATE, 0.1, 1.0]
    return Figure(
        heading="Attack on the set",
        x_title="false-positive rate",
        y_title="true-positive rate",
        x_ticks=tuple(Guide(along(share(rate)), f"{rate:g}") for rate in decades),
        y_ticks=tuple(Guide(up(share(rate)), f"{rate:g}") for rate in decades),
        points=(),
        curves=tuple(drawn),
        key=tuple(key),
        notes=("Both axes are logarithmic; the dashed line is guessing.",),
        chance=f"M{along(0)} {up(0)}L{along(1)} {up(1)}",
    )
