"""Kernel inducing points over rows, against scikit-learn and exhaustive search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from bench.budget import Budget
from bench.context import Context
from bench.cost import CostMeter
from bench.data.text import LabelledText
from bench.method import Skip
from bench.registry import METHODS, TASKS

KIP = METHODS.get("kip")


class FakeEncoder:
    identity = {"kind": "fake"}

    def __init__(self, features_ND: np.ndarray) -> None:
        self._features_ND = features_ND

    def embed(self, text: LabelledText, cost: CostMeter, tick=lambda _: None) -> np.ndarray:
        return self._features_ND


def corpus(n_rows: int = 60, n_classes: int = 3, seed: int = 0) -> tuple[LabelledText, np.ndarray]:
    """Rows of three noisy clusters; row ids differ from positions."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_rows) % n_classes)
    features = rng.normal(size=(n_classes, 5))[labels] + rng.normal(size=(n_rows, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    text = LabelledText(
        {"text": [f"t{i}" for i in range(n_rows)]}, labels, tuple("abc")[:n_classes], np.arange(n_rows) * 7
    )
    return text, features.astype(np.float32)


def chosen(real: LabelledText, features: np.ndarray, per_class: int = 3, seed: int = 0, **options) -> list[int]:
    context = Context(seed, "cpu", CostMeter(), Path("unused"), lambda: FakeEncoder(features))
    budget = Budget("b", per_class=per_class)
    made = KIP(KIP.Config(**options)).distil(real, budget, context)
    made.check(budget, real)
    assert np.bincount(made.labels_M).tolist() == [per_class] * real.n_classes
    return real.positions_of_rows(made.row_ids_M).tolist()


def error(real: LabelledText, features: np.ndarray, rows: list[int], ridge: float = 0.1) -> float:
    """Mean over rows of the squared error of scikit-learn's kernel ridge regression, summed over classes."""
    features = features.astype(np.float64)
    targets = np.eye(real.n_classes)[real.labels_N] - 1 / real.n_classes
    model = KernelRidge(alpha=ridge, kernel="linear").fit(features[rows], targets[rows])
    return float(((model.predict(features) - targets) ** 2).sum(axis=1).mean())


def test_with_all_candidates_the_set_is_one_that_no_single_exchange_improves():
    real, features = corpus()
    rows = chosen(real, features, sweeps=20, candidates=1_000)
    best = error(real, features, rows)
    for place, row in enumerate(rows):
        for other in set(real.positions_of_class(int(real.labels_N[row])).tolist()) - set(rows):
            changed = [*rows[:place], other, *rows[place + 1 :]]
            assert error(real, features, changed) >= best - 1e-9


@pytest.mark.parametrize("ridge", [0.01, 0.1, 3.0])
def test_every_exchange_lowers_the_error_that_scikit_learn_measures(ridge):
    real, features = corpus()
    errors = [
        error(real, features, chosen(real, features, sweeps=sweeps, candidates=6, ridge=ridge), ridge)
        for sweeps in (0, 1, 2, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] - 1e-3


def test_without_sweeps_the_rows_are_random_and_the_seed_decides_them():
    real, features = corpus()
    assert chosen(real, features, sweeps=0) == chosen(real, features * 0 + 1, sweeps=0)
    assert chosen(real, features, sweeps=0) != chosen(real, features, sweeps=0, seed=1)


def test_a_class_that_is_used_up_keeps_its_rows():
    real, features = corpus(9)
    assert chosen(real, features, per_class=3) == list(range(9))


def test_budgets_in_tokens_are_left_out():
    task = TASKS.get("agnews")()
    assert isinstance(KIP().supports(task, Budget("t", tokens_per_class=9)), Skip)
    assert isinstance(KIP().supports(task, Budget("both", per_class=2, tokens_per_class=9)), Skip)
    assert KIP().supports(task, Budget("d", per_class=2)) is None
