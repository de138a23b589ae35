"""Budgets, the form of a distilled set, and its files."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbench.bench.budget import Budget, count_tokens
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import TABLE_FILE, TENSOR_FILE, DistilledSet, RowSelection, TextSet
from tdbench.bench.errors import BudgetError, DataError, PluginError, RecordError

REAL = LabelledText(
    {"text": [f"secret real text {i}" for i in range(12)]},
    np.arange(12) % 3,
    ("a", "b", "c"),
    np.arange(12, dtype=np.int64) * 10,
)
ROWS = DistilledSet.from_rows(REAL, [4, 0, 2])
SOFT = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], dtype=np.float32)
TEXTS = DistilledSet.from_texts({"text": ["né ew", "seçond\none"]}, [2, 0])
SOFT_TEXTS = DistilledSet.from_texts(
    {"text": ["new", "second"]}, [0, 1], soft_labels_MC=SOFT, weights_M=np.array([0.5, 2.0], np.float32)
)
SOFT_ROWS = RowSelection(ROWS.labels_M[:2], ROWS.row_ids_M[:2], soft_labels_MC=SOFT)
FREE = Budget("free")


def same(a: DistilledSet, b: DistilledSet) -> bool:
    def arrays(made: DistilledSet) -> list[Any]:
        return [made.labels_M, made.row_ids_M, made.soft_labels_MC, made.weights_M]

    equal = [
        (x is None) == (y is None) and (x is None or np.array_equal(x, y))
        for x, y in zip(arrays(a), arrays(b), strict=True)
    ]
    return all(equal) and a.fields == b.fields


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 1), ("a" * 33, 3), ("one two", 2), ("it's 3.5!", 7), ("naïve—Ünïcode", 3), ("a_b\n\tc", 2)],
)
def test_tokens_are_words_and_single_punctuation_marks(text, tokens):
    assert count_tokens(text) == tokens


WORDS = ["one", "one two three", "one two", "one two three four", "one"]


@pytest.mark.parametrize(
    ("budget", "taken"),
    [
        (Budget("b"), [3, 1, 0, 2, 4]),
        (Budget("b", per_class=2), [3, 1]),
        (Budget("b", per_class=9), [3, 1, 0, 2, 4]),
        (Budget("b", tokens_per_class=4), [3]),
        (Budget("b", tokens_per_class=6), [3, 0, 4]),  # three and then two tokens no longer fit; single ones do
        (Budget("b", tokens_per_class=5), [3, 0]),
        (Budget("b", per_class=2, tokens_per_class=7), [3, 1]),
        (Budget("b", per_class=2, tokens_per_class=6), [3, 0]),
        (Budget("b", per_class=1, tokens_per_class=3), [1]),
    ],
)
def test_filling_takes_the_best_that_fits_and_passes_over_what_does_not(budget, taken):
    assert budget.fill(np.array([3, 1, 0, 2, 4]), WORDS) == taken


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 8), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_filled_budget_is_never_exceeded_and_leaves_nothing_that_would_fit(lengths, per_class, tokens):
    texts = ["w " * n for n in lengths]
    taken = Budget("b", per_class, tokens).fill(range(len(texts)), texts)
    used = sum(lengths[i] for i in taken)
    assert len(taken) <= per_class
    assert used <= tokens
    if len(taken) < per_class:
        assert all(used + lengths[i] > tokens for i in set(range(len(texts))) - set(taken))


@pytest.mark.parametrize("made", [ROWS, TEXTS, SOFT_TEXTS, SOFT_ROWS])
def test_a_well_formed_set_passes_the_check(made):
    made.check(Budget("b", per_class=2, tokens_per_class=20), REAL)


def texts(n: int = 2, **changes: Any) -> DistilledSet:
    values: dict[str, Any] = {"labels_M": np.arange(n) % 3, "fields": {"text": [f"t{i}" for i in range(n)]}}
    return TextSet(**(values | changes))


def soft(*rows: list[float]) -> DistilledSet:
    return texts(soft_labels_MC=np.array(rows, dtype=np.float32))


def weights(*values: float) -> DistilledSet:
    return texts(weights_M=np.array(values, dtype=np.float32))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param(texts(0), "is empty", id="empty"),
        pytest.param(texts(labels_M=np.array([0, 3])), r"labels lie in 0\.\.3; expected 0\.\.2", id="label too large"),
        pytest.param(texts(labels_M=np.array([-1, 0])), r"labels lie in -1\.\.0", id="negative label"),
        pytest.param(RowSelection(np.array([0, 0]), np.array([10, 10])), "more than once", id="row twice"),
        pytest.param(RowSelection(np.array([0]), np.array([5])), "row 5 is not in the train split", id="unknown row"),
        pytest.param(texts(fields={"sentence": ["x", "y"]}), r"fields are \['sentence'\]; expected", id="field name"),
        pytest.param(texts(fields={"text": ["x"]}), "list of 2 strings", id="too few texts"),
        pytest.param(texts(fields={"text": ["x", None]}), "list of 2 strings", id="null text"),
        pytest.param(soft([0.5, 0.3, 0.3], [0, 1, 0]), "add up to 1", id="soft sum"),
        pytest.param(soft([1.5, -0.5, 0], [0, 1, 0]), "probabilities", id="negative probability"),
        pytest.param(soft([np.nan, 1, 0], [0, 1, 0]), "probabilities", id="nan probability"),
        pytest.param(soft([0.5, 0.5], [0, 1]), "2 x 3", id="soft columns"),
        pytest.param(soft([0, 1, 0]), "1 entries for 2 labels", id="soft rows"),
        pytest.param(weights(1, -1), "positive finite", id="negative weight"),
        pytest.param(weights(1, 0), "positive finite", id="zero weight"),
        pytest.param(weights(1, np.inf), "positive finite", id="infinite weight"),
        pytest.param(weights(1), "1 entries for 2 labels", id="too few weights"),
        pytest.param(
            RowSelection(np.array([0.5, 1.0]), np.array([1, 2])), "1-D numpy array of integers", id="float labels"
        ),
        pytest.param(RowSelection(np.array([0, 1]), np.array([0.4, 10.2])), "array of integers", id="float rows"),
        pytest.param(RowSelection([0, 1], np.array([1, 2])), "got list", id="list of labels"),
        pytest.param(RowSelection(np.array([[0], [1]]), np.array([1, 2])), "got 2-D", id="2-D labels"),
        pytest.param(RowSelection(np.array([0, 1]), np.array([1])), "1 entries for 2 labels", id="too few rows"),
        pytest.param(texts(fields={"text": "ab"}), "list of 2 strings", id="string for a column"),
        pytest.param(texts(fields={"text": ["a", "\ud800"]}), "lone surrogate", id="surrogate"),
    ],
)
def test_a_malformed_set_is_refused_with_the_reason(made, message):
    with pytest.raises((PluginError, DataError), match=message):
        made.check(FREE, REAL)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("dpc1", per_class=1), r"class 'a' holds 2 texts; budget dpc1 allows 1"),
        (Budget("tok7", tokens_per_class=7), r"class 'a' holds 8 tokens; budget tok7 allows 7"),
    ],
)
def test_a_set_over_its_budget_is_refused_with_both_numbers(budget, message):
    made = DistilledSet.from_rows(REAL, [0, 1, 3])
    with pytest.raises(BudgetError, match=message):
        made.check(budget, REAL)
    made.check(Budget("enough", per_class=2, tokens_per_class=8), REAL)


def test_soft_labels_and_weights_put_a_set_on_the_soft_track():
    assert [made.track for made in (ROWS, TEXTS, SOFT_ROWS, weights(1, 2))] == [
        "text",
        "text",
        "text+soft",
        "text+soft",
    ]
    assert [made.output for made in (ROWS, TEXTS)] == ["rows", "text"]


def test_bytes_count_texts_labels_and_tensors():
    assert TEXTS.n_bytes(REAL) == len("né ew".encode()) + len("seçond\none".encode()) + 2
    assert SOFT_TEXTS.n_bytes(REAL) == len("newsecond") + 2 + 2 * 3 * 4 + 2 * 4


def test_texts_that_equal_a_test_text_are_counted_after_folding():
    other = LabelledText({"text": ["NÉ  ew ", "else"]}, np.array([0, 1]), REAL.label_names, np.arange(2))
    assert TEXTS.n_exact(REAL, other) == 1


@pytest.mark.parametrize("made", [ROWS, TEXTS, SOFT_TEXTS, SOFT_ROWS])
def test_a_saved_set_loads_as_it_was(tmp_path, made):
    hashes = made.save(tmp_path, {"task": "t"})
    assert {path.name for path in tmp_path.iterdir()} == set(hashes)
    assert (TENSOR_FILE in hashes) == (made.track == "text+soft")
    assert same(DistilledSet.load(tmp_path, hashes), made)


@pytest.mark.parametrize("name", [TABLE_FILE, TENSOR_FILE, "card.yaml"])
@pytest.mark.parametrize("damage", ["tampered", "gone"])
def test_a_tampered_or_missing_file_is_detected(tmp_path, name, damage):
    hashes = SOFT_TEXTS.save(tmp_path, {})
    if damage == "gone":
        (tmp_path / name).unlink()
    else:
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(RecordError, match=name.replace(".", r"\.")):
        DistilledSet.load(tmp_path, hashes)


def test_the_table_loads_with_the_datasets_library_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()
    TEXTS.save(tmp_path, {})
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / TABLE_FILE), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded["text"][:] == TEXTS.fields["text"]  # type: ignore[index]
    assert loaded["label"][:] == TEXTS.labels_M.tolist()


def test_the_files_of_a_selection_hold_row_ids_and_no_text_of_the_data_set(tmp_path):
    SOFT_ROWS.save(tmp_path, {"task": "t"})
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in content
