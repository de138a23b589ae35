"""The conformance suite on learners: those of the suite pass, and every way of breaking the contract is found with advice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tdbench.api import Learner, LearnerConfig
from tdbench.bench.registry import LEARNERS
from tdbench.bench.testing import assert_conforms, check


@pytest.mark.parametrize("name", ["bow-logreg", "textcnn", "bilstm"])
def test_every_learner_of_the_suite_conforms(name):
    assert_conforms(LEARNERS.get(name))


class Counting(Learner):
    """Counts words of every class."""

    name = "counting"
    uses_lr = False

    class Config(LearnerConfig):
        smoothing: float = 1.0

    def fit_predict(self, train: Any, test: Any, recipe: Any, ctx: Any) -> Any:
        counts: dict[str, Any] = {}
        for text, target, weight in zip(train.text.joined(), train.targets_MC, train.weights_M, strict=True):
            for word in text.lower().split():
                counts[word] = counts.get(word, 0) + target * weight
        nothing = np.zeros(train.targets_MC.shape[1])
        return np.array([sum((counts.get(w, nothing) for w in t.lower().split()), nothing) for t in test.joined()]) / 9


def test_a_good_learner_conforms(failures):
    assert failures(Counting) == {}


class WrongShape(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        return super().fit_predict(train, test, recipe, ctx)[:, :1]


class Undefined(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        return super().fit_predict(train, test, recipe, ctx) * np.nan


class Unseeded(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        with torch.random.fork_rng():
            noise = torch.randn(1).item()
        return super().fit_predict(train, test, recipe, ctx) + noise


class MovesTheGenerators(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        torch.manual_seed(ctx.seed)
        return super().fit_predict(train, test, recipe, ctx)


class HardLabelsOnly(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        hard = np.eye(train.targets_MC.shape[1], dtype=np.float32)[train.text.labels_N]
        return super().fit_predict(type(train)(train.text, hard, np.ones(len(hard))), test, recipe, ctx)


class IgnoresWeights(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        equal = type(train)(train.text, train.targets_MC, np.ones(len(train.text)))
        return super().fit_predict(equal, test, recipe, ctx)


class ReadsTheTest(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        assert test.row_ids_N.tolist() == list(range(len(test)))  # they lead nowhere
        next(Path(os.environ["TDBENCH_DATA"]).rglob("*.csv")).read_text()
        return super().fit_predict(train, test, recipe, ctx)


class LooksAtNeighbours(Counting):
    def fit_predict(self, train, test, recipe, ctx):
        scores = super().fit_predict(train, test, recipe, ctx)
        return scores + np.cumsum(scores, axis=0)


class OddIdentity(Counting):
    def identity(self):
        return {"learner": self.name, "table": (1, 2)}


BAD_LEARNERS = {
    WrongShape: ("it trains and scores every test text", "its scores have shape"),
    Undefined: ("it trains and scores every test text", "NaN"),
    Unseeded: ("the same seed gives the same scores", "ctx.seed"),
    MovesTheGenerators: ("it leaves the global random generators alone", "fork_rng"),
    HardLabelsOnly: ("it takes soft labels", "targets_MC"),
    IgnoresWeights: ("it takes weights", "weights_M"),
    ReadsTheTest: ("it reads no file of the data folder", "nothing else"),
    LooksAtNeighbours: ("it scores a text alike wherever it stands", "shares differ"),
    OddIdentity: ("its identity is plain JSON and stays the same", "JSON"),
}


@pytest.mark.parametrize("plugin", BAD_LEARNERS, ids=lambda plugin: plugin.__name__)
def test_a_learner_that_breaks_the_contract_is_found_out(plugin, failures):
    what, advice = BAD_LEARNERS[plugin]
    found = failures(plugin)
    assert what in found, found
    assert advice in found[what]


def test_a_learner_that_cannot_run_here_is_noted_and_not_trained():
    class Absent(Counting):
        def available(self):
            return "no weights; fetch them"

    report = check(Absent)
    assert "it was not trained: no weights; fetch them" in report.notes
    assert not report.ok
