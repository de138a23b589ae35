"""Audits in packs: kept without their sets, rounded, and refused where they are not the published ones."""

from __future__ import annotations

import json

import pytest

from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.archive import Archive, write_packs
from tdbench.bench.experiment.store import Store
from tests.unit.audit_results import ATTACK, ONE, RESULT


@pytest.fixture
def audit(board_records):
    record = board_records.train("m", 0, "minilm", 0, 0.5)
    parts = {"stage": "audit", "id": "a" * 16, "train": None, "seed_index": None, "set_sha256": None, "audit": RESULT}
    return record.model_copy(update={**parts, "protocol": ONE.protocol.model_dump(mode="json")})


def test_an_audit_is_packed_without_sets_and_read_back(audit, tmp_path):
    (path,) = write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [audit])
    assert path.parts[-3:] == ("lite-v1", audit.cell.task, "m.json")
    (found,) = Archive(tmp_path / "packs").records()
    assert found.audit.attacks[0].auc == 0.512346
    assert found.audit.epsilon_lower == 2.12346
    left_out = {"attacks": (), "coin_tests": (), "epsilon_lower": 0}
    assert found.audit.model_copy(update=left_out) == RESULT.model_copy(update=left_out)
    before = path.read_bytes()
    assert write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [found]) == [path]
    assert path.read_bytes() == before


def test_a_newer_audit_takes_the_place_of_an_older_one_of_the_same_games(audit, tmp_path):
    newer = audit.model_copy(update={"id": "b" * 16, "audit": RESULT.model_copy(update={"audit_version": 2})})
    other = audit.model_copy(
        update={"id": "c" * 16, "audit": RESULT.model_copy(update={"settings": {**RESULT.settings, "name": "model"}})}
    )
    write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [audit, newer, other.model_copy(update={"custom": True})])
    assert [record.id for record in Archive(tmp_path / "packs").records()] == ["b" * 16]


@pytest.mark.parametrize(
    "change", [{"pool_rows": 300}, {"runs": {"seconds": 2, "minutes": 2, "hours": 1}}, {"name": "x"}]
)
def test_an_audit_that_is_not_the_published_one_is_refused(audit, tmp_path, change):
    (path,) = write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [audit])
    raw = json.loads(path.read_text())
    raw["records"][0]["audit"]["settings"] |= change
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError, match="its protocol or audit is not the published one"):
        Archive(tmp_path / "packs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_members": []}, "different lengths"),
        ({"n_member_rows": []}, "n_member_rows"),
        ({"epsilon_lower": 0.1}, "not the largest"),
        ({"attacks": [{**ATTACK.model_dump(mode="json"), "auc_high": 1e9}]}, "auc_high"),
        ({"attacks": [{**ATTACK.model_dump(mode="json"), "roc_tpr": [0.5]}]}, "expected 31 values"),
        ({"attacks": [ATTACK.model_dump(mode="json")] * 2}, "headline"),
    ],
)
def test_numbers_that_no_audit_has_are_refused(audit, tmp_path, changes, message):
    (path,) = write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [audit])
    raw = json.loads(path.read_text())
    raw["records"][0]["audit"] |= changes
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message):
        Archive(tmp_path / "packs")


def test_an_audit_without_result_or_protocol_is_refused(audit, tmp_path):
    (path,) = write_packs(Store(tmp_path / "runs"), tmp_path / "packs", [audit])
    for key in ("audit", "protocol"):
        raw = json.loads(path.read_text())
        del raw["records"][0][key]
        path.with_name("other.json").write_text(json.dumps(raw))
        with pytest.raises(RecordError, match="holds its result and its protocol"):
            Archive(tmp_path / "packs")
