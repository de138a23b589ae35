"""`tdbench evaluate`: a set made anywhere becomes a row, and a bad file leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

SMOKE = ("--task", "agnews", "protocol=smoke", "data.kind=standin")
ROWS = [{"text": f"{name} news of the day", "label": name} for name in ("World", "Sports", "Business", "Sci/Tech")]


def write(folder: Path, rows: list[dict[str, object]], name: str = "mine.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def rows_of(done) -> list[dict[str, object]]:
    return [row for row in json.loads(done.stdout)["rows"] if row["method"] == "external"]


def test_a_file_becomes_an_external_row_of_its_own_size(tdbench, tmp_path):
    assert tdbench("run", "task=agnews", "suite=smoke", "budget=dpc1", "data.kind=standin").returncode == 0
    done = tdbench("evaluate", write(tmp_path, ROWS), *SMOKE)
    assert done.returncode == 0, done.stderr
    assert "mine (external)" in done.stdout
    assert "random" in done.stdout  # the references of its table
    (row,) = rows_of(tdbench("evaluate", write(tmp_path, ROWS), *SMOKE, "--json"))
    assert (row["label"], row["budget"], row["track"], row["ranked"]) == ("mine", "dpc1", "text", False)
    assert row["distil_wall_s"] is None


def test_a_set_may_be_larger_than_a_class_of_the_train_split_and_has_the_name_it_is_given(tdbench, tmp_path):
    rows = [{"text": f"text {i}", "label": i % 4} for i in range(4 * 1_900)]
    (row,) = rows_of(tdbench("evaluate", write(tmp_path, rows), *SMOKE, "--name", "large", "--json"))
    assert (row["budget"], row["label"]) == ("dpc1900", "large")
    (_, named) = rows_of(tdbench("evaluate", write(tmp_path, rows), *SMOKE, "--name", "other", "--json"))
    assert named["label"] == "other"


def test_equal_content_is_one_row_and_other_content_another(tdbench, tmp_path):
    tdbench("evaluate", write(tmp_path, ROWS), *SMOKE)
    copy = write(tmp_path, ROWS, "copy.jsonl")
    again = tdbench("evaluate", copy, *SMOKE, "--name", "mine", "--json")
    assert json.loads(again.stdout)["n_run"] == 0
    soft = [{**row, "label": [0.1, 0.2, 0.3, 0.4]} for row in ROWS]
    other = rows_of(tdbench("evaluate", write(tmp_path, soft), *SMOKE, "--json"))
    assert sorted(row["track"] for row in other) == ["text", "text+soft"]


def test_a_bad_file_or_one_over_its_budget_leaves_nothing_behind(tdbench, tmp_path):
    bad = tdbench("evaluate", write(tmp_path, [*ROWS, {"text": "x", "label": "Cooking"}]), *SMOKE)
    assert bad.returncode == 1
    assert "line 5: label is 'Cooking'" in bad.stderr
    large = tdbench("evaluate", write(tmp_path, ROWS * 2), *SMOKE, "--budget", "dpc1")
    assert large.returncode == 1
    assert "class 'World' holds 2 texts; budget dpc1 allows 1" in large.stderr
    assert not (tmp_path / "runs").exists()


def test_texts_that_repeat_the_test_split_are_counted(tdbench, tmp_path):
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    test = load_task(TASKS.get("agnews")(), "standin", None).test
    rows = [
        {"text": text.upper(), "label": int(label)}
        for text, label in zip(test.joined()[:8], test.labels_N, strict=False)
    ]
    (row,) = rows_of(tdbench("evaluate", write(tmp_path, rows), *SMOKE, "--json"))
    assert row["n_test_exact"] == 8
    assert row["unranked_reason"] == "its texts repeat test texts"
    again = tdbench("evaluate", write(tmp_path, rows), *SMOKE)
    assert "WARNING" in again.stderr
    assert "8 of its 8 texts equal test texts" in again.stderr


def test_wrong_usage_is_told(tdbench, tmp_path):
    path = write(tmp_path, ROWS)
    for words, reason in (
        ((path, "--task", "agnwes"), "did you mean 'agnews'"),
        ((path, *SMOKE, "--name", "My Method"), "is not lower-case words"),
        ((path, *SMOKE, "--budget", "dpc3"), "unknown budget 'dpc3'"),
        (("none.jsonl", *SMOKE), "none.jsonl is no file"),
        ((path, *SMOKE, "learners=[nobody]"), "unknown learner 'nobody'"),
        ((path, *SMOKE, "--dry-run"), "has no flag --dry-run"),
        ((path, *SMOKE, "method=kmeans"), "'method=kmeans' is no option"),
        ((path, *SMOKE, "task=sst2"), "give --task instead"),
    ):
        done = tdbench("evaluate", *words)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
