"""The committed leaderboard is what the accepted records give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench._paths import RECORDS
from bench.commands.board import build_board
from bench.experiment.packs import Accepted
from bench.metrics import score

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ("leaderboard.json", "leaderboard.csv", "LEADERBOARD.md")


def test_committed_board_equals_a_fresh_build_of_the_accepted_records(tmp_path):
    committed = json.loads((ROOT / "leaderboard" / "leaderboard.json").read_text())
    if "local runs" in committed["built_from"]:
        pytest.skip("leaderboard/ holds a board with local runs; `make leaderboard` restores the committed one")
    build_board(tmp_path / "no-runs", with_runs=False, out=tmp_path)
    for name in COMMITTED:
        assert (tmp_path / name).read_bytes() == (ROOT / "leaderboard" / name).read_bytes(), name


def test_accepted_records_hold_no_failures_no_custom_protocols_and_every_distilled_set():
    accepted = Accepted(RECORDS)
    records = accepted.records()
    assert records
    distils = {record.id for record in records if record.stage == "distil"}
    for record in records:
        assert record.status == "ok"
        assert not record.custom
        assert record.distil_id in distils
        assert record.distil_id in accepted._sets


def test_accepted_packs_hold_row_ids_and_no_text_for_selections():
    accepted = Accepted(RECORDS)
    for distil_id, packed in accepted._sets.items():
        record = accepted.get(distil_id)
        assert record is not None
        assert record.distil is not None
        if record.distil.output == "rows":
            assert "fields" not in packed


def test_accepted_accuracy_can_be_recomputed_where_the_data_are(real_task):
    """Recomputes every accepted score of a task from its stored predictions and the real test labels."""
    name, data = real_task
    accepted = [record for record in Accepted(RECORDS).records() if record.train and record.cell.task == name]
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
