"""Ids of planned stages: they stay what they are, whatever is renamed or moved.

`planned_ids.json` holds, for every method and preset, a hash of the ids of two distilled sets, their trainings and their audit on the
stand-in of AG News under lite-v1. A method whose results change on purpose raises its `version`, and its line here is written anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdbench.bench.canonical import sha256_text
from tdbench.bench.config import settings_for
from tdbench.bench.experiment.plan import Plan, Planner

KNOWN: dict[str, str] = json.loads(Path(__file__).with_name("planned_ids.json").read_text())


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner()


def ids_of(plan: Plan) -> list:
    cells = [[distil.id, [training.id for training in trainings]] for distil, trainings in plan.cells]
    return cells + [[audit.id, [job.id for job in audit.needs]] for audit in plan.audits]


def planned(planner: Planner, method: str) -> str:
    words = ["task=agnews", f"method={method}", "budget=dpc10", "protocol=lite-v1", "data.kind=standin", "sets=2"]
    plan = planner.plan(settings_for([*words, "audit=model"], False))
    assert not plan.missing, plan.missing
    return sha256_text(json.dumps(ids_of(plan)))[:16]


@pytest.mark.parametrize("method", ["random", "kmeans", "gradmm", "krr-samples", "dp_pe", "synalign", "full"])
def test_ids_of_some_methods_stay(planner, method):
    assert planned(planner, method) == KNOWN[method]


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(KNOWN))
def test_ids_of_every_method_and_preset_stay(planner, method):
    assert planned(planner, method) == KNOWN[method]


def test_another_option_gives_another_id(planner):
    assert planned(planner, "gradmm-short") != KNOWN["gradmm"]
