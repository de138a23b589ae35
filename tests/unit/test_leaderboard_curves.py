"""Curves over budgets on the board: who has one, what rows say a text is worth, what documents show."""

from __future__ import annotations

import numpy as np
import pytest

from tdbench.leaderboard.columns import data_equivalence_text
from tdbench.leaderboard.curves import scaling_sections
from tdbench.leaderboard.page import render_page
from tdbench.leaderboard.rows import find
from tdbench.leaderboard.scaling import Law
from tdbench.leaderboard.tables import build_tables
from tests.unit.board_texts import markdown_text

SIZES = (1, 5, 10, 20, 50, 100)
LAW = Law(1.5, 2.0, 0.7, 0.06)


def records(board_records, method="random", sizes=SIZES, factor=1, n_sets=5, **facts):
    made = []
    for size in sizes:
        rng = np.random.default_rng(size)
        errors = np.clip(LAW(float(size * factor)) * np.exp(0.02 * rng.normal(size=n_sets)), 0, 1)
        made += board_records.runs(
            method, {"minilm": [[float(1 - error)] for error in errors]}, budget=f"dpc{size}", **facts
        )
    return made


def found(*groups):
    found = find([record for group in groups for record in group])
    rows, sections = found.rows, found.curves
    return {(row["method"], row["budget"]): row for row in rows if row["is_source"]}, sections, rows


def test_a_text_of_random_selection_is_worth_one_and_of_another_method_more(board_records):
    rows, (section,), _ = found(records(board_records), records(board_records, "better", sizes=(10,), factor=4))
    assert [line.name for line in section.lines] == ["random"]
    assert rows["random", "dpc10"]["data_equivalence"] is None  # one by definition
    better = rows["better", "dpc10"]
    assert better["data_equivalence"] == pytest.approx(4, rel=0.25)
    assert better["data_equivalence_low"] < 4 < better["data_equivalence_high"]


def test_nothing_is_said_beyond_the_largest_random_set(board_records):
    rows, _, _ = found(records(board_records), records(board_records, "best", sizes=(50,), factor=100))
    assert (rows["best", "dpc50"]["data_equivalence"], rows["best", "dpc50"]["data_equivalence_above"]) == (None, 2.0)


def test_what_is_worse_than_the_smallest_random_set_says_so(board_records):
    rows, _, _ = found(records(board_records), records(board_records, "worst", sizes=(50,), factor=0.0005))
    assert (rows["worst", "dpc50"]["data_equivalence"], rows["worst", "dpc50"]["data_equivalence_below"]) == (
        None,
        0.02,
    )
    assert data_equivalence_text(rows["worst", "dpc50"]) == "< 0.02"


@pytest.mark.parametrize("how", [{"sizes": SIZES[:5]}, {"n_sets": 2}])
def test_five_budgets_or_two_sets_make_no_curve(board_records, how):
    rows, sections, _ = found(records(board_records, **how))
    assert sections == []
    assert rows["random", "dpc10"]["data_equivalence"] is None


def test_tasks_and_data_are_kept_apart(board_records):
    _, sections, _ = found(records(board_records), records(board_records, task="other"))
    assert len(sections) == 2
    rows, sections, _ = found(records(board_records), records(board_records, "kmeans", sizes=(10,), task="other"))
    assert rows["kmeans", "dpc10"]["data_equivalence"] is None
    assert len(sections) == 1


def test_documents_show_law_and_figure_and_escape_names(board_records):
    board = find([*records(board_records), *records(board_records, "<b>x</b>|", label="<b>x</b>|")])
    tables, sections = build_tables(board.rows), board.curves
    text = markdown_text(tables, sections)
    assert f"## Scaling: {sections[0].title}" in text
    assert "D^0." in text
    page = render_page(tables, board, ["here"], {})
    assert 'aria-label="Error by number of texts: error in percent by texts a class;' in page
    assert "<b>x</b>" not in page
    assert "equivalent random samples" in page


def test_sections_are_the_same_each_time(board_records):
    groups = records(board_records)
    texts = [[line.texts for section in found(groups)[1] for line in section.lines] for _ in range(2)]
    assert texts[0] == texts[1]
    assert scaling_sections([]) == ([], {})
