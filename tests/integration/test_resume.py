"""Killed and concurrent runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_runs_resume_to_the_same_records(clean_environment):
    script = ROOT / "benchmarks" / "kill_resume.py"
    done = subprocess.run(
        [sys.executable, str(script), "--points", "4", "--seed", "7", "--json"],
        check=False,
        env=clean_environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout)["bad"] == 0


def test_two_runs_on_one_store_share_the_work_and_tear_nothing(tmp_path, clean_environment):
    words = [sys.executable, "-m", "tdbench", "run", "task=agnews", "suite=smoke", "data.kind=standin", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, cwd=tmp_path, env=clean_environment, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    reports = [json.loads(out) for out, _ in outputs]
    stages = list((tmp_path / "runs").glob("*/*/record.json"))
    assert len(stages) == 10
    assert sum(report["n_run"] for report in reports) == 10
    assert {report["n_run"] + report["n_reused"] for report in reports} == {10}
    assert not list((tmp_path / "runs").glob("*/*.tmp-*"))
    for path in stages:
        assert json.loads(path.read_text())["status"] == "ok"
