"""The board as one self-contained page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import jinja2
from markupsafe import Markup

from tdbench.leaderboard.columns import MISSING, NOT_APPLICABLE, hardware_text, joined, reproductions_text
from tdbench.leaderboard.curves import HEADINGS, SCALING_NOTE
from tdbench.leaderboard.drawing import inline_svg
from tdbench.leaderboard.fields import COLUMNS, VIEWS
from tdbench.leaderboard.figures import scaling, table_figures
from tdbench.leaderboard.json_schema import ranking_json
from tdbench.leaderboard.markdown import SUMMARY_HEADINGS, SUMMARY_NOTE, summary_lines
from tdbench.leaderboard.rankings import (
    RANKING_NOTE,
    MethodPool,
    PoolRanks,
    Ranking,
    competes,
    pools_of,
    ranking_texts,
    row_id,
)
from tdbench.leaderboard.reported import HEADINGS as REPORTED_HEADINGS
from tdbench.leaderboard.reported import REPORTED_NOTE, reported, sources
from tdbench.leaderboard.rows import Findings
from tdbench.leaderboard.schema import ALL_BUDGET, MIXED, TRANSFER, Column, Output, Row
from tdbench.leaderboard.tables import Line, Table

_TEMPLATES = Path(__file__).parent / "templates"
_PICKERS = ("task", "budget", "track", "protocol", "data")
"""What chooses a table; each names a field of the script's tables."""
ON_PAGE: frozenset[Output] = frozenset({"page", "texts", "request"})
SAMPLE_LETTERS = 280
"""Longer texts are cut off on the page."""
Samples: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]
"""Stage id of a set -> (class, generated text) of a few of its texts."""
MethodInfo: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]
"""Method -> (term, text) of what the suite and its authors say about it."""


@dataclass(frozen=True)
class PageContext:
    """What the page says besides rows."""

    samples: Samples = field(default_factory=dict)
    method_info: MethodInfo = field(default_factory=dict)
    version: str = ""
    """Of the suite that built the page; empty where unknown."""


class Card(TypedDict):
    """Facts as (term, text) in the order in which they are shown; a fact without a term belongs to the one before."""

    facts: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    samples: list[tuple[str, str]]


def render_page(
    tables: Sequence[Table],
    findings: Findings,
    built_from: Sequence[str],
    attacks: Mapping[str, Sequence[float]],
    context: PageContext | None = None,
) -> str:
    """Writes the page.

    Texts of records reach it escaped by the template, or as JSON that the script writes as plain text; the page forbids itself to load
    anything.

    Args:
        tables: Tables in the order in which the page offers them.
        findings: Rows, curves and rankings of the board.
        built_from: Names of the places the records came from.
        attacks: Audit id -> true-positive rates of the attack on the set, at ROC_FPR.
        context: What cards hold besides rows.
    """
    template = _environment().get_template("index.html.j2")
    return template.render(
        figures=[table_figures(table, attacks) for table in tables],
        data=as_script(page_data(tables, findings, context or PageContext())),
        pickers=_PICKERS,
        scaling=[(section, scaling(section)) for section in findings.curves],
        svg=lambda figure: Markup(inline_svg(figure)),  # noqa: S704 - its texts are escaped
        scaling_headings=HEADINGS,
        scaling_note=SCALING_NOTE,
        ranking_note=RANKING_NOTE,
        summary=summary_lines(tables),
        summary_headings=SUMMARY_HEADINGS,
        summary_note=SUMMARY_NOTE,
        **_published(),
        legend=[(column.key, column.heading.format(learner="learner"), column.description) for column in COLUMNS],
        newest=max((row["measured"][-10:] for row in findings.rows), default=""),
        version=(context or PageContext()).version,
        built_from=built_from,
        missing=MISSING,
        not_applicable=NOT_APPLICABLE,
    )


def _published() -> dict[str, Any]:
    """Returns what the template needs of published figures."""
    figures = reported()
    return {
        "reported": figures,
        "reported_tasks": list(dict.fromkeys(figure.task for figure in figures)),
        "reported_headings": REPORTED_HEADINGS,
        "reported_note": REPORTED_NOTE,
        "reported_sources": sources(figures),
    }


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@dataclass(frozen=True)
class _Shared:
    """What all tables are written with."""

    columns: Sequence[Column]
    pools: Sequence[MethodPool]
    ranks: PoolRanks
    context: PageContext


def page_data(tables: Sequence[Table], findings: Findings, context: PageContext) -> dict[str, Any]:
    """Returns what the script of the page needs, as plain JSON.

    Args:
        tables: Tables in the order in which the page offers them.
        findings: Rows, curves and rankings of the board.
        context: What cards hold besides rows.
    """
    columns = [column for column in COLUMNS if column.outputs & ON_PAGE]
    pools = pools_of(row for row in findings.rows if competes(row))
    shared = _Shared(columns, pools, findings.ranks, context)
    return {
        "columns": [_column(column) for column in columns],
        "views": [{"name": view.name, "columns": sorted(view.keys)} for view in VIEWS],
        "pools": [{"name": pool.name, "description": pool.description} for pool in pools],
        "tables": [_table(table, shared) for table in tables],
        "rankings": [_ranking(ranking) for ranking in findings.rankings],
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
    present = [place for place, column in enumerate(columns) if table.has(column)]
    filled = [
        place
        for place in present
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
        "reproduced": _badge(line),
        "failing": bool(row["failure_flags"]),
        "search": _search(line, row),
        "everyBudget": row["budget"] == ALL_BUDGET,
        "ranked": {learner: seen["ranked"] for learner, seen in line.rows.items()},
        "pools": [place for place, pool in enumerate(shared.pools) if pool.admits(row)],
        "cells": {
            learner: [_cell(shared.columns[place], seen, seen is row) for place in filled]
            for learner, seen in line.rows.items()
        },
        "ranks": {
            learner: {pool: [place.rank, place.low, place.high] for pool, place in shared.ranks[row_id(seen)].items()}
            for learner, seen in line.rows.items()
            if row_id(seen) in shared.ranks
        },
        "card": card_of(line, table, shared.context),
    }


def _search(line: Line, row: Row) -> str:
    """Returns what the filter looks through: names as they are printed, options, tags, and what badges say."""
    epsilon = "" if row["epsilon"] is None else f"epsilon={row['epsilon']:g} ε={row['epsilon']:g}"
    kind = "" if line.kind == "method" else "reference"
    badges = ("private" if row["private"] else "", kind, _badge(line), reproductions_text(row))
    return " ".join(
        filter(None, (line.title, row["method"], row["family"], joined(row["tags"], ", "), epsilon, *badges))
    ).lower()


def _badge(line: Line) -> str:
    """Returns the outcome of reproducing a method, by any learner; empty where nobody has."""
    names = {"n_not_reproduced": "not reproduced", "n_reproduced": "reproduced", "n_consistent": "consistent"}
    outcomes = (word for key, word in names.items() if any(row[key] for row in line.rows.values()))  # type: ignore[literal-required]
    return next(outcomes, "")


def _cell(column: Column, row: Row, first: bool) -> list[Any] | int:
    """Returns a cell's text and the number that sorts it; 0 for a missing one, and for what the line's first row says of the set."""
    if column.viewpoint == "set" and not first:
        return 0
    text = column.show(row)
    if text == MISSING:
        return 0
    order = column.number(row)
    return [text] if order is None else [text, _number(order)]


def _number(value: float) -> float:
    """Returns a number of six digits; JSON has no infinity, so that the largest float stands for it."""
    return max(-1e308, min(1e308, float(f"{float(value):.6g}")))


def _ranking(ranking: Ranking) -> dict[str, Any]:
    lines = [ranking_texts(mean_rank) for mean_rank in ranking.mean_ranks]
    return {**ranking_json(ranking), "title": ranking.title, "lines": lines}


def card_of(line: Line, table: Table, context: PageContext) -> Card:
    """Writes the card of a line.

    Args:
        line: The line.
        table: Its table.
        context: Generated texts by set, and what the suite and authors say about methods.
    """
    row = line.rows.get(table.source, line.any_row)
    facts = [*context.method_info.get(row["method"], ()), *((name, text) for name, text in _facts(row) if text)]
    for learner, seen in line.rows.items():
        if seen["unranked_reason"] and seen["unranked_reason"] != row["unranked_reason"] and learner != TRANSFER:
            facts.append((f"{learner} not ranked", seen["unranked_reason"]))
    commands = [("reproduce these runs", row["command"])] if row["command"] else []
    if row["first_train_id"] and not row["external"]:
        commands.append(("check one of them", f"tdbench reproduce {row['first_train_id']}"))
    texts = [
        (label, text if len(text) <= SAMPLE_LETTERS else f"{text[: SAMPLE_LETTERS - 1]}…")
        for label, text in context.samples.get(row["first_set_id"], ())
    ]
    if not texts and row["budget"] != ALL_BUDGET:
        facts.append(("texts", _why_no_texts(row)))
    return {"facts": facts, "commands": commands, "samples": texts}


def _why_no_texts(row: Row) -> str:
    if row["output"] == "rows":
        return "not shown: they are rows of the train split, which are not ours to publish"
    if row["output"] == "embedding":
        return "not shown: token vectors are no texts"
    return "not shown: some are those of data sets, or the set is not at hand"


def _facts(row: Row) -> list[tuple[str, str]]:
    options = f"; {row['options']}" if row["options"] else ""
    failed = f", {row['n_failed']} failed" if row["n_failed"] else ""
    same = ", all the same" if row["n_distinct_sets"] == 1 and row["n_sets"] > 1 else ""
    exact = MISSING if row["n_test_exact"] is None else f"{row['n_test_exact']:,}"
    counted = row["distil_flops_uncounted"]
    return [
        ("method", f"{row['method']} v{row['method_version']}, {row['family']}{options}"),
        ("tags", joined(row["tags"], ", ")),
        ("not ranked", row["unranked_reason"]),
        ("runs", f"sets: {row['n_sets']}{same}, trainings of each: {row['n_seeds']}{failed}"),
        ("set", f"{MISSING if row['n_rows'] is None else row['n_rows']} rows, {exact} equal to a test text"),
        ("training", "" if row["mode"] == "recipe" else row["mode"]),
        ("remarks", joined(row["notes"])),
        ("contamination", joined((*row["contamination"], *row["distil_contamination"]))),
        *_privacy(row),
        ("warnings", joined(row["failure_flags"])),
        ("references lack sets", joined(row["incomplete_references"], ", ")),
        ("hardware of the sets", hardware_text(row)),
        ("hardware of the training", joined((*row["device"], *row["hardware"]), ", ")),
        ("FLOPs leave out", joined(counted, ", ") if row["distil_flops_counted"] is not None else ""),
        ("data", f"{row['data_fingerprint']}, test {row['test_fingerprint'] or MISSING}"),
        ("measured", row["measured"]),
        ("reproduced", f"{reproductions_text(row)}: {joined(row['reproduced_on'])}" if row["reproduced_on"] else ""),
        ("suite", joined(row["commits"], ", ")),
        ("first set", row["first_set_id"]),
    ]


def _privacy(row: Row) -> Iterator[tuple[str, str]]:
    """Writes a promise as one fact a sentence."""
    for place, sentence in enumerate(row["promise"]):
        yield ("" if place else "privacy", sentence)
    yield "released", joined(row["released"], ", ")
