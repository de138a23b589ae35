"""Killed and concurrent runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("points", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_resume_to_the_same_records(clean_environment, points):
    script = ROOT / "benchmarks" / "kill_resume.py"
    done = subprocess.run(
        [sys.executable, str(script), "--points", str(points), "--seed", "7", "--json"],
        check=False,
        env=clean_environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout)["bad"] == 0


def test_two_runs_on_one_store_share_the_work_and_tear_nothing(tmp_path, clean_environment):
    words = [sys.executable, "-m", "tdbench", "run", "task=agnews", "suite=smoke", "data.kind=standin", "--no-board"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, cwd=tmp_path, env=clean_environment, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in both]
    both_said = "".join(err for _, err in outputs)
    assert [process.returncode for process in both] == [0, 0], both_said
    stages = list((tmp_path / "runs").glob("*/*/record.json"))
    assert len(stages) == 10
    # Each stage was run by one of them: what the other had done is "found finished".
    assert len(re.findall(r": (?:\d+ texts|accuracy [\d.]+%) in ", both_said)) == 10, both_said
    assert not list((tmp_path / "runs").glob("*/*.tmp-*"))
    for path in stages:
        assert json.loads(path.read_text())["status"] == "ok"
