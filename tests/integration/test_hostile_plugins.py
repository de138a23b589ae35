"""Plug-ins that exit, change what they are given, print, or cheat; and damaged files."""

from __future__ import annotations

import json

HEAD = """
import sys
from tdbench.api import DistilledSet, Learner, Method, MethodCard
import numpy as np
"""
BODY = '''
class Mine(Method):
    """A method for tests."""

    name = "mine"
    card = MethodCard(summary="Mine.", family="coreset", deterministic=True)

    def distil(self, real, budget, ctx):
        {action}
        return DistilledSet.from_rows(real, [int(real.positions_of_class(c)[{place}]) for c in range(real.n_classes)])
'''
CHEAT = '''
class Cheat(Learner):
    """Answers with the test labels it was given."""

    name = "cheat"
    uses_lr = False

    def fit_predict(self, train, test, recipe, ctx):
        return np.eye(train.targets_MC.shape[1], dtype=np.float32)[test.labels_N]
'''


def write(tmp_path, action="pass", place=0, extra=""):
    plugin = tmp_path / "mine.py"
    plugin.write_text(HEAD + BODY.format(action=action, place=place) + extra)
    return {"TDBENCH_PLUGINS": str(plugin)}


def smoke(tdbench, *words, **environment):
    return tdbench("run", "-m", "task=agnews", "suite=smoke", "data.kind=standin", *words, **environment)


def scores(done) -> dict[tuple[str, str], float]:
    rows = json.loads(done.stdout)["rows"]
    return {
        (r["method"], r["learner"]): r["accuracy_frac"]
        for r in rows
        if r["protocol"] == "smoke" and r["budget"] == "dpc5"
    }


def test_method_that_exits_is_a_recorded_failure_and_the_next_one_runs(tdbench, tmp_path):
    done = smoke(tdbench, "method=mine,random", "--json", **write(tmp_path, "sys.exit(0)"))
    assert done.returncode == 1
    assert ("random", "bow-logreg") in scores(done)
    assert len(json.loads(done.stdout)["failures"]) == 1


def test_method_that_changes_its_input_in_place_harms_nobody_else(tdbench, tmp_path):
    honest = scores(smoke(tdbench, "method=random", "runtime.root=clean", "--json"))
    environment = write(tmp_path, 'real.labels_N[:] = real.labels_N[::-1]; real.fields["text"].reverse()')
    mixed = scores(smoke(tdbench, "method=mine,random", "--json", **environment))
    assert mixed["random", "bow-logreg"] == honest["random", "bow-logreg"]


def test_method_that_prints_leaves_the_json_readable(tdbench, tmp_path):
    done = smoke(tdbench, "method=mine", "--json", **write(tmp_path, 'print("HELLO")'))
    assert json.loads(done.stdout)["n_run"] == 2
    assert "HELLO" in done.stderr


def test_learner_never_sees_the_test_labels(tdbench, tmp_path):
    done = smoke(tdbench, "method=random", "learners=[cheat]", "--json", **write(tmp_path, extra=CHEAT))
    assert scores(done)["random", "cheat"] < 0.6


def test_set_made_anew_with_another_content_is_trained_on_again(tdbench, tmp_path):
    smoke(tdbench, "method=mine", "learners=[bow-logreg,cheat]", **write(tmp_path, extra=CHEAT))
    forced = smoke(
        tdbench, "method=mine", "learners=[bow-logreg]", "runtime.force=true", **write(tmp_path, place=3, extra=CHEAT)
    )
    assert "2 stages run" in forced.stdout
    after = smoke(tdbench, "method=mine", "learners=[bow-logreg,cheat]", **write(tmp_path, place=3, extra=CHEAT))
    assert "1 stages run, 2 reused" in after.stdout


def test_damaged_files_are_made_again_and_stop_nothing(tdbench, tmp_path):
    smoke(tdbench, "method=random,kmeans")
    runs = tmp_path / "runs"
    next(runs.glob("train/*/record.json")).write_text("")
    next(runs.glob("distil/*/distilled.parquet")).write_bytes(b"garbage")
    next(runs.glob("cache/features/*/features.npy")).write_bytes(b"garbage")
    done = smoke(tdbench, "method=random,kmeans")
    assert done.returncode == 0, done.stderr
    assert "distilled or trained anew" in done.stderr
    assert "0 stages run" in smoke(tdbench, "method=random,kmeans").stdout


def test_unusable_run_folder_is_one_line(tdbench, tmp_path):
    (tmp_path / "file").write_text("")
    done = smoke(tdbench, "method=random", "runtime.root=file")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_missing_data_folder_is_an_error_and_not_a_stand_in(tdbench):
    done = tdbench("run", "task=agnews", "suite=smoke", "data.root=nowhere")
    assert done.returncode == 3
    assert "the data folder nowhere does not exist" in done.stderr
