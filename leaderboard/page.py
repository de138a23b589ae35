"""The board as one self-contained page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from bench.experiment.record import ROC_FPR
from leaderboard import chart, square
from leaderboard.chart import build_chart
from leaderboard.columns import COLUMNS
from leaderboard.curves import HEADINGS, SCALING_NOTE, ScalingSection
from leaderboard.privacy_charts import privacy_figures
from leaderboard.tables import Table

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(
    tables: list[Table],
    built_from: list[str],
    curves: Mapping[str, Sequence[float]],
    scaling: Sequence[ScalingSection] = (),
) -> str:
    """Writes the page.

    Every string of a record is escaped by the template; the page forbids itself to load anything.

    Args:
        tables: Tables in the order in which they appear.
        built_from: Names of the places the records came from.
        curves: Audit id -> true-positive rates of the attack on the set, at ROC_FPR.
        scaling: Curves over budgets.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html.j2").render(
        sections=[
            {
                "id": f"t{index}",
                "table": table,
                "fields": table.fields("page"),
                "texts": table.fields("texts"),
                "chart": build_chart(table),
                "privacy": privacy_figures(table, curves, ROC_FPR),
            }
            for index, table in enumerate(tables)
        ],
        scaling=scaling,
        scaling_headings=HEADINGS,
        scaling_note=SCALING_NOTE,
        pickers=_pickers(tables),
        legend=[(column.heading.format(learner="learner"), column.description) for column in COLUMNS],
        built_from=built_from,
        geometry=chart,
        square=square,
    )


def _pickers(tables: list[Table]) -> list[dict[str, object]]:
    """Returns the pickers above the tables, with their values in the order of the tables."""
    values = {
        "task": [table.task for table in tables],
        "budget": [table.budget for table in tables],
        "protocol": [table.protocol for table in tables],
        "data": [table.data_kind for table in tables],
    }
    return [{"name": name, "values": list(dict.fromkeys(found))} for name, found in values.items()]
