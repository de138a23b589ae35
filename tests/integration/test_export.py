"""`tdbench export`: a set becomes a folder that `datasets.load_dataset` reads, with a card that says where it comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from tdbench.bench._paths import RECORDS
from tdbench.bench.commands.export import RECORD, TENSORS, _write
from tdbench.bench.distilled import DistilledSet, SoftInputs
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.registry import TASKS


def loaded(folder: Path):
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder.parent / "cache"
    try:
        return datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))["train"]
    finally:
        datasets.config.HF_DATASETS_CACHE = before


def accepted_set(**wanted):
    found = Archive(RECORDS)
    return next(
        record
        for record in found.records()
        if record.stage == "distil" and all(getattr(record.cell, key) == value for key, value in wanted.items())
    )


def card_of(folder: Path) -> tuple[dict[str, object], str]:
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), body


def test_sets_of_a_run_are_exported_with_their_texts_and_scores(tdbench, tmp_path):
    words = ("-m", "task=agnews", "suite=smoke", "method=random,trigram", "budget=dpc1", "data.kind=standin")
    assert tdbench("run", *words).returncode == 0
    sets = {}
    for path in (tmp_path / "runs" / "distil").glob("*/record.json"):
        record = json.loads(path.read_text())
        sets[record["cell"]["method"]] = record["id"]
    for method in ("random", "trigram"):
        out = tmp_path / method
        done = tdbench("export", sets[method], "--out", str(out), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"folder": str(out), "n_rows": 4, "id": sets[method]}
        rows = loaded(out)
        assert rows.features["label"].names == ["World", "Sports", "Business", "Sci/Tech"]
        assert sorted(rows["label"]) == [0, 1, 2, 3]
        assert all(text.strip() for text in rows["text"])
        front, body = card_of(out)
        assert front["configs"] == [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}
        ]
        assert "stand-in corpus, not for real data" in body
        assert f"method={method} budget=dpc1" in body
        assert "| smoke | bow-logreg | accuracy |" in body
        assert json.loads((out / RECORD).read_text())["id"] == sets[method]
        assert sorted(path.name for path in out.iterdir()) == ["README.md", "data", RECORD]
    assert "rows of the train split" in (tmp_path / "random" / "README.md").read_text()
    assert "The texts are **new**" in (tmp_path / "trigram" / "README.md").read_text()


def test_generated_sets_of_the_accepted_results_need_no_data(tdbench_all, tmp_path):
    record = accepted_set(task="agnews", method="synalign", set_index=0)
    done = tdbench_all("export", record.id[:10], "--out", "made")
    assert done.returncode == 0, done.stderr
    rows = loaded(tmp_path / "made")
    assert len(rows) == 40
    _, body = card_of(tmp_path / "made")
    assert "| lite-v1 | minilm | accuracy |" in body


def test_selections_of_the_accepted_results_need_the_same_data(tdbench_all, tmp_path):
    record = accepted_set(task="sst2", method="kmeans", set_index=0)
    done = tdbench_all("export", record.id, "--out", "made")
    assert done.returncode == 3
    assert "TDBENCH_DATA" in done.stderr
    assert not (tmp_path / "made").exists()
    if folder := os.environ.get("TDBENCH_DATA"):
        assert tdbench_all("export", record.id, "--out", "made", TDBENCH_DATA=folder).returncode == 0
        assert len(loaded(tmp_path / "made")) == sum(record.distil.rows_per_class)


def test_what_was_not_kept_and_what_is_no_set_are_refused(tdbench_all, tmp_path):
    vectors = accepted_set(task="agnews", method="meta")
    done = tdbench_all("export", vectors.id, "--out", "made")
    assert done.returncode == 3
    assert "was not kept" in done.stderr
    assert tdbench_all("export", "ffffffffffffffff", "--out", "made").returncode == 2
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    taken = tdbench_all("export", vectors.id, "--out", "taken")
    assert taken.returncode == 2
    assert "not an empty folder" in taken.stderr
    assert (tmp_path / "taken" / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["soft", "vectors"])
def test_soft_labels_weights_and_token_vectors_are_exported(tmp_path, kind):
    record = accepted_set(task="sst2", method="synalign", set_index=0)
    task = TASKS.get("sst2")()
    if kind == "soft":
        made = DistilledSet.from_texts(
            {"sentence": ["good", "bad"]},
            [1, 0],
            soft_labels_MC=np.array([[0.2, 0.8], [0.9, 0.1]], np.float32),
            weights_M=np.array([1.0, 2.0], np.float32),
        )
    else:
        vectors = SoftInputs(np.ones((3, 4), np.float32), np.array([[1], [2]]), "minilm")
        made = DistilledSet.from_vectors(vectors, [1, 0])
    _write(tmp_path / "made", made, record, task, [])
    rows = loaded(tmp_path / "made")
    assert rows["label"] == [1, 0]
    if kind == "soft":
        assert np.allclose(rows["soft_label"], made.soft_labels_MC)
        assert rows["weight"] == [1.0, 2.0]
    else:
        from safetensors.numpy import load_file

        assert load_file(tmp_path / "made" / TENSORS)["vectors"].shape == (3, 4)
        assert "mean nothing to any other" in (tmp_path / "made" / "README.md").read_text()
