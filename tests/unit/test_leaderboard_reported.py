"""Published figures: complete, cited, and never among measured rows."""

from __future__ import annotations

import json

from tdbench.bench.registry import TASKS
from tdbench.leaderboard.build import build
from tdbench.leaderboard.reported import REPORTED_NOTE, reported, sources


def test_every_figure_is_of_a_task_of_the_suite_and_has_its_publication():
    figures = reported()
    assert len(figures) > 60
    assert {figure.task for figure in figures} <= set(TASKS.entries())
    assert set(sources(figures)) == {figure.source for figure in figures}
    assert all(0 < figure.score_frac < 1 for figure in figures)
    assert all(source.differences and source.citation for source in sources(figures).values())
    keys = [(f.task, f.method, f.budget, f.learner, f.source) for f in figures]
    assert len(keys) == len(set(keys))


def test_figures_are_as_printed():
    found = {(f.source, f.task, f.method, f.budget): f for f in reported()}
    dilm = found["dilm", "sst2", "DiLM", "dpc20"]
    assert (dilm.score_frac, dilm.spread_frac) == (0.803, 0.028)
    assert dilm.texts == ("DiLM", "dpc20", "bert-base", "80.3 (std 2.8)", "dilm")
    assert found["dilm", "qqp", "DiLM", "dpc5"].texts[3] == "58.8 (std 5.2), mean of accuracy and F1"
    assert found["condenselm", "imdb", "CondenseLM", "dpc10"].spread_frac is None


def test_documents_keep_them_apart(board_records, tmp_path):
    build(board_records.board(task="sst2"), tmp_path, tmp_path / "site", [])
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert len(board["reported"]) == len(reported())
    assert not any(row["label"] == "DiLM" for row in board["rows"])
    assert "DiLM" not in (tmp_path / "tables" / "sst2.md").read_text()
    after = (tmp_path / "tables" / "reported.md").read_text()
    assert REPORTED_NOTE in after
    assert "| DiLM | dpc20 | bert-base | 80.3 (std 2.8) | dilm |" in after


def test_an_empty_board_reports_nothing(tmp_path):
    build([], tmp_path, tmp_path / "site", [])
    assert not (tmp_path / "tables").exists()
