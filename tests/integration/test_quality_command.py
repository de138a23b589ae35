"""`tdbench quality` fills in what was not measured when a set was made."""

from __future__ import annotations

import json
from pathlib import Path

from tdbench.bench.experiment.archive import Archive, amend_packs, set_key, with_quality, write_packs
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import TextQuality


def test_sets_from_before_a_measure_are_measured_once_and_judgements_stay(tdbench, tmp_path):
    done = tdbench("run", "task=sst2", "method=random", "budget=dpc5", "protocol=smoke", "data.kind=standin", "sets=2")
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "runs")
    first, second = (record for record in store.records() if record.stage == "distil")
    assert first.distil is not None
    assert first.distil.quality is not None
    assert first.distil.quality.encoder is None  # smoke has no pretrained source learner
    old = TextQuality(version=0, encoder=None, values={"distinct_2": 0.123, "judge_perplexity": 99.0})
    for record in (first, second):
        assert record.distil is not None
        changed = record.model_copy(update={"distil": record.distil.model_copy(update={"quality": old})})
        store.amend("distil", record.id, lambda _, changed=changed: changed)
    found = json.loads(tdbench("quality", "sst2", "--json").stdout)
    assert found == {"measured": 2, "left_out": {}}
    for record in store.records():
        if record.distil is not None:
            quality = record.distil.quality
            assert quality is not None
            assert quality.version > 0
            assert quality.values["judge_perplexity"] == 99.0
            assert quality.values["distinct_2"] != 0.123
    again = json.loads(tdbench("quality", "--json").stdout)
    assert again == {"measured": 0, "left_out": {}}
    other = json.loads(tdbench("quality", "agnews", "--json").stdout)
    assert other["measured"] == 0


def test_packs_are_amended_in_place_and_only_for_the_same_content(tdbench, tmp_path):
    run = ("run", "task=sst2", "method=random", "budget=dpc5", "protocol=lite-v1", "data.kind=standin", "sets=1")
    assert tdbench(*run, "learners=[bow-logreg]").returncode == 0
    store, folder = Store(tmp_path / "runs"), tmp_path / "packs"
    (path,) = write_packs(store, folder, store.records())
    (distil,) = (record for record in Archive(folder).records() if record.stage == "distil")
    new = TextQuality(version=7, encoder=None, values={"distinct_2": 0.1234567})
    before = Path(path).read_text()
    amend_packs(folder, {(distil.id, "another set"): new})
    assert Path(path).read_text() == before
    amend_packs(folder, {set_key(distil): new})
    (amended,) = (record for record in Archive(folder).records() if record.stage == "distil")
    assert amended.distil is not None
    assert amended.distil.quality is not None
    assert amended.distil.quality.values["distinct_2"] == 0.1235
    assert amended == with_quality(distil, amended.distil.quality)
    assert len(Archive(folder).records()) == 2
    write_packs(store, folder, store.records())  # the run folder knows older measures: those of the pack stay
    (again,) = (record for record in Archive(folder).records() if record.stage == "distil")
    assert again == amended
