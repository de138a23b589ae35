"""Signs of failure on rows."""

from __future__ import annotations

from typing import Any

import pytest

from tdbench.leaderboard.page import render_page
from tdbench.leaderboard.rows import build_rows, find
from tdbench.leaderboard.tables import build_tables
from tests.unit.board_texts import markdown_text

GOOD = {"minilm": [[0.80], [0.82], [0.81]]}
NEAR = {"minilm": [[0.79], [0.82], [0.84]]}
CHANCE = {"minilm": [[0.24], [0.26], [0.25]]}


def signs(records: Any, method: str = "m", options: str = "") -> str:
    (row,) = [r for r in build_rows(records) if (r["method"], r["options"]) == (method, options) and r["is_source"]]
    return "; ".join(row["failure_flags"])


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({}, ""),
        ({"judge_perplexity": 990.0, "judge_perplexity_real": 100.0}, ""),
        (
            {"judge_perplexity": 1200.0, "judge_perplexity_real": 100.0},
            "not language: perplexity 12 times that of real texts",
        ),
        ({"judge_perplexity": 10.0, "judge_perplexity_real": 100.0}, ""),
        ({"empty_frac": 0.0, "repetitive_frac": 0.05}, ""),
        ({"empty_frac": 0.0002}, "empty texts: under 0.1 %"),
        ({"empty_frac": 0.02, "repetitive_frac": 0.5}, "empty texts: 2.0 %; repetitive texts: 50 %"),
    ],
)
def test_texts_that_failed_are_told_from_those_that_read_well(board_records, quality, said):
    assert signs(board_records.runs("m", GOOD, quality=quality)) == said


def test_a_score_whose_interval_reaches_majority_may_be_chance(board_records):
    assert signs(board_records.runs("m", CHANCE)).startswith(
        "may be chance: the interval does not keep clear of the most frequent class's 25.0"
    )
    assert signs(board_records.runs("m", {"minilm": [[0.26]]})).startswith("may be chance: its score does not")
    assert signs(board_records.runs("m", {"minilm": [[0.28]]})) == ""
    assert signs(board_records.runs("m", {"minilm": [[0.2], [0.9], [0.5]]})).startswith("may be chance: the interval")


def private(board_records: Any, scores: dict[str, list[list[float]]], **options: Any) -> list[Any]:
    reference = options.get("epsilon") == 0.0 or "oracle" in options
    return board_records.runs("m", scores, options=options, private=True, reference=reference)


def test_private_rows_that_are_level_with_their_controls_say_so(board_records):
    level = private(board_records, GOOD) + private(board_records, NEAR, epsilon=0.0)
    level += private(board_records, CHANCE, oracle="noise-only")
    assert signs(level).startswith("not shown to beat its control of epsilon 0: -0.7 [")
    assert signs(level, options="epsilon=0.0") == ""
    better = private(board_records, GOOD, epsilon="inf") + private(board_records, CHANCE, epsilon=0.0)
    assert signs(better, options="epsilon=inf") == ""
    noise = private(board_records, GOOD) + private(board_records, GOOD, oracle="noise-only")
    assert signs(noise).startswith("not shown to beat its control of noise alone: +0.0 [")


def flags_unchecked(records: Any) -> str:
    return next(
        "; ".join(row["flags_unchecked"]) for row in build_rows(records) if not row["options"] and row["is_source"]
    )


def test_what_could_not_be_looked_for_is_said(board_records):
    read = {"quality": {"distinct_2": 0.9, "empty_frac": 0.0}}
    old = {"quality": {"distinct_2": 0.9}}
    for facts, said in ((read, "control"), (old, "texts; control"), ({}, "control")):
        rows = board_records.runs("m", GOOD, private=True, **facts)
        assert flags_unchecked(rows) == said
        assert f"unchecked: {said}" in markdown_text(build_tables(build_rows(rows))) or facts is not read
    assert flags_unchecked(private(board_records, GOOD) + private(board_records, CHANCE, epsilon=0.0)) == ""
    assert flags_unchecked(board_records.runs("m", GOOD)) == ""


def test_delta_and_group_hide_no_control_and_one_of_several_is_named(board_records):
    records = private(board_records, GOOD, delta=1e-6, group=3) + private(board_records, NEAR, epsilon=0.0)
    assert "epsilon 0" in signs(records, options="delta=1e-06, group=3")
    records = private(board_records, GOOD, epsilon=1.0) + private(board_records, GOOD, oracle="noise-only")
    records += private(board_records, CHANCE, oracle="noise-only", epsilon=1.0)
    assert signs(records, options="epsilon=1.0") == ""  # its own budget's noise is what counts
    records = private(board_records, GOOD, epsilon=8.0) + records[len(private(board_records, GOOD)) :]
    assert signs(records, options="epsilon=8.0").count("noise alone") == 1


def test_a_control_with_other_options_or_of_another_task_is_none(board_records):
    records = private(board_records, GOOD, rounds=3) + private(board_records, NEAR, epsilon=0.0)
    assert signs(records, options="rounds=3") == ""
    records += private(board_records, NEAR, epsilon=0.0, rounds=3)
    assert "epsilon 0" in signs(records, options="rounds=3")
    other = board_records.runs("m", NEAR, options={"epsilon": 0.0}, private=True, reference=True, task="other")
    assert signs(private(board_records, GOOD) + other) == ""


def test_single_sets_are_compared_without_an_interval(board_records):
    one = {"minilm": [[0.5]]}
    assert "epsilon 0: +0.0" in signs(private(board_records, one) + private(board_records, one, epsilon=0.0))
    more = private(board_records, {"minilm": [[0.6]]}) + private(board_records, one, epsilon=0.0)
    assert signs(more) == ""


def test_documents_show_signs_in_a_column_of_their_own(board_records):
    board = find(board_records.runs("m", GOOD, quality={"empty_frac": 0.5, "repetitive_frac": 0.6}))
    tables = build_tables(board.rows)
    for document in (markdown_text(tables), render_page(tables, board, [], {})):
        assert "warnings" in document
        assert "empty texts: 50.0 %; repetitive texts: 60 %" in document
    assert "| warnings" not in markdown_text(build_tables(build_rows(board_records.runs("m", GOOD))))


@pytest.mark.parametrize(("ratio", "said"), [(1.4, True), (2.0, False)])
def test_texts_drawn_from_the_weights_of_few_are_a_sign(board_records, ratio, said):
    found = signs(board_records.runs("m", GOOD, diagnostics={"effective_ratio": ratio}))
    assert ("effective size 1.4 times" in found) == said
