"""Public texts: other tasks' sentences, in equal shares, the same for every method and budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tdbench.bench.data.public import MOST_TEXTS, WORDS, public_pool
from tdbench.bench.data.task import Task
from tdbench.bench.errors import PrerequisiteError
from tdbench.bench.registry import TASKS


def pool_of(name, kind, root):
    task = TASKS.get(name)()
    return public_pool(task, [TASKS.get(other)() for other in task.public], kind, root)


@pytest.fixture(scope="module")
def pool():
    return pool_of("sst2", "standin", None)


def test_texts_are_different_sentences_of_usual_length_from_the_tasks_that_are_named(pool):
    assert 1_000 < len(pool.texts) <= MOST_TEXTS
    assert len({text.lower() for text in pool.texts}) == len(pool.texts)
    assert all(len(text.split()) in WORDS for text in pool.texts)
    named = [one.name for one in pool.resources]
    assert named == [f"train texts of {name}, no labels" for name in TASKS.get("sst2").public]
    assert all(one.overlap for one in pool.resources)


def test_the_pool_is_the_same_every_time_and_differs_between_tasks(pool):
    assert pool_of("sst2", "standin", None).fingerprint == pool.fingerprint
    assert pool_of("agnews", "standin", None).fingerprint != pool.fingerprint


def test_rows_have_the_fields_of_the_task_and_no_label(pool):
    single = pool.rows(("sentence",), np.array([3, 1]))
    pair = pool.rows(("premise", "hypothesis"), np.array([0, len(pool.texts) - 1]))
    assert single.fields == {"sentence": [pool.texts[3], pool.texts[1]]}
    assert pair.fields["hypothesis"] == [pool.texts[1], pool.texts[0]]
    assert set(single.labels_N.tolist()) == {-1}


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_names_others_that_exist_and_not_itself(name):
    public = TASKS.get(name).public
    assert public
    assert set(public) <= set(TASKS.names()) - {name}
    assert not any(TASKS.get(other).facts.obtain for other in public)  # nobody must ask for public texts
    related = {"sst2", "rotten_tomatoes"}
    assert name not in related or not related & set(public)  # the same reviews


def test_missing_files_and_missing_names_are_prerequisites(tmp_path):
    with pytest.raises(PrerequisiteError, match="agnews"):
        pool_of("sst2", "local", tmp_path)

    class Lonely(Task):
        name = "lonely"

    with pytest.raises(PrerequisiteError, match="task 'lonely' names no tasks whose texts are public"):
        public_pool(Lonely(), [], "standin", None)


def test_real_texts_are_not_mixed_with_stand_ins(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "ag_news").mkdir()
    frame = pd.DataFrame({"title": ["A b"] * 40, "description": ["c d e"] * 40, "label": [0, 1, 2, 3] * 10})
    for split in ("train", "test"):
        frame.to_parquet(tmp_path / "ag_news" / f"{split}.parquet")
    with pytest.raises(PrerequisiteError, match="public texts come from task 'imdb', whose files are missing"):
        pool_of("sst2", "auto", tmp_path)


def test_borrowed_texts_are_counted(pool):
    from tdbench.bench.distilled import DistilledSet

    single = DistilledSet.from_texts({"text": [pool.texts[0], "made up", pool.texts[5]]}, [0, 1, 0])
    pairs = DistilledSet.from_texts({"a": [pool.texts[0], pool.texts[1]], "b": [pool.texts[1], "made up"]}, [0, 1])
    assert (pool.n_texts_of(single), pool.n_texts_of(pairs)) == (2, 1)
