"""The two privacy figures, and an audit in words."""

from __future__ import annotations

import pytest

from tdbench.bench.commands.audit import audit_lines
from tdbench.bench.commands.show import draw_curves
from tdbench.bench.record import ROC_FPR
from tdbench.leaderboard.drawing import SERIES, inline_svg
from tdbench.leaderboard.figures import privacy, roc
from tdbench.leaderboard.page import render_page
from tdbench.leaderboard.rows import build_rows, find
from tdbench.leaderboard.tables import build_tables
from tests.unit.audit_results import ATTACK, RESULT
from tests.unit.svg_marks import corners, marks

AUDITED = {"m": (0.50, 0.510), "n": (0.60, 0.540), "void": (0.70, 0.600)}
CURVE = tuple(max(rate, 0.02) for rate in ROC_FPR)


@pytest.fixture
def records(board_records):
    """Three audited methods, of which one's null run leaks, and one that nobody audited."""
    made = board_records.runs("unaudited", {"minilm": [[0.9]] * 3})
    for name, (accuracy, auc) in AUDITED.items():
        own = board_records.runs(name, {"minilm": [[accuracy]] * 3})
        attack = ATTACK.model_copy(
            update={"auc": auc, "auc_low": auc - 0.02, "auc_high": auc + 0.02, "roc_tpr": CURVE, "null_p": 0.5}
        )
        if name == "void":
            attack = attack.model_copy(update={"null_p": 1e-6})
        train = next(record for record in own if record.stage == "train")
        audit = {
            "stage": "audit",
            "id": f"audit-{name}",
            "train": None,
            "audit": RESULT.model_copy(update={"attacks": (attack,)}),
        }
        made += [*own, train.model_copy(update=audit)]
    return made


@pytest.fixture
def table(records):
    (table,) = build_tables(build_rows(records))
    return table


CURVES = {f"audit-{name}": CURVE for name in AUDITED}


def test_the_plane_has_a_point_for_every_audit_that_is_believed(table):
    plane = privacy(table)
    assert [(line.number, line.name) for line in plane.key] == [("1", "n"), ("2", "m")]
    assert plane.key[1].text == "50.0, AUC 0.510 [0.490, 0.530], copies 40 of 40 texts"
    svg = inline_svg(plane)
    (n, m) = (marks(svg)[title] for title in plane.titles)
    assert m[0] < n[0]
    assert m[1] > n[1]  # a better score stands higher
    assert m[2] == n[2] == "rect"  # both copy texts
    assert ">0.5</text>" in svg
    assert "stroke-dasharray" in svg


def test_curves_begin_where_they_can_be_believed_and_end_in_the_corner(table):
    attack = roc(table, CURVES)
    assert [(line.name, line.curve) for line in attack.key] == [("n", 0), ("m", 1)]  # in the order of the table
    svg = inline_svg(attack)
    left, bottom, right, top = attack.margins
    width, height = attack.size
    points = corners(svg.replace("H", "L"), "n")
    assert points[0][0] == left
    assert points[-1] == (width - right, top)
    # 2 % is found at 1 % of false alarms: log 2 / log 100 of the way up.
    assert points[0][1] == pytest.approx(height - bottom - 0.1505 * (height - bottom - top), abs=0.2)


def test_fewer_than_two_audits_draw_nothing(records):
    kept = [record for record in records if record.stage != "audit" or record.id == "audit-m"]
    (table,) = build_tables(build_rows(kept))
    assert privacy(table) is None
    assert roc(table, {"audit-m": CURVE}) is None


def test_curves_are_those_of_default_options_and_repeat_colours_dashed(board_records):
    made = []
    result = RESULT.model_copy(update={"attacks": (ATTACK.model_copy(update={"null_p": 0.5, "roc_tpr": CURVE}),)})
    for number in range(12):
        options = {"x": 1} if number == 11 else {}
        own = board_records.runs(f"m{number}", {"minilm": [[0.5]] * 3}, options=options)
        train = next(record for record in own if record.stage == "train")
        made += [*own, train.model_copy(update={"stage": "audit", "id": f"a{number}", "train": None, "audit": result})]
    (table,) = build_tables(build_rows(made))
    attack = roc(table, {f"a{number}": CURVE for number in range(12)})
    assert [line.dashed for line in attack.key] == [False] * len(SERIES) + [True] * (11 - len(SERIES))
    assert inline_svg(attack).count("stroke-dasharray") == 4  # guessing, and three curves that repeat a colour


def test_the_page_draws_them_and_says_so_without_a_picture(records):
    board = find(records)
    page = render_page(build_tables(board.rows), board, [], CURVES)
    kinds = ("scores", "pareto", "privacy", "roc")
    assert [page.count(f'<figure class="fig-{kind}"') for kind in (*kinds, "heat")] == [1, 1, 1, 1, 0]
    assert 'aria-label="Utility against leakage: accuracy, minilm by AUC of membership inference on the set;' in page
    assert "m: 50.0, AUC 0.510 [0.490, 0.530], copies 40 of 40 texts" in page
    assert '["invalid"' in page


def test_an_audit_in_words_begins_with_the_copies():
    private = RESULT.model_copy(update={"epsilon_claim": 1.0, "notes": ("seen",)})
    lines = audit_lines("title", private)
    assert lines[0].startswith("title: 2 runs, ")
    assert "40 of 1,096 rows that it was made from (0 non-members), in a set of 40" in lines[1]
    assert "bigram-lm (headline)" in lines[2]
    assert "would have found 0.520" in lines[2]
    assert any("1 of 1 right" in line and "empirical epsilon lower bound 2.12" in line for line in lines)
    assert lines[-2:] == ["  promised epsilon 1.0: REFUTED", "  note: seen"]
    deaf = ATTACK.model_copy(update={"auc": 0.5, "detectable_auc": None})
    assert (
        "nothing: all candidates score the same" in audit_lines("t", RESULT.model_copy(update={"attacks": (deaf,)}))[2]
    )


def test_curves_of_an_audit_are_drawn_into_a_file(records, tmp_path):
    audit = next(record for record in records if record.stage == "audit")
    draw_curves(audit, tmp_path / "roc.svg")
    text = (tmp_path / "roc.svg").read_text()
    assert text.count("<path") > 10
