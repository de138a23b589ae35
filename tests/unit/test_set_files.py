"""Distilled sets from files: what is understood, and one line and reason for each way in which a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tdbench.bench.data import set_files
from tdbench.bench.data.set_files import read_set
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import DataError, UsageError
from tdbench.bench.registry import TASKS

AGNEWS, SST2, MNLI = (TASKS.get(name)() for name in ("agnews", "sst2", "mnli"))
GOOD = {"text": "a fine text", "label": 1}
SOFT = [0.25, 0.5, 0.25, 0.0]


def lines(*rows: Any) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def written(folder: Path, content: str | bytes, suffix: str = ".jsonl") -> Path:
    path = folder / f"mine{suffix}"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return path


def content(made: DistilledSet) -> list[Any]:
    arrays = (made.labels_M, made.soft_labels_MC, made.weights_M)
    return [made.fields, *(None if array is None else array.tolist() for array in arrays)]


NAMED = {"text": "a fine text", "label": "sports"}
GOOD_FORMS = {
    "id": (lines(GOOD), ".jsonl"),
    "labels": (lines({"text": "a fine text", "labels": 1}), ".jsonl"),
    "name": (lines({"text": "a fine text", "label": "Sports"}), ".jsonl"),
    "name in another case": (lines(NAMED), ".jsonl"),
    "id as text": (lines({"text": "a fine text", "label": "1"}), ".jsonl"),
    "whole float": (lines({"text": "a fine text", "label": 1.0}), ".jsonl"),
    "blank lines and Windows line ends": ("\r\n\n" + lines(GOOD) + "\r\n\n", ".jsonl"),
    "byte-order mark": (b"\xef\xbb\xbf" + lines(GOOD).encode(), ".jsonl"),
    "csv": ("label,text\n1,a fine text\n", ".csv"),
    "csv as pandas writes ids": ("label,text\n1.0,a fine text\n", ".csv"),
    "csv with a name": ('text,label\n"a fine text",Sports\n\n', ".CSV"),
}


@pytest.mark.parametrize("form", GOOD_FORMS)
def test_one_set_in_many_forms(tmp_path, form):
    made, ignored = read_set(written(tmp_path, *GOOD_FORMS[form]), AGNEWS)
    assert content(made) == [{"text": ["a fine text"]}, [1], None, None]
    assert ignored == []


def test_soft_labels_weights_and_columns_that_nobody_asked_for(tmp_path):
    row = {"text": "x", "label": 0, "soft_labels": SOFT, "weight": 2, "score": 9}
    frame = pd.DataFrame([row, row])
    frame.to_parquet(tmp_path / "mine.parquet")
    text = frame.assign(soft_labels=json.dumps(SOFT)).to_csv(index=False)
    files = (
        written(tmp_path, lines(row, row)),
        written(tmp_path, text, ".csv"),
        tmp_path / "mine.parquet",
    )
    for path in files:
        made, ignored = read_set(path, AGNEWS)
        assert content(made) == [{"text": ["x", "x"]}, [0, 0], [SOFT, SOFT], [2.0, 2.0]]
        assert ignored == ["score"]


def test_probabilities_in_the_place_of_a_label_make_the_largest_the_label(tmp_path):
    made, _ = read_set(written(tmp_path, lines({"text": "x", "label": SOFT})), AGNEWS)
    assert made.labels_M.tolist() == [1]
    assert made.soft_labels_MC is not None
    assert np.allclose(made.soft_labels_MC, [SOFT])


def test_a_field_of_another_name_may_be_called_text_and_pairs_need_both(tmp_path):
    made, _ = read_set(written(tmp_path, lines({"text": "x", "label": 0})), SST2)
    assert made.fields == {"sentence": ["x"]}
    row = {"premise": "p", "hypothesis": "h", "label": "neutral"}
    made, _ = read_set(written(tmp_path, lines(row)), MNLI)
    assert made.fields == {"premise": ["p"], "hypothesis": ["h"]}
    assert made.labels_M.tolist() == [1]


def test_a_csv_cell_may_hold_line_breaks_and_errors_name_the_line_where_the_row_begins(tmp_path):
    rows = 'text,label\n"one\ntwo",1\nthree,9\n'
    with pytest.raises(DataError, match=r"line 4: label is '9'"):
        read_set(written(tmp_path, rows, ".csv"), AGNEWS)


BAD_LINES: dict[str, tuple[Any, str]] = {
    "no JSON": ("{'text': 1}", "no valid JSON"),
    "cut off": ('{"text": "x", "lab', "no valid JSON"),
    "a list": ([1, 2], "is no JSON object"),
    "a string": ('"text"', "is no JSON object"),
    "a key twice": ('{"text": "x", "text": "y", "label": 1}', "appears twice"),
    "no text": ({"label": 1}, "text field 'text' is missing"),
    "null text": ({"text": None, "label": 1}, "text field 'text' is missing"),
    "empty text": ({"text": "", "label": 1}, "is missing or empty"),
    "blank text": ({"text": " \t", "label": 1}, "is blank"),
    "number for a text": ({"text": 5, "label": 1}, "is 5; expected a string"),
    "list for a text": ({"text": ["x"], "label": 1}, "expected a string"),
    "half a character": ('{"text": "x\\ud800", "label": 1}', "half a Unicode character"),
    "NUL": ('{"text": "x\\u0000", "label": 1}', "NUL"),
    "text under another name": ({"sentence": "x", "label": 1}, "text field 'text' is missing"),
    "no label": ({"text": "x"}, "it has no label"),
    "null label": ({"text": "x", "label": None}, "it has no label"),
    "both label names": ({"text": "x", "label": 1, "labels": 1}, "both 'label' and 'labels'"),
    "label too large": ({"text": "x", "label": 4}, "label is 4; expected 0 to 3 or one of World"),
    "negative label": ({"text": "x", "label": -1}, "label is -1"),
    "label between classes": ({"text": "x", "label": 1.5}, "label is 1.5"),
    "true for a label": ({"text": "x", "label": True}, "label is True"),
    "unknown name": ({"text": "x", "label": "Sport"}, "did you mean 'Sports'"),
    "id as text, too large": ({"text": "x", "label": "7"}, "label is '7'"),
    "object for a label": ({"text": "x", "label": {"id": 1}}, "label is {'id': 1}"),
    "infinite label": ('{"text": "x", "label": Infinity}', "label is inf"),
    "too few probabilities": ({"text": "x", "label": [0.5, 0.5]}, "it has 2 class probabilities; expected 4"),
    "probabilities of 0.9": ({"text": "x", "label": [0.3, 0.3, 0.3, 0]}, "add up to 0.9; expected 1"),
    "negative probability": ({"text": "x", "label": [1.5, -0.5, 0, 0]}, "expected numbers from 0 to 1"),
    "NaN probability": ('{"text": "x", "label": [NaN, 1, 0, 0]}', "expected numbers from 0 to 1"),
    "name for a probability": ({"text": "x", "label": ["a", 1, 0, 0]}, "expected numbers from 0 to 1"),
    "truth for a probability": ({"text": "x", "label": [True, 0, 0, 0]}, "expected numbers from 0 to 1"),
    "soft labels are no list": ({"text": "x", "label": 1, "soft_labels": 0.5}, "soft_labels is 0.5; expected a list"),
    "two lists": ({"text": "x", "label": SOFT, "soft_labels": SOFT}, "both its label and its soft_labels are lists"),
    "zero weight": ({"text": "x", "label": 1, "weight": 0}, "weight is 0; expected a positive number"),
    "endless brackets for a label": ({"text": "x", "label": "[" * 100_000}, "label is '[[["),
    "negative weight": ({"text": "x", "label": 1, "weight": -2}, "weight is -2"),
    "word for a weight": ({"text": "x", "label": 1, "weight": "heavy"}, "weight is 'heavy'"),
    "weight beyond all bounds": ({"text": "x", "label": 1, "weight": 1e300}, "weight is 1e+300"),
    "huge number": ('{"text": "x", "label": 1' + "0" * 400 + "}", "label is 1000"),
    "deep nesting": ("[" * 100_000, "no valid JSON"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_malformed_line_is_refused_with_its_number_and_the_reason(tmp_path, case):
    row, reason = BAD_LINES[case]
    with pytest.raises(DataError) as caught:
        read_set(written(tmp_path, lines(GOOD, row, GOOD)), AGNEWS)
    (problem,) = str(caught.value).splitlines()[1:]
    assert problem.startswith("  line 2: ")
    assert reason in problem


BAD_FILES: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", ".jsonl", "holds no rows"),
    "blank lines alone": ("\n\n", ".jsonl", "holds no rows"),
    "header alone": ("text,label\n", ".csv", "holds no rows"),
    "Latin-1": (b'{"text": "ok", "label": 1}\n{"text": "caf\xe9", "label": 1}', ".jsonl", "line 2: not UTF-8"),
    "UTF-16": (lines(GOOD).encode("utf-16"), ".jsonl", "line 1: not UTF-8"),
    "too many cells": ("text,label\na,1\nb,1,2\n", ".csv", "line 3: it has 3 cells; the header has 2"),
    "too few cells": ("text,label\na\n", ".csv", "line 2: it has 1 cells; the header has 2"),
    "column twice": ("text,text,label\na,b,1\n", ".csv", "line 1: a column name appears twice"),
    "open quote": ('text,label\na,1\n"b,1\n', ".csv", "line 3: no valid CSV"),
    "no label column": ("text,score\na,1\n", ".csv", "line 2: it has no label"),
    "no parquet": ("text,label", ".parquet", "no readable parquet file"),
    "soft here and there": (
        lines({"text": "x", "label": SOFT}, GOOD),
        ".jsonl",
        "line 2: it has not got class probabilities",
    ),
    "weights here and there": (lines(GOOD, {**GOOD, "weight": 1}), ".jsonl", "line 1: it has not got a weight"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_malformed_file_is_refused_with_the_place_and_the_reason(tmp_path, case):
    text, suffix, reason = BAD_FILES[case]
    with pytest.raises(DataError, match=reason):
        read_set(written(tmp_path, text, suffix), AGNEWS)


def test_only_the_first_problems_are_listed_and_the_others_counted(tmp_path):
    with pytest.raises(DataError) as caught:
        read_set(written(tmp_path, lines(*[{"text": "x"}] * 9)), AGNEWS)
    shown = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in shown[1:6]] == [f"  line {n}" for n in range(1, 6)]
    assert shown[6] == "  and 4 more"


def test_files_that_are_none_or_of_another_kind_or_far_too_large_are_refused(tmp_path, monkeypatch):
    for path, reason in ((tmp_path / "no.jsonl", "is no file"), (tmp_path, "is no file")):
        with pytest.raises(UsageError, match=reason):
            read_set(path, AGNEWS)
    with pytest.raises(UsageError, match=r"ends in '\.txt'; expected"):
        read_set(written(tmp_path, "x", ".txt"), AGNEWS)
    monkeypatch.setattr(set_files, "MAX_BYTES", 5)
    with pytest.raises(DataError, match="at most"):
        read_set(written(tmp_path, lines(GOOD)), AGNEWS)


@pytest.mark.parametrize("missing", ["premise", "hypothesis"])
def test_a_pair_without_one_of_its_texts_is_refused(tmp_path, missing):
    row = {"premise": "p", "hypothesis": "h", "label": 0}
    del row[missing]
    with pytest.raises(DataError, match=f"line 1: text field '{missing}' is missing"):
        read_set(written(tmp_path, lines(row)), MNLI)


def test_a_class_called_by_another_ones_id_is_refused_where_ids_are_text(tmp_path):
    class Stars(type(AGNEWS)):
        label_names = ("1", "2", "3")

    with pytest.raises(DataError, match="may be the class of this name or the class id"):
        read_set(written(tmp_path, "text,label\nx,1\n", ".csv"), Stars())
    assert read_set(written(tmp_path, "text,label\nx,3\n", ".csv"), Stars())[0].labels_M.tolist() == [2]
    assert read_set(written(tmp_path, lines({"text": "x", "label": 1})), Stars())[0].labels_M.tolist() == [1]


def test_null_and_wrong_types_in_parquet_name_the_row(tmp_path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"text": ["x", None], "label": [1, 1]}).to_parquet(path)
    with pytest.raises(DataError, match="row 2: text field 'text' is missing"):
        read_set(path, AGNEWS)
    pd.DataFrame({"text": [b"x"], "label": [1]}).to_parquet(path)
    with pytest.raises(DataError, match=r"row 1: text field 'text' is b'x'; expected a string"):
        read_set(path, AGNEWS)
