"""The whole chain on the stand-in corpus: plan, run, resume, board, listings, exit codes."""

from __future__ import annotations

import json
import re

SMOKE = ("run", "task=agnews", "suite=smoke")


def test_smoke_suite_without_data_or_network_runs_on_the_stand_in_and_says_so(tdbench, tmp_path):
    done = tdbench(*SMOKE)
    assert done.returncode == 0, done.stderr
    assert "STAND-IN DATA" in done.stderr
    assert "ETA" in done.stderr
    assert re.search(r"kmeans\s.*\d\d\.\d", done.stdout)
    board = tmp_path / "runs" / "board"
    rows = json.loads((board / "leaderboard.json").read_text())["rows"]
    local = [row for row in rows if row["protocol"] == "smoke"]
    assert {row["method"] for row in local} == {"majority", "random", "herding", "kcenter", "kmeans"}
    assert {row["data_kind"] for row in local} == {"standin"}
    assert "STAND-IN" in (board / "LEADERBOARD.md").read_text().upper()
    assert (board / "site" / "index.html").read_text().startswith("<!doctype html>")


def test_same_command_again_runs_nothing_and_gives_the_same_board(tdbench, tmp_path):
    first = tdbench(*SMOKE)
    board = (tmp_path / "runs" / "board" / "leaderboard.json").read_bytes()
    again = tdbench(*SMOKE)
    assert "10 stages run, 0 reused" in first.stdout
    assert "0 stages run, 10 reused" in again.stdout
    assert (tmp_path / "runs" / "board" / "leaderboard.json").read_bytes() == board


def test_force_gives_the_same_predictions(tdbench, tmp_path):
    def predictions():
        paths = sorted((tmp_path / "runs" / "train").glob("*/record.json"))
        return {path.parent.name: json.loads(path.read_text())["train"]["predictions"] for path in paths}

    assert tdbench(*SMOKE).returncode == 0
    before = predictions()
    again = tdbench(*SMOKE, "runtime.force=true")
    assert "10 stages run, 0 reused" in again.stdout
    assert predictions() == before


def test_plan_lists_the_stages_that_run_then_reports_as_finished(tdbench):
    planned = json.loads(tdbench("plan", "task=agnews", "suite=smoke", "--json").stdout)
    assert {stage["state"] for stage in planned["stages"]} == {"to run"}
    ran = json.loads(tdbench(*SMOKE, "--json").stdout)
    assert (ran["n_run"], ran["failures"]) == (len(planned["stages"]), [])
    after = json.loads(tdbench("plan", "task=agnews", "suite=smoke", "--json").stdout)
    assert {stage["state"] for stage in after["stages"]} == {"finished"}
    assert [stage["id"] for stage in after["stages"]] == [stage["id"] for stage in planned["stages"]]


def test_shards_are_disjoint_and_together_the_whole_plan(tdbench):
    def ids(shard):
        done = tdbench("plan", "task=agnews", "suite=smoke", f"runtime.shard={shard}", "--json")
        return {stage["id"] for stage in json.loads(done.stdout)["stages"]}

    assert not ids("1/2") & ids("2/2")
    assert ids("1/2") | ids("2/2") == ids("1/1")


def test_multirun_sweeps_tasks_and_methods_in_one_plan(tdbench):
    done = tdbench("run", "-m", "task=agnews,sst2", "method=random,majority", "protocol=smoke", "budget=dpc5", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    made = {(row["task"], row["method"]) for row in rows if row["protocol"] == "smoke"}
    assert made == {(t, m) for t in ("agnews", "sst2") for m in ("random", "majority")}


def test_overridden_protocol_is_custom_and_unranked(tdbench):
    done = tdbench(*SMOKE, "method=random", "protocol.test_rows=150", "--json")
    rows = [row for row in json.loads(done.stdout)["rows"] if row["method"] == "random" and row["custom"]]
    assert rows
    assert not any(row["ranked"] for row in rows)


def test_exit_codes_tell_usage_from_missing_prerequisites(tdbench):
    usage = tdbench("run", "task=agnewz")
    assert (usage.returncode, "did you mean 'agnews'" in usage.stderr) == (2, True)
    missing = tdbench("run", "task=agnews", "suite=smoke", "data.kind=local")
    assert (missing.returncode, "TDBENCH_DATA" in missing.stderr) == (3, True)
    no_model = tdbench("run", "task=agnews", "suite=standard", "method=random", "learners=[bert-base]")
    assert no_model.returncode == 3
    assert "bert-base" in no_model.stderr
    for done in (usage, missing, no_model):
        assert "Traceback" not in done.stderr


def test_run_help_shows_groups_and_plugins(tdbench):
    page = tdbench("run", "--help").stdout
    for word in ("agnews", "kmeans", "quick", "lite-v1", "dpc10", "runtime.", "shard", "hf:", "--stages"):
        assert word in page
    assert len(page.splitlines()) <= 45
    assert tdbench("plan", "--help").stdout == page


def test_status_counts_stages_and_survives_an_unreadable_record(tdbench, tmp_path):
    tdbench(*SMOKE)
    broken = next((tmp_path / "runs" / "train").glob("*/record.json"))
    broken.write_text("{")
    done = tdbench("status", "--json")
    report = json.loads(done.stdout)
    assert sum(row["ok"] for row in report["stages"]) == 9
    assert len(report["unreadable"]) == 1
