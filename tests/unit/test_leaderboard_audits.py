"""Audits on the rows of the board: joined with their own method, and hidden where they are not to be believed."""

from __future__ import annotations

import pytest

from tdbench.leaderboard.audits import Audits
from tdbench.leaderboard.fields import COLUMNS
from tdbench.leaderboard.rows import build_rows
from tests.unit.audit_results import ATTACK, RESULT


@pytest.fixture
def audited(board_records):
    """Sets of a method, an audit of it, and a function that changes the audit."""
    records = board_records.runs("m", {"minilm": [[0.5], [0.6], [0.7]], "textcnn": [[0.5], [0.6], [0.7]]})
    attack = ATTACK.model_copy(update={"null_p": 0.5})
    result = RESULT.model_copy(update={"attacks": (attack,), "epsilon_claim": 0.1})
    train = next(record for record in records if record.stage == "train")

    def audit(cell: dict | None = None, **changes):
        about = train.cell.model_copy(update={"set_index": 0, **(cell or {})})
        parts = {"stage": "audit", "id": "a", "train": None, "learner": "minilm", "audit": result, "cell": about}
        return train.model_copy(update={**parts, "seed_index": None, **changes})

    return records, result, audit


def rows_by_learner(records):
    return {row["learner"]: row for row in build_rows(records)}


def test_an_audit_stands_on_the_rows_of_its_method(audited):
    records, result, audit = audited
    rows = rows_by_learner([*records, audit()])
    for learner in ("minilm", "textcnn"):
        assert rows[learner]["t1_auc"] == result.attacks[0].auc
        assert (rows[learner]["t1_exact_matches"], rows[learner]["audit_id"]) == (40, "a")
        assert rows[learner]["t1_members"] == min(result.n_member_rows)  # the run with the largest share
        assert rows[learner]["claim_refuted"]
    texts = {column.key: column.show(rows["minilm"]) for column in COLUMNS}
    assert texts["copied"] == "40 of 40"
    assert texts["t1_auc"].startswith(f"{result.attacks[0].auc:.3f} [")
    assert texts["t2_auc"] == "–"
    assert texts["epsilon_lower"] == f"{result.epsilon_lower:.2f}"
    assert texts["epsilon"] == "–"  # the distil records promise nothing
    private = rows["minilm"] | {"epsilon": 0.1}
    assert next(c for c in COLUMNS if c.key == "epsilon").show(private) == "0.1 REFUTED"


@pytest.mark.parametrize(
    "other",
    [
        {"data_fingerprint": "another"},
        {"method_version": 9},
        {"budget": "dpc1"},
        {"source": {"name": "x"}},
        {"task": "t"},
    ],
)
def test_an_audit_of_something_else_stands_nowhere(audited, other):
    records, _, audit = audited
    assert rows_by_learner([*records, audit(other)])["minilm"]["t1_auc"] is None


def test_custom_and_failed_audits_stay_off_the_board(audited):
    records, _, audit = audited
    for one in (audit(custom=True), audit(status="failed")):
        assert rows_by_learner([*records, one])["minilm"]["t1_auc"] is None


def test_newer_code_and_more_games_come_first(audited):
    records, result, audit = audited
    both = audit(id="both", audit=result.model_copy(update={"games": ("text", "model")}), created="2020")
    newer = audit(id="newer", audit=result.model_copy(update={"audit_version": 2}), created="2019")
    assert rows_by_learner([*records, audit(), both])["minilm"]["audit_id"] == "both"
    assert rows_by_learner([*records, audit(), both, newer])["minilm"]["audit_id"] == "newer"


def test_a_null_run_that_leaks_makes_the_audit_invalid(audited):
    records, result, audit = audited
    leaky = result.attacks[0].model_copy(update={"null_p": 1e-4, "null_auc": 0.6})
    row = rows_by_learner([*records, audit(audit=result.model_copy(update={"attacks": (leaky,)}))])["minilm"]
    assert row["t1_invalid"]
    assert not row["claim_refuted"]
    shown = {column.key: column.show(row) for column in COLUMNS}
    assert (shown["t1_auc"], shown["epsilon_lower"]) == ("invalid", "invalid")
    # Twenty audits: one small p value among them is chance.
    chance = result.attacks[0].model_copy(update={"null_p": 0.01})
    many = [
        audit(
            {"method": f"m{i}"},
            id=f"a{i}",
            audit=result.model_copy(update={"attacks": (chance if i == 0 else result.attacks[0],)}),
        )
        for i in range(20)
    ]
    assert not any(one.invalid for one in Audits(many)._by_key.values())
