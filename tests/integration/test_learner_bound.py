"""Sets of token vectors from the command line to the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = ("run", "task=sst2", "data.kind=standin", "protocol=quick-v1", "budget=dpc1", "method=class-mean")


def rows_of(folder: Path) -> list[dict]:
    return json.loads((folder / "runs" / "board" / "leaderboard.json").read_text())["rows"]


def test_vectors_are_trained_on_their_own_learner_and_ranked_in_a_track_of_their_own(tdbench, tmp_path):
    first = tdbench(*WORDS)
    assert first.returncode == 0, first.stderr
    assert "its token vectors are bound to minilm; not for textcnn" in first.stdout + first.stderr
    rows = [row for row in rows_of(tmp_path) if row["method"] == "class-mean" and row["data_kind"] == "standin"]
    (row,) = [row for row in rows if row["learner"] == "minilm"]
    assert (row["track"], row["n_sets"]) == ("learner-bound", 1)
    assert not [row for row in rows if row["learner"] == "textcnn"]
    (record,) = [
        json.loads(path.read_text())
        for path in tmp_path.glob("runs/distil/*/record.json")
        if json.loads(path.read_text())["cell"]["method"] == "class-mean"
    ]
    assert (record["distil"]["output"], record["distil"]["track"]) == ("embedding", "learner-bound")
    assert record["distil"]["n_tokens"] > 2
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/record.json"))
    assert tdbench(*WORDS).returncode == 0
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/record.json")) == before


def test_a_learned_schedule_takes_the_place_of_the_recipe_and_the_row_says_so(tdbench, tmp_path):
    words = [word for word in WORDS if not word.startswith("method=")]
    small = ("method=meta-short", "method.head_updates=20", "method.updates=2", "seeds=2")
    first = tdbench(*words, *small)
    assert first.returncode == 0, first.stderr
    (row,) = [row for row in rows_of(tmp_path) if row["method"] == "meta" and row["data_kind"] == "standin"]
    assert (row["mode"], row["track"], row["n_sets"], row["n_seeds"]) == ("learned-schedule", "learner-bound", 1, 2)
    assert "meta-short (learned schedule)" in (tmp_path / "runs" / "board" / "tables" / "sst2.md").read_text()
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/train/*/record.json")]
    trained = [record["train"] for record in records if record["cell"]["method"] == "meta"]
    assert [(one["mode"], one["steps"], one["lr"]) for one in trained] == [("learned-schedule", 2, None)] * 2
    assert trained[0]["predictions"] != trained[1]["predictions"]  # another head
    (card,) = [path for path in tmp_path.glob("runs/distil/*/card.yaml") if "meta" in path.read_text()]
    assert "nearest_tokens:" in card.read_text()


def test_a_source_without_token_vectors_leaves_such_methods_out_and_says_why(tdbench):
    made = tdbench("plan", "task=agnews", "suite=smoke", "data.kind=standin", "method=gradmm")
    assert "distils with bow-logreg, which has no pretrained token table" in made.stdout + made.stderr


def test_an_audit_finds_the_real_texts_whose_vectors_are_released(tdbench, tmp_path):
    words = [word for word in WORDS if not word.startswith("method=")]
    small = (
        "audit=text",
        "audit.pool_rows=300",
        "audit.auxiliary_rows=200",
        "audit.runs.minutes=2",
        "learners=[minilm]",
    )
    for preset in ("gradmm-embedding-start", "gradmm-embedding-noise"):
        done = tdbench(*words, f"method={preset}", "method.inner=2", *small, "--no-board")
        assert done.returncode == 0, done.stderr
    found = {}
    for path in tmp_path.glob("runs/audit/*/record.json"):
        record = json.loads(path.read_text())
        found[record["method_facts"]["label"]] = record["audit"]
    start, words_ = found["gradmm-embedding-start"], found["gradmm-embedding-noise"]
    assert start["exact_members"] == [2, 2]  # one text a class, released as it is
    assert start["coin_tests"][0]["right"] == start["coin_tests"][0]["guesses"] > 0
    assert words_["exact_members"] == [0, 0]
    assert {attack["name"] for attack in start["attacks"]} == {"nearest"}
