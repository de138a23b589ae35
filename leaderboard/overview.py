"""The first table of the board: what stands first in every table, at what cost, whether it transfers, and what it gives away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tdbench.leaderboard.column import MISSING, duration_text, hardware_text, score_text
from tdbench.leaderboard.marking import escape, row
from tdbench.leaderboard.more_columns import rank_text
from tdbench.leaderboard.pools import competes
from tdbench.leaderboard.privacy_columns import copied_text, model_text, set_text
from tdbench.leaderboard.schema import UNSEEN_MEAN, Row
from tdbench.leaderboard.tables import Line, Table

HEADINGS = (
    "table",
    "first",
    "score",
    "rank",
    "best ranked unseen mean",
    "distil time",
    "made on",
    "copied",
    "MIA set",
    "MIA model",
)


SUMMARY_NOTE = (
    "What stands first with the source learner. The rank's bounds tell how many others are not told apart from it; the best unseen mean is "
    "often another method's."
)


def summary(tables: Sequence[Table]) -> list[str]:
    """Writes a table with one line for each table that ranks two methods, and links to the tables.

    Args:
        tables: All tables, in their order.
    """
    shown = summary_lines(tables)
    lines = [row(HEADINGS), "|---|---|" + "---:|" * (len(HEADINGS) - 2)]
    lines += [row([_link(table), *map(escape, cells)]) for table, cells in shown]
    links = ", ".join(_link(table) for table in tables if table not in [own for own, _ in shown])
    first = [SUMMARY_NOTE, "\n".join(lines)] if shown else []
    return ["## Summary", *first, *([f"Other tables: {links}."] if links else [])]


def summary_lines(tables: Sequence[Table]) -> list[tuple[Table, list[str]]]:
    """Returns every table that ranks two methods with the cells of its line, in the order of HEADINGS but for the first."""
    return [(table, _cells(table, *found)) for table in tables if (found := first_of(table)) is not None]


def first_of(table: Table) -> tuple[Line, Row] | None:
    """Returns the line of rank 1 with its row of the source learner; None where fewer than two are ranked."""
    for line in table.lines:
        seen = line.rows.get(table.source)
        if seen is not None and seen["rank"] == 1 and (seen["n_entrants"] or 0) > 1:
            return line, seen
    return None


def _cells(table: Table, line: Line, seen: Row) -> list[str]:
    return [
        line.name,
        score_text(seen),
        rank_text(seen),
        _best_unseen(table.lines),
        duration_text(seen["distil_wall_s"]),
        hardware_text(seen),
        copied_text(seen),
        set_text(seen),
        model_text(seen),
    ]


def _best_unseen(lines: Iterable[Line]) -> str:
    found = [
        (seen["score_frac"] or 0.0, line.name, score_text(seen))
        for line in lines
        if (seen := line.rows.get(UNSEEN_MEAN)) is not None and competes(seen)
    ]
    return MISSING if not found else "{1} {2}".format(*max(found))


def _link(table: Table) -> str:
    """Links to a table's heading, whose address is made of its letters and digits in lower case."""
    address = re.sub(r"[^\w\- ]", "", table.title.lower()).replace(" ", "-")
    return f"[{escape(table.title)}](#{address})"
