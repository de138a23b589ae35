"""Audits whose runs fail, are shared by processes, made again, or changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tdbench.bench.canonical import sha256_file

SMALL = ("audit=model", "audit.pool_rows=400", "audit.auxiliary_rows=200", "audit.runs.seconds=4")
WORDS = ("run", "task=sst2", "protocol=smoke", "budget=dpc5", "sets=1", "data.kind=standin", *SMALL)
FRAGILE = '''
from pathlib import Path
from tdbench.api import DistilledSet, Method, MethodCard


class Fragile(Method):
    """Cannot do without the whole train split, until it is mended."""

    name = "fragile"
    card = MethodCard(summary="Fails.", family="coreset")

    def distil(self, real, budget, ctx):
        if len(real) < 1000 and not Path("mended").exists():
            raise ValueError("too few rows")
        chosen = [int(row) for label in range(2) for row in real.positions_of_class(label)[:5]]
        return DistilledSet.from_rows(real, chosen)
'''


def records(root: Path, stage: str) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in root.glob(f"runs/{stage}/*/record.json")}


def test_a_run_that_fails_stops_its_audit_alone_and_can_be_made_again(tdbench, tmp_path):
    (tmp_path / "fragile.py").write_text(FRAGILE)
    plugins = {"TDBENCH_PLUGINS": str(tmp_path / "fragile.py")}
    done = tdbench(*WORDS, "method=fragile", **plugins)
    assert done.returncode == 1
    assert "FAILED sst2 · fragile · dpc5 · shadow: ValueError: too few rows" in done.stderr
    assert "1 audits were not played, because one of their runs failed" in done.stderr
    assert "accuracy" in done.stderr  # the row itself was made
    assert len(records(tmp_path, "shadow")) == 1  # the other runs would be in vain
    assert not records(tmp_path, "audit")
    assert "FAILED sst2 · fragile: too few rows" in tdbench("status", **plugins).stdout
    again = tdbench(*WORDS, "method=fragile", "--json", **plugins)
    assert (again.returncode, json.loads(again.stdout)["n_run"]) == (1, 0)
    (tmp_path / "mended").touch()
    mended = tdbench(*WORDS, "method=fragile", "runtime.retry=true", **plugins)
    assert mended.returncode == 0, mended.stderr
    assert len(records(tmp_path, "shadow")) == 5
    assert len(records(tmp_path, "audit")) == 1


def test_force_gives_the_same_audit_and_a_changed_run_a_new_one(tdbench, tmp_path):
    words = (*WORDS, "method=random", "--json")
    first = json.loads(tdbench(*words).stdout)
    assert first["n_run"] == 2 + 5 + 5 + 1
    (before,) = records(tmp_path, "audit").values()
    forced = json.loads(tdbench(*words, "runtime.force=true").stdout)
    assert forced["n_run"] == first["n_run"]
    (after,) = records(tmp_path, "audit").values()
    assert after["audit"] == before["audit"]
    # Its runs may go: a finished audit stands by itself.
    shutil.rmtree(tmp_path / "runs" / "query")
    assert json.loads(tdbench(*words).stdout)["n_run"] == 0
    # A run that has been made anew with another content makes it stale.
    shadow_id, shadow = next(iter(records(tmp_path, "shadow").items()))
    table = tmp_path / "runs" / "shadow" / shadow_id / "distilled.parquet"
    pd.read_parquet(table)[::-1].to_parquet(table, index=False)
    shadow["artefacts"]["distilled.parquet"] = sha256_file(table)
    table.with_name("record.json").write_text(json.dumps(shadow))
    again = tdbench(*words)
    assert json.loads(again.stdout)["n_run"] == 5 + 1, (
        again.stderr
    )  # the queries, whose records are gone, and the games
    (renewed,) = records(tmp_path, "audit").values()
    assert renewed["audit"]["set_sha256s"] != before["audit"]["set_sha256s"]


def test_protocols_have_audits_of_their_own(tdbench, tmp_path):
    assert tdbench(*WORDS, "method=random").returncode == 0
    assert tdbench(*WORDS, "method=random", "protocol.steps=31").returncode == 0
    assert len(records(tmp_path, "audit")) == 2
    assert len(records(tmp_path, "shadow")) == 5  # the sets are the same


@pytest.mark.slow
def test_two_processes_share_the_runs_of_one_audit(tmp_path, clean_environment):
    words = [sys.executable, "-m", "tdbench", *WORDS, "method=random,trigram", "-m", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, cwd=tmp_path, env=clean_environment, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    reports = [json.loads(out) for out, _ in outputs]
    assert sum(report["n_run"] for report in reports) == 2 * (2 + 5 + 5 + 1)
    assert len(records(tmp_path, "audit")) == 2
    assert not list((tmp_path / "runs").glob("*/*.tmp-*"))


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_a_shard_has_whole_audits(tdbench, shard):
    words = [word for word in WORDS[1:] if not word.startswith("runtime")]
    planned = tdbench("plan", "-m", *words, "method=random,trigram", f"runtime.shard={shard}", "--json")
    kinds = [stage["stage"] for stage in json.loads(planned.stdout)["stages"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"distil": 1, "train": 1, "shadow": 5, "query": 5, "audit": 1}
