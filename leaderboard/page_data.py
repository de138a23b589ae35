"""What the page's script reads: every cell of every table as text and sorting number, ranks by pool, and cards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tdbench.leaderboard.cards import Told, card_of
from tdbench.leaderboard.column import MISSING, Column, Output, verified_text
from tdbench.leaderboard.columns import COLUMNS
from tdbench.leaderboard.json_schema import ranking_json
from tdbench.leaderboard.pools import Pool, competes, pools_of
from tdbench.leaderboard.rankings import Ranking, standing_texts
from tdbench.leaderboard.ranks import PoolPlaces, row_id
from tdbench.leaderboard.rows import Findings
from tdbench.leaderboard.schema import ALL_BUDGET, MIXED, Row
from tdbench.leaderboard.tables import Line, Table
from tdbench.leaderboard.views import VIEWS

ON_PAGE: frozenset[Output] = frozenset({"page", "texts", "request"})


@dataclass(frozen=True)
class _Shared:
    """What all tables are written with."""

    columns: Sequence[Column]
    pools: Sequence[Pool]
    places: PoolPlaces
    told: Told


def page_data(tables: Sequence[Table], found: Findings, told: Told) -> dict[str, Any]:
    """Returns what the script of the page needs, as plain JSON.

    Args:
        tables: Tables in the order in which the page offers them.
        found: What the board says.
        told: What cards hold besides rows.
    """
    columns = [column for column in COLUMNS if column.outputs & ON_PAGE]
    pools = pools_of(row for row in found.rows if competes(row))
    shared = _Shared(columns, pools, found.places, told)
    return {
        "columns": [_column(column) for column in columns],
        "views": [{"name": view.name, "columns": sorted(view.keys)} for view in VIEWS],
        "pools": [{"name": pool.name, "description": pool.description} for pool in pools],
        "tables": [_table(table, shared) for table in tables],
        "rankings": [_ranking(ranking) for ranking in found.rankings],
    }


def as_script(value: Any) -> str:
    """Writes JSON that may stand inside a script element: no text of it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.key,
        "heading": column.heading,
        "description": column.description,
        "view": column.viewpoint,
        "rising": column.rising,
    }


def _table(table: Table, shared: _Shared) -> dict[str, Any]:
    columns = shared.columns
    own = [place for place, column in enumerate(columns) if table.has(column)]
    filled = [
        place
        for place in own
        if not columns[place].optional
        or any(columns[place].show(row) != MISSING for line in table.lines for row in line.rows.values())
    ]
    return {
        "task": table.task,
        "data": table.data_kind,
        "protocol": table.protocol + (f" (custom {table.custom_id})" if table.custom_id else ""),
        "budget": table.budget,
        "track": table.track,
        "title": table.title,
        "learners": list(table.learners),
        "source": table.source,
        "bound": table.track.removesuffix(MIXED) == "learner-bound",
        "dataNote": table.data_note,
        "notes": list(table.notes),
        "columns": filled,
        "lines": [_line(line, table, filled, shared) for line in table.lines],
    }


def _line(line: Line, table: Table, filled: Sequence[int], shared: _Shared) -> dict[str, Any]:
    row = line.rows.get(table.source, line.any_row)
    return {
        "name": line.name,
        "options": row["options"],
        "kind": line.kind,
        "private": row["private"],
        "verified": _badge(line),
        "failing": bool(row["failure_signs"]),
        "search": _search(line, row),
        "everyBudget": row["budget"] == ALL_BUDGET,
        "ranked": {learner: seen["ranked"] for learner, seen in line.rows.items()},
        "pools": [place for place, pool in enumerate(shared.pools) if pool.admits(row)],
        "cells": {
            learner: [_cell(shared.columns[place], seen, seen is row) for place in filled]
            for learner, seen in line.rows.items()
        },
        "ranks": {
            learner: {pool: [place.rank, place.low, place.high] for pool, place in shared.places[row_id(seen)].items()}
            for learner, seen in line.rows.items()
            if row_id(seen) in shared.places
        },
        "card": card_of(line, table, shared.told),
    }


def _search(line: Line, row: Row) -> str:
    """Returns what the filter looks through: names as they are printed, options, tags, and what badges say."""
    epsilon = "" if row["epsilon"] is None else f"epsilon={row['epsilon']:g} ε={row['epsilon']:g}"
    kind = "" if line.kind == "method" else "reference"
    badges = ("private" if row["private"] else "", kind, _badge(line), verified_text(row))
    return " ".join(filter(None, (line.title, row["method"], row["family"], row["tags"], epsilon, *badges))).lower()


def _badge(line: Line) -> str:
    """Returns what running a method again gave, by any learner; empty where nothing was."""
    names = {"n_not_reproduced": "not reproduced", "n_reproduced": "verified", "n_consistent": "consistent"}
    found = (word for key, word in names.items() if any(row[key] for row in line.rows.values()))  # type: ignore[literal-required]
    return next(found, "")


def _cell(column: Column, row: Row, first: bool) -> list[Any] | int:
    """Returns a cell's text and the number that sorts it; 0 for a hole, and for what the line's first row says of the set."""
    if column.viewpoint == "set" and not first:
        return 0
    text = column.show(row)
    if text == MISSING:
        return 0
    order = column.order(row)
    return [text] if order is None else [text, _number(order)]


def _number(value: float) -> float:
    """Returns a number of six digits; JSON has no infinity, so that the largest float stands for it."""
    return max(-1e308, min(1e308, float(f"{float(value):.6g}")))


def _ranking(ranking: Ranking) -> dict[str, Any]:
    lines = [standing_texts(one) for one in ranking.standings]
    return {**ranking_json(ranking), "title": ranking.title, "lines": lines}
