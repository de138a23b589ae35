"""Which versions of the matching code and of the task's language model the ids of distilled sets hold."""

from __future__ import annotations

import pytest

from tdbench.bench.config import settings_for
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.matching.options import MATCHING_VERSION, TASK_LM_VERSION, WORDS_VERSION
from tdbench.bench.training.resolve import resolve_learner

MISSING = resolve_learner("minilm").available()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"needs the source learner: {MISSING}")

VECTORS = {"matching": MATCHING_VERSION, "task_lm": 1}
WORDS = {"matching": WORDS_VERSION, "task_lm": TASK_LM_VERSION}


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("gradmm-embedding", [], VECTORS),
        ("dm-embedding", [], VECTORS),
        ("dm-embedding-permuted", [], VECTORS),
        ("gradmm-embedding", ["method.start=lm"], WORDS),
        ("gradmm-embedding", ["method.rho=0.5"], WORDS),
        ("gradmm", [], WORDS),
        ("gradmm-start", [], WORDS),
        ("gradmm-unfiltered", [], WORDS),
        ("dm", [], WORDS),
        ("lm-samples", [], {"matching": MATCHING_VERSION, "task_lm": TASK_LM_VERSION}),
        ("dilm", [], {"matching": MATCHING_VERSION, "task_lm": TASK_LM_VERSION}),
        ("class-mean", [], {"matching": MATCHING_VERSION, "task_lm": None}),
        ("kmeans", [], {"matching": None, "task_lm": None}),
    ],
)
def test_an_id_holds_the_versions_of_what_its_options_use(method, options, expected):
    overrides = ["task=sst2", f"method={method}", "protocol=lite-v1", "data.kind=standin", "budget=dpc10", *options]
    (distil, _), *_ = Planner().plan(settings_for(overrides)).cells
    assert {name: distil.cell.source.get(name) for name in expected} == expected
