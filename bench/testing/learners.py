"""Conformance of learners."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from typing import Any

import numpy as np

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.testing.guard import watching
from tdbench.bench.testing.report import Report, one_thread, scramble
from tdbench.bench.testing.source import check_options, check_source
from tdbench.bench.testing.texts import KINDS, small_task
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.training_set import TrainContext, TrainingSet

TIME_LIMIT_S = 60.0
STEPS, PER_CLASS, ORDER_TOLERANCE = 20, 8, 1e-2


def check_learner(plugin: type[Learner], config: Any = None) -> Report:
    """Checks options, imports, and trains on small texts of three schemas, with hard and with soft labels.

    Args:
        plugin: The learner's class.
        config: Options to train it with; default its defaults.
    """
    report = Report(str(getattr(plugin, "name", plugin.__name__)))
    check_source(report, plugin)
    report.check(bool(plugin.__doc__), "it has a docstring", "say in one sentence what kind of model it is.")
    config = check_options(report, plugin, config)
    if config is None:
        return report
    learner = plugin(config)
    reason = learner.available()
    if reason is not None:
        report.notes.append(f"it was not trained: {reason}")
        return report
    with report.step("its identity is plain JSON and stays the same", "identity() returns numbers, text and lists."):
        if json.loads(json.dumps(learner.identity())) != learner.identity():
            raise ValueError("identity() does not survive JSON.")
    started = time.perf_counter()
    with one_thread():
        for kind in KINDS:
            _Trial(report, learner, kind).check()
    spent = time.perf_counter() - started
    report.check(
        spent < TIME_LIMIT_S,
        f"tiny trainings take {spent:.1f} seconds in all",
        f"expected less than {TIME_LIMIT_S:.0f} s; train for the steps that the recipe asks for.",
    )
    return report


class _Trial:
    """A learner on one small task."""

    def __init__(self, report: Report, learner: Learner, kind: str) -> None:
        self._report, self._learner, self._kind = report, learner, kind
        data = small_task(kind)
        classes = range(data.train.n_classes)
        rows = np.concatenate([data.train.positions_of_class(c)[:PER_CLASS] for c in classes])
        self._train = TrainingSet.of(DistilledSet.from_rows(data.train, rows), data.train)
        self._test = data.test

    def check(self) -> None:
        report, kind, scores = self._report, self._kind, []
        with report.step(f"it trains and scores every test text ({kind})"):
            for seed, world in ((0, 1), (0, 2), (1, 3)):
                scores.append(self._fit(self._train, self._test, seed, world))
        if len(scores) < 3:
            return
        report.check(
            np.array_equal(scores[0], scores[1]),
            f"the same seed gives the same scores ({kind})",
            "two trainings with one seed differ; seed everything from ctx.seed.",
        )
        if np.array_equal(scores[0], scores[2]):
            report.notes.append(f"{kind}: another seed gives the same scores")
        order = np.random.default_rng(0).permutation(len(self._test))
        with report.step(f"it scores a text alike wherever it stands ({kind})"):
            shuffled = self._fit(self._train, self._test.take(order))
            difference = float(np.abs(_shares(shuffled) - _shares(scores[0])[order]).max())
            if difference > ORDER_TOLERANCE:
                raise ValueError(
                    f"shares differ by {difference:.2g}; mask padding, use no statistics of the test split."
                )
        hard = self._train
        # The mass of the first class's examples goes to the first class alone for a part, which no symmetry undoes.
        soft_MC = hard.targets_MC * 0.7
        soft_MC[:, 0] += 0.3
        weights_M = np.linspace(0.5, 1.5, len(hard.weights_M), dtype=np.float32)
        for what, changed in (
            ("soft labels", TrainingSet(hard.text, soft_MC, hard.weights_M)),
            ("weights", TrainingSet(hard.text, hard.targets_MC, weights_M)),
        ):
            with report.step(f"it takes {what} ({kind})"):
                if np.array_equal(self._fit(changed, self._test), scores[0]):
                    raise ValueError("they change nothing; fit train.targets_MC with train.weights_M.")

    def _fit(self, train: TrainingSet, test: LabelledText, seed: int = 0, world: int = 1) -> Any:
        scramble(world)
        before = _generators()
        context = TrainContext(seed, "cpu", CostMeter())
        recipe = Recipe(32, STEPS, 16, 1e-3 if self._learner.uses_lr else None, 0.01, 1.0, 0.5)
        with watching() as watch, contextlib.redirect_stdout(sys.stderr), context.cost.phase("check"):
            scores = np.asarray(self._learner.fit_predict(train, test.without_labels(), recipe, context))
        self._report.n_runs += 1
        if watch.reads:
            fix = f"{watch.reads[0]}: a learner sees the distilled texts and the test texts, nothing else."
            self._report.check(False, f"it reads no file of the data folder ({self._kind})", fix)
        if _generators() != before:
            self._report.check(
                False,
                f"it leaves the global random generators alone ({self._kind})",
                "wrap its draws in torch.random.fork_rng() or use generators of its own.",
            )
        expected = (len(test), train.targets_MC.shape[1])
        if scores.shape != expected:
            raise ValueError(f"its scores have shape {scores.shape}; expected {expected}.")
        if np.isnan(scores).any():
            raise ValueError("its scores hold NaN.")
        return scores


def _generators() -> tuple[str, str, str]:
    import torch

    legacy: Any = np.random.get_state()  # noqa: NPY002 - the global generator is the point
    return repr(random.getstate()), repr(legacy[1].tolist()), repr(torch.get_rng_state().tolist())


def _shares(scores_NC: Any) -> Any:
    shifted = np.nan_to_num(scores_NC - scores_NC.max(axis=1, keepdims=True), neginf=-1e9)
    shares = np.exp(shifted)
    return shares / shares.sum(axis=1, keepdims=True)
