"""Scores, score against cost, methods by learners, and how the page shows them."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tdbench.bench.record import PhaseCost
from tdbench.leaderboard import drawing
from tdbench.leaderboard.drawing import PALETTE, inline_svg
from tdbench.leaderboard.figures import front, heat, levels, pareto, scores, table_figures
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.tables import build_tables
from tests.unit.svg_marks import marks

POINTS = st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), min_size=1, max_size=12)


@given(POINTS)
def test_front_holds_what_nothing_beats_and_nothing_else(points):
    kept = front(points)

    def beats(a, b):
        return (a[0] <= b[0] and a[1] > b[1]) or (a[0] < b[0] and a[1] >= b[1])

    unbeaten = {point for point in points if not any(beats(other, point) for other in points)}
    assert {points[place] for place in kept} == unbeaten
    assert [points[place][0] for place in kept] == sorted(points[place][0] for place in kept)


def made(board_records, **costs):
    records = []
    for name, (wall, score, cpu) in costs.items():
        records += board_records.runs(
            name, {"minilm": [[score]] * 3}, distil_cost=(PhaseCost(phase="x", wall_s=wall),), cpu=cpu
        )
    (table,) = build_tables(build_rows(records))
    return table


def test_score_against_cost_names_the_front_and_keeps_to_one_kind_of_hardware(board_records):
    table = made(
        board_records, quick=(1.0, 0.6, "A"), good=(100.0, 0.8, "A"), poor=(50.0, 0.5, "A"), other=(0.1, 0.9, "B")
    )
    figure = pareto(table)
    assert figure is not None
    assert "measured on A (2 cores);" in figure.notes[0]
    assert figure.notes[1] == "On other hardware, and not comparable: other 90.0 in 0.1 s (B (2 cores))."
    assert [(line.number, f"{line.name}: {line.text}") for line in figure.key] == [
        ("1", "good: 80.0 in 1.7 min, Pareto-optimal"),
        ("2", "quick: 60.0 in 1.0 s, Pareto-optimal"),
        ("3", "poor: 50.0 in 50.0 s"),
    ]
    dots = marks(inline_svg(figure))
    good, quick, poor = (dots[title] for title in figure.titles)
    assert quick[0] < poor[0] < good[0]
    assert good[1] < quick[1] < poor[1]


def test_incomplete_rows_and_other_options_are_no_part_of_the_front(board_records):
    cost = {"distil_cost": (PhaseCost(phase="x", wall_s=1.0),)}
    records = board_records.runs("a", {"minilm": [[0.5]] * 3}, **cost) + board_records.runs(
        "b", {"minilm": [[0.6]] * 3}, distil_cost=(PhaseCost(phase="x", wall_s=9.0),)
    )
    records += board_records.runs("short", {"minilm": [[0.9]]}, **cost)
    records += board_records.runs("a", {"minilm": [[0.9]] * 3}, options={"x": 1}, **cost)
    (table,) = build_tables(build_rows(records))
    figure = pareto(table)
    assert figure is not None
    assert [line.name for line in figure.key] == ["b", "a"]


def test_one_method_makes_no_figure(board_records):
    assert pareto(made(board_records, alone=(1.0, 0.6, "A"))) is None
    assert pareto(made(board_records, a=(1.0, 0.6, "A"), b=(1.0, 0.6, "B"))) is None


def test_heat_map_shades_within_a_learner_and_shows_missing_scores(board_records):
    records = board_records.board()
    records += board_records.runs("half", {"minilm": [[0.5], [0.5], [0.5]]})
    (table,) = build_tables(build_rows(records))
    figure = heat(table)
    assert figure is not None
    assert "Best of those that are ranked, by learner: minilm: strong 72.0; textcnn: kmeans 66.0." in figure.summary
    svg = inline_svg(figure)
    assert all(f">{name}</text>" in svg for name in ("strong", "half", "weak", "72.0", "66.0", "\N{EN DASH}"))
    assert ">majority</text>" not in svg
    assert 'fill="var(--h0)"' in svg
    assert 'fill="var(--h6)"' in svg
    assert svg.count("zM") + svg.count('z"') == 9  # a closed cell for every score
    assert "font-size" not in svg  # that of the page's style sheet


def test_shades_are_of_one_column():
    assert levels([0.1, None, 0.8, 0.45]) == [0, None, 6, 3]
    assert levels([0.5, 0.5]) == [3, 3]


def test_heat_map_needs_two_of_each(board_records):
    (table,) = build_tables(build_rows(board_records.runs("m", {"minilm": [[0.5]] * 3})))
    assert heat(table) is None


def test_scores_lie_inside_their_intervals_and_rows_stand_in_order(board_records):
    (table,) = build_tables(build_rows(board_records.board()))
    figure = scores(table)
    assert [title.split(":")[0] for title in figure.titles] == [
        "strong",
        "kmeans",
        "random",
        "weak",
        "majority",
        "full",
    ]
    svg = inline_svg(figure)
    dots = marks(svg)
    places = [dots[title] for title in figure.titles[:4]]
    assert [y for _, y, _ in places] == sorted(y for _, y, _ in places)
    for (x, y, _), title in zip(places, figure.titles, strict=False):
        ends = re.search(rf"<title>{re.escape(title)}</title>.*?M([\d.]+) {y:g}H{x:g}H([\d.]+)", svg)
        assert figure.margins[0] <= float(ends[1]) < x < float(ends[2]) <= figure.size[0] - figure.margins[2]
    (holes,) = build_tables(build_rows([board_records.train("m", 0, "minilm", 0, None)]))
    assert table_figures(holes, {}) == []


def test_inline_figures_have_the_pages_colours_and_no_ids(board_records):
    (table,) = build_tables(build_rows(board_records.board()))
    for figure in table_figures(table, {}):
        svg = inline_svg(figure)
        assert "#" not in svg
        assert " id=" not in svg
        assert len(svg) < 6_000
        assert svg == inline_svg(figure)


def test_names_of_records_stay_text(board_records):
    odd = '$x_1$<script>"&\x01\u202e'
    records = board_records.board() + board_records.runs("odd", {"minilm": [[0.5], [0.6], [0.7]]}, label=odd)
    (table,) = build_tables(build_rows(records))
    for figure in table_figures(table, {}):
        svg = inline_svg(figure)
        assert "<script" not in svg
        assert "$x_1$&lt;script&gt;" in svg


def test_files_have_the_colours_of_the_light_page():
    style = (Path(drawing.__file__).parent / "templates" / "style.css").read_text().splitlines()[0]
    light = {
        name: colour if len(colour) == 7 else f"#{colour[1:] * 2}"
        for name, colour in re.findall(r"--([\w-]+):(#\w+)", style)
    }
    assert light | PALETTE == light
