"""The task's headline metric, contaminated learners, and sets from files."""

from __future__ import annotations

import pytest
from sklearn.metrics import f1_score

from tdbench.leaderboard.columns import MISSING
from tdbench.leaderboard.figures import scores
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.stats import mean_interval, welch
from tdbench.leaderboard.tables import build_tables
from tests.unit.board_texts import markdown_text

F1 = {"metric": "macro_f1_frac", "macro_f1": lambda accuracy: 1 - accuracy}
SETS = {"minilm": [[0.60], [0.62], [0.64]], "textcnn": [[0.50], [0.52], [0.54]]}
HIGHER = {name: [[value + 0.1] for (value,) in values] for name, values in SETS.items()}


def pick(rows, **wanted):
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def test_interval_differences_and_order_are_about_the_headline(board_records):
    records = [*board_records.runs("random", SETS, reference=True, **F1), *board_records.runs("other", HIGHER, **F1)]
    rows = build_rows(records)
    row = pick(rows, method="other", learner="minilm")
    scores, random = [0.30, 0.28, 0.26], [0.40, 0.38, 0.36]
    assert row["metric"] == "macro_f1_frac"
    assert (row["score_frac"], row["macro_f1_frac"]) == (pytest.approx(0.28), pytest.approx(0.28))
    assert row["accuracy_frac"] == pytest.approx(0.72)
    assert row["ci_high"] == pytest.approx(mean_interval(scores).high)
    assert row["diff_random"] == pytest.approx(-0.10)
    assert row["diff_random_low"] == pytest.approx(welch(scores, random).low)
    (table,) = build_tables(rows)
    assert [line.name for line in table.lines] == ["random", "other"]
    unseen = pick(rows, method="other", learner="transfer")
    assert unseen["score_frac"] == pytest.approx(0.38)


def test_majority_and_collapse_are_measured_by_the_headline(board_records):
    truth = [0] * 75 + [1] * 10 + [2] * 10 + [3] * 5
    expected = f1_score(truth, [0] * 100, average="macro", zero_division=0)
    fixed = {"macro_f1": lambda accuracy: accuracy, "metric": "macro_f1_frac", "majority": 0.75}
    low, high = expected + 0.019, expected + 0.021
    row = pick(build_rows(board_records.runs("m", {"minilm": [[low], [high], [high]]}, **fixed)), learner="minilm")
    assert row["majority_frac"] == pytest.approx(expected)
    assert row["collapse_frac"] == pytest.approx(1 / 3)


def test_one_table_has_one_metric_that_of_its_newest_run(board_records):
    later = {"created": "2026-02-01T00:00:00+00:00"}
    records = [
        *board_records.runs("random", SETS, reference=True),
        *board_records.runs("new", HIGHER, **F1, **later),
        board_records.train("aaa", 0, "minilm", 0, None),
        board_records.distil("aaa", 0),
    ]
    rows = build_rows(records)
    assert {row["metric"] for row in rows} == {"macro_f1_frac"}
    assert pick(rows, method="new", learner="minilm")["diff_random"] == pytest.approx(0.28 - 0.61)
    (table,) = build_tables(rows)
    assert any("macro-F1" in note for note in table.notes)


def test_sets_from_files_do_not_change_the_p_values_of_methods(board_records):
    base = [*board_records.runs("random", SETS, reference=True), *board_records.runs("good", HIGHER)]
    p = pick(build_rows(base), method="good", learner="minilm")["p_holm"]
    for number in range(5):
        base += board_records.runs(f"mine{number}", HIGHER, external=True, budget="dpc10")
    rows = build_rows(base)
    assert pick(rows, method="good", learner="minilm")["p_holm"] == p
    assert pick(rows, method="mine1", learner="minilm")["p_holm"] is None


def test_the_share_of_the_gap_is_of_the_headline(board_records):
    parts = [("random", 0.6, {}), ("mid", 0.7, {}), ("full", 0.8, {"full_data": True, "budget": "all"})]
    records = []
    for name, value, facts in parts:
        macro_f1 = {"random": 0.3, "mid": 0.6, "full": 0.7}[name]
        records += board_records.runs(
            name, {"minilm": [[value]]}, metric="macro_f1_frac", macro_f1=lambda _, f=macro_f1: f, **facts
        )
    assert pick(build_rows(records), method="mid")["gap_closed_frac"] == pytest.approx(0.75)


def test_tables_say_which_metric_they_show_and_show_the_other_beside_it(board_records):
    (table,) = build_tables(build_rows(board_records.runs("m", SETS, **F1)))
    assert any("macro-F1" in note for note in table.notes)
    headings = {field.heading: field.text(table.lines[0]) for field in table.fields("markdown")}
    assert headings["accuracy"] == "62.0"
    assert headings["minilm (source)"].startswith("38.0")
    assert "macro-F1" not in headings
    figure = scores(table)
    assert figure is not None
    assert figure.summary.startswith("Macro-F1 in percent")
    (plain,) = build_tables(build_rows(board_records.runs("m", SETS)))
    assert not any("macro-F1" in note for note in plain.notes)
    headings = {field.heading: field.text(plain.lines[0]) for field in plain.fields("markdown")}
    assert headings["macro-F1"] == "61.0"
    assert "accuracy" not in headings


def test_a_contaminated_learner_is_named_with_the_reason(board_records):
    facts = {"contamination": {"minilm": "it was trained on these pairs"}}
    rows = build_rows(board_records.runs("m", SETS, **facts))
    assert pick(rows, learner="minilm")["contamination"] == ("it was trained on these pairs",)
    assert pick(rows, learner="textcnn")["contamination"] == ()
    page = markdown_text(build_tables(rows))
    assert "minilm is CONTAMINATED: it was trained on these pairs." in page
    rows = build_rows(board_records.runs("m", SETS, distil_contamination="its encoder was"))
    assert "Made with CONTAMINATED features (m): its encoder was." in markdown_text(build_tables(rows))


def test_a_set_from_a_file_is_marked_unranked_and_its_cost_unknown(board_records):
    sets = {"minilm": [[0.6, 0.7, 0.8]]}
    records = board_records.runs(
        "mine", sets, deterministic=True, external=True, family="external", distil_cost=(), reference=False
    )
    row = pick(build_rows(records), learner="minilm")
    assert (row["ranked"], row["complete"], row["distil_wall_s"]) == (False, True, None)
    assert row["unranked_reason"].startswith("external:")
    (table,) = build_tables([row])
    assert table.lines[0].name == "mine (external)"
    assert {f.heading: f.text(table.lines[0]) for f in table.fields("markdown")}["distil time"] == MISSING
