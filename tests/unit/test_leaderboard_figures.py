"""Score against cost, the heat map, and what they say without a picture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdbench.bench.record import PhaseCost
from tdbench.leaderboard.heatmap import LEVELS, heat_map
from tdbench.leaderboard.pareto import front, pareto_figure
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.tables import build_tables

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
    figure = pareto_figure(table)
    assert figure is not None
    assert "measured on A (2 cores);" in figure.notes[0]
    assert figure.notes[1] == "Made on other hardware, and not to be compared: other 90.0 in 0.1 s (B (2 cores))."
    assert [(line.name, line.text) for line in figure.key] == [
        ("1", "good: 80.0 in 1.7 min, beaten by none"),
        ("2", "quick: 60.0 in 1.0 s, beaten by none"),
        ("3", "poor: 50.0 in 50.0 s"),
    ]
    assert len(figure.curves) == 1
    by_name = {point.text.split(":")[0]: point for point in figure.points}
    assert by_name.keys() == {"quick", "good", "poor"}
    assert by_name["quick"].x < by_name["poor"].x < by_name["good"].x
    assert by_name["good"].y < by_name["quick"].y < by_name["poor"].y


def test_incomplete_rows_and_other_options_are_no_part_of_the_front(board_records):
    cost = {"distil_cost": (PhaseCost(phase="x", wall_s=1.0),)}
    records = board_records.runs("a", {"minilm": [[0.5]] * 3}, **cost) + board_records.runs(
        "b", {"minilm": [[0.6]] * 3}, distil_cost=(PhaseCost(phase="x", wall_s=9.0),)
    )
    records += board_records.runs("short", {"minilm": [[0.9]]}, **cost)
    records += board_records.runs("a", {"minilm": [[0.9]] * 3}, options={"x": 1}, **cost)
    (table,) = build_tables(build_rows(records))
    figure = pareto_figure(table)
    assert figure is not None
    assert [line.text.split(":")[0] for line in figure.key] == ["b", "a"]


def test_one_method_makes_no_figure(board_records):
    assert pareto_figure(made(board_records, alone=(1.0, 0.6, "A"))) is None
    assert pareto_figure(made(board_records, a=(1.0, 0.6, "A"), b=(1.0, 0.6, "B"))) is None


def test_heat_map_shades_within_a_learner_and_shows_holes(board_records):
    records = board_records.board()
    records += board_records.runs("half", {"minilm": [[0.5], [0.5], [0.5]]})
    (table,) = build_tables(build_rows(records))
    heat = heat_map(table)
    assert heat is not None
    names = [guide.text for guide in heat.rows]
    assert {"strong", "half", "weak"} <= set(names)
    assert not {"majority", "full"} & set(names)
    cells = {(names[i % len(names)], i // len(names)): cell for i, cell in enumerate(heat.cells)}
    assert cells["strong", 0].level == cells["kmeans", 1].level == LEVELS - 1
    assert cells["weak", 0].level == cells["weak", 1].level == 0
    assert (cells["half", 1].text, cells["half", 1].level) == ("\N{EN DASH}", None)
    assert "Best of those that are ranked, by learner: minilm: strong 72.0; textcnn: kmeans 66.0." in heat.summary


def test_heat_map_needs_two_of_each(board_records):
    (table,) = build_tables(build_rows(board_records.runs("m", {"minilm": [[0.5]] * 3})))
    assert heat_map(table) is None
