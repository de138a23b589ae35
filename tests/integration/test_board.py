"""The committed leaderboard is what the accepted records give."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tdbench.bench._paths import RECORDS
from tdbench.bench.commands.board import build_board
from tdbench.bench.config import settings_for
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.metrics import score
from tdbench.bench.registry import METHODS
from tdbench.leaderboard.audits import Audits
from tdbench.leaderboard.measures import run_command

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ("leaderboard.json", "leaderboard.csv", "LEADERBOARD.md", "leaderboard.schema.json")
TABLES = ROOT / "leaderboard" / "tables"


def test_committed_board_equals_a_fresh_build_of_the_accepted_records(tmp_path):
    committed = json.loads((ROOT / "leaderboard" / "leaderboard.json").read_text())
    if "local runs" in committed["built_from"]:
        pytest.skip("leaderboard/ holds a board with local runs; `make leaderboard` restores the committed one")
    build_board(tmp_path / "no-runs", with_runs=False, out=tmp_path)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {path.name for path in TABLES.iterdir()}
    for name in (*COMMITTED, *(f"tables/{path.name}" for path in TABLES.iterdir())):
        assert (tmp_path / name).read_bytes() == (ROOT / "leaderboard" / name).read_bytes(), name


def test_accepted_records_hold_no_failures_no_custom_protocols_and_every_distilled_set():
    accepted = Archive(RECORDS)
    records = accepted.records()
    assert records
    distils = {record.id for record in records if record.stage == "distil"}
    for record in records:
        assert record.status == "ok"
        assert not record.custom
        assert record.distil_id in distils
        assert record.distil_id in accepted._sets


def test_accepted_packs_hold_no_text_of_data_sets():
    accepted = Archive(RECORDS)
    for distil_id, packed in accepted._sets.items():
        record = accepted.get(distil_id)
        assert record is not None
        assert record.distil is not None
        if record.distil.output == "rows" or record.distil.n_public_exact:
            assert "fields" not in packed


def accepted_audits():
    return [record for record in Archive(RECORDS).records() if record.audit is not None]


def test_no_accepted_audit_finds_members_where_there_are_none():
    audits = accepted_audits()
    assert audits
    assert not any(audit.invalid for audit in Audits(audits)._by_key.values())
    assert {record.audit.exact_null for record in audits} <= {0, None}


def test_accepted_audits_of_selections_count_what_arithmetic_says():
    """Every released row is a member's, and the AUC of copies is 0.5 + M / 2n."""
    checked = 0
    for record in accepted_audits():
        found = record.audit
        if record.method_facts.family != "coreset":
            continue
        assert found.exact_members == found.n_released
        exact = next(attack for attack in found.attacks if attack.name == "exact")
        expected = np.mean([0.5 + m / (2 * n) for m, n in zip(found.n_released, found.n_members, strict=True)])
        assert exact.auc == pytest.approx(expected, abs=2e-3)
        checked += 1
    assert checked


def test_accepted_audits_made_four_pairs_or_one_run():
    for record in accepted_audits():
        assert len(record.audit.n_members) == (1 if record.method_facts.cost_class == "hours" else 8)
        headlines = {attack.name for attack in record.audit.attacks if attack.headline}
        assert headlines <= {"bigram-lm", "nearest", "logit-difference"}


def test_accepted_accuracy_can_be_recomputed_where_the_data_are(real_task):
    """Recomputes every accepted score of a task from its stored predictions and the real test labels."""
    name, data = real_task
    accepted = [record for record in Archive(RECORDS).records() if record.train and record.cell.task == name]
    if not accepted:
        pytest.skip(f"no accepted records of {name} yet")
    checked = 0
    for record in accepted:
        if record.cell.data_fingerprint != data.fingerprint:
            continue
        test = data.test_draw(record.protocol["test_rows"])
        assert record.train.test_fingerprint == test.fingerprint
        again = score(np.array(record.train.predictions), test.labels_N, test.n_classes)
        assert again["accuracy_frac"] == pytest.approx(record.train.accuracy_frac, abs=1e-12)
        assert again["macro_f1_frac"] == pytest.approx(record.train.macro_f1_frac, abs=1e-12)
        checked += 1
    assert checked


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_of_every_accepted_row_with_options_says_what_was_run(whole):
    """Of every row, or of one for each method and names of options."""
    checked = 0
    seen = set()
    for record in Archive(RECORDS).records():
        if record.stage != "train" or not record.cell.options:
            continue
        assert record.protocol is not None
        command = run_command(record.cell, record.protocol["name"])
        kind = command if whole else (record.cell.method, tuple(record.cell.options))
        if kind in seen:
            continue
        seen.add(kind)
        words = shlex.split(command)
        assert words[:2] == ["tdbench", "run"]
        (one,) = settings_for(words[2:])
        cell = record.cell
        assert (one.task_name, one.method_name, one.protocol.name) == (cell.task, cell.method, record.protocol["name"])
        config = METHODS.get(cell.method).Config(**one.method_options).model_dump(mode="json")
        assert {key: config[key] for key in cell.options} == cell.options
        assert (cell.budget == "all") or one.budget.per_class == cell.per_class
        checked += 1
    assert checked > (20 if whole else 10)
