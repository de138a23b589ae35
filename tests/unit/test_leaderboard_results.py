"""The board as a pandas frame, in one call."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from tdbench.bench.errors import RecordError
from tdbench.leaderboard.build import build, results
from tdbench.leaderboard.fields import ROW_KEYS


def test_frame_holds_what_the_parquet_file_holds(board_records, tmp_path):
    records = board_records.board()
    records += board_records.runs("p", {"minilm": [[0.5], [0.6], [0.7]]}, private=True, epsilon="inf")
    build(records, tmp_path, tmp_path / "site", [])
    frame = results(tmp_path / "leaderboard.json")
    assert list(frame.columns) == list(ROW_KEYS)
    pd.testing.assert_frame_equal(frame, pd.read_parquet(tmp_path / "site" / "leaderboard.parquet"))
    (epsilon,) = frame[(frame["method"] == "p") & frame["is_source"]]["epsilon"]
    assert math.isinf(epsilon)


def test_committed_results_answer_which_method_is_best_on_agnews():
    frame = results()
    rows = frame[(frame["task"] == "agnews") & (frame["budget"] == "dpc10") & frame["is_source"] & frame["ranked"]]
    rows = rows[rows["track"] == "text"].sort_values("score_frac", ascending=False)
    assert len(rows) > 10
    assert rows["rank"].dropna().iloc[0] == 1
    assert rows["distil_wall_s"].notna().all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 3, "rows": []}', "[" * 100_000])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "leaderboard.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"leaderboard\.json"):
        results(path)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="tdbench leaderboard"):
        results(tmp_path / "none.json")


def test_json_of_the_board_is_the_frame(board_records, tmp_path):
    build(board_records.board(), tmp_path, tmp_path / "site", [])
    rows = json.loads((tmp_path / "leaderboard.json").read_text())["rows"]
    frame = results(tmp_path / "leaderboard.json")
    assert frame["score_frac"].tolist() == [row["score_frac"] for row in rows]
