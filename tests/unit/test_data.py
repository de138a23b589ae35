"""Loading: what comes out of good files, and one clear error for each way in which they can be bad."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbench.bench.budget import Budget
from tdbench.bench.data import sources
from tdbench.bench.data.loading import TaskData, check_size, load_task, stratified_draw
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import DataError, PrerequisiteError, UsageError
from tdbench.bench.registry import TASKS

ROOT = Path(__file__).resolve().parents[2]
AGNEWS, SST2 = TASKS.get("agnews"), TASKS.get("sst2")


def news(n_rows: int, tag: str = "a", label: int | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "title": [f"Title {tag}{i}" for i in range(n_rows)],
            "description": [f"says {tag}{i}." for i in range(n_rows)],
            "label": [i % 4 if label is None else label for i in range(n_rows)],
        }
    )


def write(root: Path, train: pd.DataFrame, test: pd.DataFrame | None = None) -> Path:
    (root / "ag_news").mkdir(exist_ok=True)
    train.to_parquet(root / "ag_news" / "train.parquet")
    (news(20, "t") if test is None else test).to_parquet(root / "ag_news" / "test.parquet")
    return root


def load(root: Path | None) -> TaskData:
    return load_task(AGNEWS(), "local", root)


def test_title_and_description_become_one_text(tmp_path):
    data = load(write(tmp_path, news(80)))
    assert set(data.train.fields) == {"text"}
    row = int(data.train.row_ids_N[5])
    assert data.train.fields["text"][5] == f"Title a{row} says a{row}."
    assert data.train.labels_N[5] == row % 4
    assert data.train.label_names == AGNEWS.label_names
    assert data.test.fields["text"][0] == "Title t0 says t0."


def test_a_file_that_has_the_joined_text_already_loads_as_it_is(tmp_path):
    joined = news(80).assign(text=lambda f: f.title + " " + f.description)[["text", "label"]]
    (tmp_path / "b").mkdir()
    assert load(write(tmp_path, joined)).fingerprint == load(write(tmp_path / "b", news(80))).fingerprint


def test_a_task_reads_the_files_that_it_names(tmp_path):
    (tmp_path / "sst2").mkdir()
    frame = pd.DataFrame({"sentence": [f"phrase {i}" for i in range(30)], "label": [i % 2 for i in range(30)]})
    frame.to_parquet(tmp_path / "sst2" / "train.parquet")
    frame.iloc[:10].to_parquet(tmp_path / "sst2" / "validation.parquet")
    data = load_task(SST2(), "local", tmp_path)
    assert (len(data.train) + len(data.validation), len(data.test)) == (30, 10)
    assert set(data.train.fields) == {"sentence"}


def test_hidden_validation_is_disjoint_from_train_and_stratified(tmp_path):
    frame = pd.concat([news(60, "x", label=0), news(20, "y", label=1), news(10, "z", label=2), news(10, "w", label=3)])
    data = load(write(tmp_path, frame.reset_index(drop=True)))
    train, held = set(data.train.row_ids_N.tolist()), set(data.validation.row_ids_N.tolist())
    assert not train & held
    assert train | held == set(range(100))
    assert np.bincount(data.validation.labels_N).tolist() == [6, 2, 1, 1]
    assert not set(data.train.joined()) & set(data.validation.joined())


def test_hidden_validation_never_exceeds_two_thousand_rows(tmp_path):
    assert len(load(write(tmp_path, news(24_000))).validation) == 2_000


def test_loading_twice_gives_the_same_split_and_fingerprint(tmp_path):
    first, second = load(write(tmp_path, news(80))), load(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert first.validation.row_ids_N.tolist() == second.validation.row_ids_N.tolist()


@pytest.mark.parametrize(
    ("split", "column", "value"),
    [("train", "title", "Another"), ("test", "description", "other"), ("train", "label", 3), ("test", "label", 2)],
)
def test_the_fingerprint_changes_when_one_cell_of_a_file_changes(tmp_path, split, column, value):
    frames = {"train": news(80), "test": news(20, "t")}
    before = load(write(tmp_path, **frames))
    frames[split].loc[4, column] = value
    after = load(write(tmp_path, **frames))
    assert after.fingerprint != before.fingerprint
    assert (after.test.fingerprint == before.test.fingerprint) == (split == "train")


@pytest.mark.parametrize("change", ["order", "row_ids", "label_names", "field_name"])
def test_the_fingerprint_of_a_split_covers_more_than_its_words(change):
    def text(fields=None, names=("no", "yes"), rows=(0, 1), labels=(0, 1)) -> LabelledText:
        return LabelledText(fields or {"text": ["a", "b"]}, np.array(labels), names, np.array(rows))

    other = {
        "order": text({"text": ["b", "a"]}, labels=(1, 0), rows=(1, 0)),
        "row_ids": text(rows=(0, 2)),
        "label_names": text(names=("yes", "no")),
        "field_name": text({"sentence": ["a", "b"]}),
    }[change]
    assert text().fingerprint == text().fingerprint
    assert other.fingerprint != text().fingerprint


def test_fewer_rows_than_the_official_release_are_called_a_subset(tmp_path):
    data = load(write(tmp_path, news(80), news(7_600, "t")))
    assert data.data_kind == "real-subset"
    assert data.notes == ("train is a SUBSET: 80 of the official 120,000 rows (0.1%)",)


def test_the_test_draw_is_fixed_stratified_and_the_whole_split_where_that_is_smaller(tmp_path):
    data = load(write(tmp_path, news(80), news(400, "t")))
    draw = data.test_draw(40)
    assert np.bincount(draw.labels_N).tolist() == [10, 10, 10, 10]
    assert draw.fingerprint == load(tmp_path).test_draw(40).fingerprint
    assert data.test_draw(None) is data.test_draw(400) is data.test_draw(9_999) is data.test


def bad(**columns: object) -> pd.DataFrame:
    return news(80).assign(**columns)


LABELS = news(80)["label"].tolist()
TITLES = news(80)["title"].tolist()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        pytest.param(news(80).drop(columns="label"), r"column is missing \(.*label.*has: title, description", id="no label"),
        pytest.param(news(80).drop(columns="title"), r"column is missing \(.*title.*has: description, label", id="no text"),
        pytest.param(bad(label=[7, *LABELS[1:]]), r"row 0 has label .*7.*; expected a class id 0\.\.3", id="7"),
        pytest.param(bad(label=[4, *LABELS[1:]]), r"row 0 has label .*4.*; expected a class id 0\.\.3", id="4"),
        pytest.param(bad(label=[*LABELS[:-1], -1]), r"row 79 has label .*-1.*; expected a class id 0\.\.3", id="-1"),
        pytest.param(bad(label=["Sports"] * 80), r"row 0 has label 'Sports'; expected a class id", id="string"),
        pytest.param(bad(label=[None, *LABELS[1:]]), r"row 0 has label .*nan.*; expected a class id", id="null label"),
        pytest.param(bad(title=[*TITLES[:3], None, *TITLES[4:]]), r"row 3, field 'text' is .*; expected text", id="null"),
        pytest.param(news(80).query("label != 2"), r"class 'Business' \(id 2\) has no rows", id="empty class"),
        pytest.param(news(4).iloc[:0], r"class 'World' \(id 0\) has no rows", id="no rows"),
        pytest.param(news(120_001), r"120,001 rows, more than the 120,000 of the official", id="too many rows"),
    ],
)  # fmt: skip
def test_a_bad_table_is_refused_with_task_split_and_reason(tmp_path, train, message):
    with pytest.raises(DataError, match=message) as caught:
        load(write(tmp_path, train))
    assert "task 'agnews'" in str(caught.value)
    assert "train split" in str(caught.value).replace("the train split has", "train split")


def test_a_bad_test_split_is_called_the_test_split(tmp_path):
    with pytest.raises(DataError, match=r"test split .*row 2 has label"):
        load(write(tmp_path, news(80), news(20).assign(label=[0, 1, 9, 3] * 5)))


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1 cut off PAR1"])
@pytest.mark.parametrize("kind", ["local", "auto"])
def test_a_corrupt_file_is_named_and_never_replaced_by_another_source(tmp_path, content, kind):
    path = write(tmp_path, news(80)) / "ag_news" / "train.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no readable parquet file") as caught:
        load_task(AGNEWS(), kind, tmp_path)
    assert str(path) in str(caught.value)


def test_a_class_smaller_than_the_budget_is_refused_with_both_numbers(tmp_path):
    frame = pd.concat([news(80), news(2, "x", label=1)], ignore_index=True).query("label != 3 or title == 'Title a3'")
    data = load(write(tmp_path, frame))
    check_size(data, Budget("dpc1", per_class=1))
    with pytest.raises(DataError, match=r"class 'Sci/Tech' has 1 train rows, fewer than the 5 of budget dpc5"):
        check_size(data, Budget("dpc5", per_class=5))


def test_without_a_data_folder_local_data_are_a_missing_prerequisite():
    with pytest.raises(PrerequisiteError, match=r"set TDBENCH_DATA=FOLDER with ag_news/train\.parquet") as caught:
        load(None)
    assert caught.value.exit_code == 3


def test_a_missing_file_is_a_missing_prerequisite_named_by_its_path(tmp_path):
    (write(tmp_path, news(80)) / "ag_news" / "test.parquet").unlink()
    with pytest.raises(PrerequisiteError, match="put them there") as caught:
        load(tmp_path)
    assert str(tmp_path / "ag_news" / "test.parquet") in str(caught.value)
    assert "train.parquet" not in str(caught.value)


def test_an_unknown_kind_of_data_is_a_usage_error():
    with pytest.raises(UsageError, match=r"data\.kind is 'web'; expected auto, local, hub or standin"):
        load_task(AGNEWS(), "web", None)  # type: ignore[arg-type]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty Hub cache and no network; returns the cache folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    sources.hub_reachable.cache_clear()
    yield tmp_path / "hub"
    sources.hub_reachable.cache_clear()


def fill_hub_cache(folder: Path) -> None:
    hub = AGNEWS.hub
    assert hub is not None
    repo = folder / f"datasets--{hub.repo.replace('/', '--')}"
    for split, name in hub.files.items():
        path = repo / "snapshots" / hub.revision / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = news(40, f"hub-{split}")
        frame.assign(text=frame.title)[["text", "label"]].to_parquet(path)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(hub.revision)


def test_auto_prefers_local_files_then_the_hub_cache_then_the_stand_in(tmp_path, offline, monkeypatch):
    monkeypatch.setattr(sources, "STANDIN_ROWS", {"train": 200, "test": 100})
    nothing = load_task(AGNEWS(), "auto", tmp_path)
    fill_hub_cache(offline)
    cached = load_task(AGNEWS(), "auto", tmp_path)
    local = load_task(AGNEWS(), "auto", write(tmp_path, news(80)))
    assert (nothing.data_kind, nothing.notes) == ("standin", ())
    assert "stand-in" in nothing.origin
    assert cached.test.joined()[0] == "Title hub-test0"
    assert f"Hub fancyzhx/ag_news@{AGNEWS.hub.revision[:8]}" in cached.origin
    assert local.test.joined()[0] == "Title t0 says t0."
    assert len({nothing.fingerprint, cached.fingerprint, local.fingerprint}) == 3


def test_the_hub_alone_is_a_missing_prerequisite_when_neither_cache_nor_network_has_it(offline):
    with pytest.raises(PrerequisiteError, match=r"not in the local Hub cache .* data\.kind=standin"):
        load_task(AGNEWS(), "hub", None)


def test_a_dead_network_costs_less_than_five_seconds(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import time, pandas, huggingface_hub\n"
        "from tdbench.bench.data.sources import read_source\n"
        "from tdbench.bench.registry import TASKS\n"
        "start = time.perf_counter()\n"
        "kind = read_source(TASKS.get('sst2')(), 'auto', None).kind\n"
        "print(kind, time.perf_counter() - start)\n"
    )
    surroundings = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_HUB_OFFLINE"}
    surroundings |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings, cwd=ROOT, timeout=60)
    kind, seconds = done.stdout.split()
    assert kind == "standin"
    assert float(seconds) < 5


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=60, deadline=None)
def test_a_stratified_draw_has_the_exact_size_and_the_shares_of_the_whole(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n_rows = round(share * len(labels))
    drawn = stratified_draw(labels, n_rows, seed)
    assert len(drawn) == n_rows
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() == stratified_draw(labels, n_rows, seed).tolist()
    got = np.bincount(labels[drawn], minlength=len(counts))
    assert (np.abs(got - np.array(counts) * n_rows / len(labels)) < 1).all()


def test_a_stratified_draw_depends_on_its_seed():
    labels = np.arange(200) % 2
    assert stratified_draw(labels, 20, 1).tolist() != stratified_draw(labels, 20, 2).tolist()
