"""The board as one self-contained page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from tdbench.bench.record import ROC_FPR
from tdbench.leaderboard import chart, heatmap, square
from tdbench.leaderboard.cards import Told
from tdbench.leaderboard.chart import build_chart
from tdbench.leaderboard.column import MISSING, NOT_APPLICABLE
from tdbench.leaderboard.columns import COLUMNS
from tdbench.leaderboard.curves import HEADINGS, SCALING_NOTE
from tdbench.leaderboard.heatmap import heat_map
from tdbench.leaderboard.overview import HEADINGS as SUMMARY_HEADINGS
from tdbench.leaderboard.overview import SUMMARY_NOTE, summary_lines
from tdbench.leaderboard.page_data import as_script, page_data
from tdbench.leaderboard.pareto import pareto_figure
from tdbench.leaderboard.privacy_charts import privacy_figures
from tdbench.leaderboard.rankings import RANKING_NOTE
from tdbench.leaderboard.reported import HEADINGS as REPORTED_HEADINGS
from tdbench.leaderboard.reported import REPORTED_NOTE, reported, sources
from tdbench.leaderboard.rows import Findings
from tdbench.leaderboard.tables import Table

_TEMPLATES = Path(__file__).parent / "templates"
_PICKERS = ("task", "budget", "track", "protocol", "data")
"""What chooses a table; each names a field of the script's tables."""


def render_page(
    tables: Sequence[Table],
    found: Findings,
    built_from: Sequence[str],
    attacks: Mapping[str, Sequence[float]],
    told: Told | None = None,
) -> str:
    """Writes the page.

    Texts of records reach it escaped by the template, or as JSON that the script writes as plain text; the page forbids itself to load
    anything.

    Args:
        tables: Tables in the order in which the page offers them.
        found: What the board says.
        built_from: Names of the places the records came from.
        attacks: Audit id -> true-positive rates of the attack on the set, at ROC_FPR.
        told: What cards hold besides rows.
    """
    template = _environment().get_template("index.html.j2")
    return template.render(
        tables=[_figures(table, attacks) for table in tables],
        data=as_script(page_data(tables, found, told or Told())),
        pickers=_PICKERS,
        scaling=found.curves,
        scaling_headings=HEADINGS,
        scaling_note=SCALING_NOTE,
        ranking_note=RANKING_NOTE,
        summary=summary_lines(tables),
        summary_headings=SUMMARY_HEADINGS,
        summary_note=SUMMARY_NOTE,
        **_published(),
        legend=[(column.key, column.heading.format(learner="learner"), column.description) for column in COLUMNS],
        newest=max((row["measured"][-10:] for row in found.rows), default=""),
        version=(told or Told()).version,
        built_from=built_from,
        geometry=chart,
        square=square,
        heatmap=heatmap,
        missing=MISSING,
        not_applicable=NOT_APPLICABLE,
    )


def _figures(table: Table, attacks: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    squares = (pareto_figure(table), *privacy_figures(table, attacks, ROC_FPR))
    return {"chart": build_chart(table), "heat": heat_map(table), "squares": [one for one in squares if one]}


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
