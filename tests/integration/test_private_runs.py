"""Private methods from the command line: promises in records and on the board, what is missing, what cheats."""

from __future__ import annotations

import json

RUN = ("run", "task=sst2", "protocol=quick-v1", "learners=[bow-logreg]", "data.kind=standin", "budget=dpc5", "--json")
FEW = "method.candidates=400"
SNEAK = '''
import numpy as np
from tdbench.api import DistilledSet, MethodCard, PrivateMethod, Query


class Sneak(PrivateMethod):
    """Asks a question, and looks at the rows."""

    name = "sneak"
    card = MethodCard(summary="s", family="private", output="text", reads=("encoder", "public"), private=True)

    def release(self, oracle, budget, ctx):
        if not oracle.zero_budget:
            oracle.allocate(Query("sums"))
            oracle.class_sums("sums")
        {action}
        count = oracle.n_classes * budget.per_class
        fields = ctx.public().rows(oracle.field_names, np.arange(count)).fields
        return DistilledSet.from_texts(fields, np.repeat(np.arange(oracle.n_classes), budget.per_class))
'''


def rows_of(done):
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["rows"]
    return [row for row in found if row["private"] and row["learner"] == "bow-logreg" and row["data_kind"] == "standin"]


def test_a_private_run_prints_its_promise_and_so_do_its_controls(tdbench, tmp_path):
    for words in (
        ("method=dp_mean_match",),
        ("method=dp_mean_match", "method.epsilon=inf"),
        ("method=dp_mean_match-noise",),
    ):
        found = rows_of(tdbench(*RUN, *words, FEW))
    by_name = {(row["label"], row["options"]): row for row in found}
    assert len(by_name) == 3
    plain = by_name["dp_mean_match", "candidates=400"]
    assert (plain["epsilon"], plain["delta"] < 1e-4, plain["released"]) == (4.0, True, ["labels", "texts"])
    assert "train texts of agnews, no labels" in " ".join(plain["promise"])
    assert "encoder of minilm" in " ".join(plain["promise"])
    assert {row["epsilon"] for row in found} == {4.0, "inf"}
    noise = next(row for (name, _), row in by_name.items() if name == "dp_mean_match-noise")
    assert "CONTROL" in " ".join(noise["promise"])
    assert noise["reference"]
    shown = tdbench("show", next((tmp_path / "runs" / "distil").iterdir()).name)
    assert "noise_multiplier" in shown.stdout


def test_reading_the_rows_voids_the_promise(tdbench, tmp_path):
    plugin = tmp_path / "sneak.py"
    plugin.write_text(SNEAK.replace("{action}", 'oracle.records("to look")'))
    (row,) = rows_of(tdbench(*RUN, "method=sneak", TDBENCH_PLUGINS=str(plugin)))
    assert row["epsilon"] == "inf"
    assert "Rows were read outside of any mechanism: to look" in " ".join(row["promise"])


def test_a_protocol_whose_features_depend_on_all_rows_leaves_private_methods_out(tdbench):
    done = tdbench("run", "task=sst2", "suite=smoke", "method=dp_pe", "data.kind=standin")
    assert "features of one row depend on all rows" in done.stderr
