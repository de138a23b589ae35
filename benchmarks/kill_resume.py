"""Kills a run with SIGKILL at random moments and checks that the same command finishes it, losing and repeating nothing.

    python benchmarks/kill_resume.py [--points 50] [--seed 0] [--json]

Each point: a fresh run folder, one run killed, the same command again. Afterwards every stage that was finished before the kill must be
untouched (same bytes), all records must equal those of an undisturbed run (cost and times aside), and nothing else may be left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = ["run", "task=sst2", "suite=smoke", "data.kind=standin", "--no-board"]
VOLATILE = ("cost", "created", "provenance")


def start(root: Path) -> subprocess.Popen[bytes]:
    """Starts the smoke suite in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tdbench", *WORDS, f"runtime.root={root}"]
    out = (root.parent / f"{root.name}.log").open("ab")
    return subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)


def finished(root: Path) -> dict[str, bytes]:
    """Returns the bytes of every record in its final place."""
    paths = sorted(root.glob("*/*/record.json"))
    return {str(p.relative_to(root)): p.read_bytes() for p in paths if ".tmp-" not in p.parent.name}


def stable(records: dict[str, bytes]) -> dict[str, Any]:
    """Returns the records without what differs between two honest runs."""
    parsed = {name: json.loads(raw) for name, raw in records.items()}
    return {name: {k: v for k, v in record.items() if k not in VOLATILE} for name, record in parsed.items()}


def check(root: Path, kill_after_s: float, reference: dict[str, Any]) -> dict[str, Any]:
    """Runs one kill point; returns what was seen and the problems found."""
    process = start(root)
    time.sleep(kill_after_s)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(root)
    code = start(root).wait()
    after = finished(root)
    problems = [f"resumed run ended with {code}"] if code else []
    problems += [f"{name} was written again" for name, raw in before.items() if after.get(name) != raw]
    if stable(after) != reference:
        problems.append("records differ from the undisturbed run")
    problems += [
        f"left behind: {p.relative_to(root)}" for stage in ("distil", "train") for p in root.glob(f"{stage}/*.tmp-*")
    ]
    return {
        "kill_after_s": round(kill_after_s, 3),
        "killed": alive,
        "n_finished_before": len(before),
        "problems": problems,
    }


def main() -> int:
    """Runs all points; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rng, points = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        if start(Path(folder) / "reference").wait():
            print((Path(folder) / "reference.log").read_text(), file=sys.stderr)
            return 1
        whole_s = time.monotonic() - began
        reference = stable(finished(Path(folder) / "reference"))
        for number in range(args.points):
            trial = check(Path(folder) / f"point{number}", rng.uniform(0, whole_s), reference)
            while not trial["killed"] and not trial["problems"]:  # it had ended before the kill: draw an earlier moment
                kill_after_s = rng.uniform(0, trial["kill_after_s"])
                trial = check(Path(folder) / f"point{number}-{kill_after_s:.6f}", kill_after_s, reference)
            points.append(trial)
            if not args.json:
                print(f"[{number + 1}/{args.points}] {points[-1]}", flush=True)
    bad = [point for point in points if point["problems"]]
    between = sum(0 < point["n_finished_before"] < len(reference) for point in points)
    result = {
        "points": len(points),
        "bad": len(bad),
        "killed_between_first_and_last_stage": between,
        "whole_s": round(whole_s, 2),
    }
    print(json.dumps({**result, "details": points}) if args.json else result)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
