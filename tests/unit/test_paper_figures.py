"""Figures for papers: what they show, and equal bytes for equal boards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbench.leaderboard.drawing import inline_svg, save
from tdbench.leaderboard.figures import all_figures, cliques, ranks, scaling
from tdbench.leaderboard.rankings import rankings
from tdbench.leaderboard.rows import entries_of, find
from tdbench.leaderboard.tables import build_tables
from tests.unit.svg_marks import marks

LEVELS = {"best": 0.8, "good": 0.7, "poor": 0.5}


def figures(records):
    board = find(records)
    return all_figures(build_tables(board.rows), board.curves, board.rankings, {})


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_equal_boards_give_equal_files(board_records, tmp_path, kind):
    for folder in ("a", "b"):
        for name, figure in figures(board_records.board()).items():
            save(figure, tmp_path / folder / f"{name}.{kind}")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"news-dpc10-text-tiny-v1-{what}.{kind}" for what in ("heat", "pareto", "scores")]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_figures_name_methods_as_text_and_read_no_mathematics(board_records, tmp_path):
    records = board_records.board() + board_records.runs("odd", {"minilm": [[0.5], [0.6], [0.7]]}, label="$x_1$<b>")
    for name, figure in figures(records).items():
        path = tmp_path / f"{name}.svg"
        save(figure, path)
        text = path.read_text()
        assert "strong" in text
        assert "$x_1$&lt;b&gt;" in text
        assert "news, dpc10, text" in text


def test_only_figures_that_were_asked_for_and_can_be_drawn(board_records):
    board = find(board_records.runs("m", {"minilm": [[0.5]]}))
    assert list(all_figures(build_tables(board.rows), board.curves, board.rankings, {})) == [
        "news-dpc10-text-tiny-v1-scores"
    ]
    assert all_figures(build_tables(board.rows), board.curves, board.rankings, {}, ["pareto", "ranks"]) == {}


def test_critical_difference_is_drawn_from_eight_tasks(board_records, tmp_path):
    def made(count):
        records = []
        for number in range(count):
            for name, level in LEVELS.items():
                records += board_records.runs(name, {"minilm": [[level], [level + 0.01], [level]]}, task=f"t{number}")
        return next(r for r in rankings(entries_of(records)) if r.learner == "source" and r.pool.name == "all")

    assert ranks(made(7)) is None
    save(ranks(made(8)), tmp_path / "cd.svg")
    text = (tmp_path / "cd.svg").read_text()
    assert "best 1.00" in text
    assert "mean rank over 8 tasks (critical difference 1.17)" in text


@given(st.lists(st.floats(1, 10), min_size=1, max_size=10).map(sorted), st.floats(0.1, 5))
def test_cliques_are_the_largest_runs_that_are_close_enough(means, width):
    found = cliques(means, width)
    for group in found:
        assert group == list(range(group[0], group[-1] + 1))
        assert means[group[-1]] - means[group[0]] < width
        assert group[-1] == len(means) - 1 or means[group[-1] + 1] - means[group[0]] >= width
    assert all(a[0] < b[0] and a[-1] < b[-1] for a, b in pairwise(found))
    close = {(i, j) for i in range(len(means)) for j in range(i + 1, len(means)) if means[j] - means[i] < width}
    covered = {(i, j) for group in found for i in group for j in group if i < j}
    assert covered == close


def test_hostile_names_stay_inside_the_folder(board_records, tmp_path):
    records = board_records.board(task="../../x/y", protocol={"name": "..\\up"})
    drawn = figures(records)
    assert all("/" not in name and "\\" not in name and name not in {".", ".."} for name in drawn)
    for name, figure in drawn.items():
        save(figure, tmp_path / "out" / f"{name}.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_curves_are_drawn_with_their_laws(board_records, tmp_path):
    records = []
    for size in (1, 2, 5, 10, 20, 50):
        error = 0.1 + 0.8 / (1 + size)
        sets = {"minilm": [[1 - error], [1 - error - 0.01], [1 - error + 0.01]]}
        records += board_records.runs("random", sets, reference=True, budget=f"dpc{size}")
    (section,) = find(records).curves
    figure = scaling(section)
    save(figure, tmp_path / "s.svg")
    assert "texts a class" in (tmp_path / "s.svg").read_text()
    assert figure.titles[0] == "random, 1 texts a class: error 50.0 %"
    places = [(x, y) for x, y, _ in marks(inline_svg(figure)).values()]
    assert len(places) == 6
    assert places == sorted(places)  # further right, further down
