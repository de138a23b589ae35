"""Ids of committed records: whatever is renamed or moved, they follow from the records' content.

An id that changed would orphan every committed result: plans would no longer find it.
"""

from __future__ import annotations

import pytest

from tdbench.bench._paths import ROOT
from tdbench.bench.config import locked
from tdbench.bench.experiment.archive import read_pack
from tdbench.bench.experiment.jobs import learner_seed, set_id, train_id
from tdbench.bench.record import Record
from tdbench.bench.settings import Protocol, check_values

PACKS = sorted((ROOT / "leaderboard").glob("*/*/*/*.json"))


def derived(record: Record) -> str:
    if record.train is None:
        return set_id(record.cell)
    protocol = check_values(Protocol, record.protocol or {})
    assert check_values(Protocol, protocol.content) == protocol
    published = locked("protocol").get(protocol.name) == protocol.sha256
    return train_id(
        set_id(record.cell),
        record.train.learner_spec,
        record.train.seed_index,
        protocol=protocol.name,
        custom=None if published else protocol.sha256,
        test=record.train.test_fingerprint,
        engine_numerics=record.train.engine_numerics,
    )


def test_there_are_packs_of_both_kinds():
    assert {path.relative_to(ROOT / "leaderboard").parts[0] for path in PACKS} >= {"records", "verified"}


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.relative_to(ROOT / "leaderboard").as_posix())
def test_ids_of_sets_and_trainings_follow_from_records(path):
    records = [record for record in read_pack(path)[0].values() if record.stage in ("distil", "train")]
    assert [record.id for record in records] == [derived(record) for record in records]
    assert [record.distil_id for record in records] == [set_id(record.cell) for record in records]
    seeds = [(learner_seed(r.cell.set_index, r.train.seed_index), r.train.seed) for r in records if r.train is not None]
    assert all(expected == recorded for expected, recorded in seeds)


def test_a_changed_cell_or_seed_gives_another_id():
    record = next(r for path in PACKS for r in read_pack(path)[0].values() if r.train is not None)
    other = record.cell.model_copy(update={"set_index": record.cell.set_index + 1})
    assert derived(record.model_copy(update={"cell": other})) != record.id
    assert record.train is not None
    train = record.train.model_copy(update={"seed_index": 99})
    assert derived(record.model_copy(update={"train": train})) != record.id
