"""Kernel ridge regression as the inner problem, against scikit-learn, exhaustive search and automatic differentiation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from tdbench.bench.budget import Budget
from tdbench.bench.card import Skip
from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.matching.clusters import train_head
from tdbench.bench.registry import METHODS, TASKS
from tdbench.methods.krr.regression import (
    Exchange,
    RealMoments,
    as_shares,
    best_targets,
    centred,
    errors_with,
    ridge_weights,
    torch_error,
)
from tests.unit.test_synthesis import context

KRR = METHODS.get("krr")
BUDGET = Budget("dpc2", per_class=2)


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
    made = KRR(KRR.Config(**options)).distil(real, budget, context)
    made.check(budget, real)
    assert np.bincount(made.labels_M).tolist() == [per_class] * real.n_classes
    return real.positions_of_rows(made.row_ids_M).tolist()


def error(real: LabelledText, features: np.ndarray, rows: list[int], ridge: float = KRR.Config().ridge) -> float:
    """Mean over rows of the squared error of scikit-learn's kernel ridge regression, summed over classes."""
    features = features.astype(np.float64)
    targets = np.eye(real.n_classes)[real.labels_N] - 1 / real.n_classes
    model = KernelRidge(alpha=ridge, kernel="linear").fit(features[rows], targets[rows])
    return float(((model.predict(features) - targets) ** 2).sum(axis=1).mean())


def test_with_all_candidates_the_set_is_one_that_no_single_exchange_improves():
    real, features = corpus()
    rows = chosen(real, features, sweeps=20, candidates=None)
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
    assert isinstance(KRR().supports(task, Budget("t", tokens_per_class=9)), Skip)
    assert isinstance(KRR().supports(task, Budget("both", per_class=2, tokens_per_class=9)), Skip)
    assert KRR().supports(task, Budget("d", per_class=2)) is None


def drawn(
    seed: int = 0, n_rows: int = 50, n_points: int = 4, n_classes: int = 3
) -> tuple[RealMoments, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 6))
    targets = centred(rng.integers(0, n_classes, n_rows), n_classes)
    points = rng.normal(size=(n_points, 6))
    return RealMoments.of(features, targets), points, centred(np.arange(n_points) % n_classes, n_classes)


def test_bordering_equals_solving_anew_for_every_option():
    real, points, targets = drawn()
    rng = np.random.default_rng(1)
    options, option_targets = rng.normal(size=(7, 6)), centred(np.arange(7) % 3, 3)
    made = errors_with(real, points, targets, options, option_targets, ridge=0.3)
    for place in range(7):
        weights = ridge_weights(np.vstack([points, options[place]]), np.vstack([targets, option_targets[place]]), 0.3)
        assert made[place] == pytest.approx(real.error(weights), rel=1e-10)


def test_a_point_can_be_added_to_none():
    real, _, _ = drawn()
    option, target = np.ones((1, 6)), centred(np.array([2]), 3)
    made = errors_with(real, np.zeros((0, 6)), np.zeros((0, 3)), option, target, ridge=0.3)
    assert made[0] == pytest.approx(real.error(ridge_weights(option, target, 0.3)))


def test_no_other_targets_err_less_than_the_best_over_two_encoders():
    pair = [drawn(0), drawn(1)]
    real, points = [one[0] for one in pair], [one[1] for one in pair]
    best = best_targets(real, points, 0.2)

    def error(targets: np.ndarray) -> float:
        return sum(r.error(ridge_weights(p, targets, 0.2)) for r, p in zip(real, points, strict=True))

    rng = np.random.default_rng(2)
    assert error(best) < error(pair[0][2])
    for _ in range(20):
        assert error(best + 0.05 * rng.normal(size=best.shape)) > error(best)


def test_shares_are_the_nearest_point_of_the_simplex():
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(30, 4))
    shares = as_shares(targets)
    assert shares.min() >= 0
    assert np.allclose(shares.sum(1), 1)
    gaps = targets + 1 / 4 - shares
    for other in rng.dirichlet(np.ones(4), size=200):  # the projection's variational inequality
        assert ((gaps * (other - shares)).sum(1) <= 1e-5).all()


def test_the_error_of_head_inputs_is_that_of_points_and_has_the_gradient_of_finite_differences():
    real, points, targets = drawn()
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    h = torch.tensor(3 * unit, dtype=torch.float32, requires_grad=True)  # lengths do not matter
    error = torch_error(real, 0.3, "cpu")(h, torch.tensor(targets, dtype=torch.float32))
    assert float(error.detach()) == pytest.approx(real.error(ridge_weights(unit, targets, 0.3)), rel=1e-5)
    (slope,) = torch.autograd.grad(error, h)
    direction = np.random.default_rng(4).normal(size=points.shape)

    def moved(step: float) -> float:
        at = 3 * unit + step * direction
        return real.error(ridge_weights(at / np.linalg.norm(at, axis=1, keepdims=True), targets, 0.3))

    expected = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert float((slope.numpy() * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_over_two_encoders_no_exchange_lowers_the_sum_of_the_errors():
    real, first = corpus()
    _, second = corpus(seed=1)
    targets = centred(real.labels_N, 3)
    problem = Exchange([RealMoments.of(own, targets) for own in (first, second)], 0.1, 3)
    options = [first.astype(np.float64), second.astype(np.float64)]
    rng = np.random.default_rng(0)
    chosen = problem.choose(options, real.labels_N, 2, sweeps=20, candidates=None, rng=rng)
    best = problem.error(options, targets, chosen)
    for place, row in enumerate(chosen):
        for other in np.setdiff1d(np.flatnonzero(real.labels_N == real.labels_N[row]), chosen):
            changed = chosen.copy()
            changed[place] = other
            assert problem.error(options, targets, changed) >= best - 1e-9


def distil(real, ctx, method: str = "krr", **options):
    plugin = METHODS.get(method)
    with ctx.cost.phase("distil"):
        made = plugin(plugin.Config(**options)).distil(real.copy(), BUDGET, ctx)
    made.check(BUDGET, real)
    assert np.bincount(made.labels_M).tolist() == [2] * real.n_classes
    return made


def test_samples_are_chosen_from_a_language_model(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(real, ctx, output="text", pool=5)
    assert made.track == "text"
    assert made.n_exact(real, real) < len(made)
    random = context(tmp_path)
    distil(real, random, output="text", pool=5, sweeps=0)
    assert ctx.diagnostics["ridge_error"] < random.diagnostics["ridge_error"]
    assert KRR(KRR.Config(output="text")).uses_task_lm


def test_token_vectors_follow_the_gradient_of_the_error(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(real, ctx, output="embedding", steps=60, noise=0.0)
    assert made.track == "learner-bound"
    assert ctx.curves["ridge_error"][-1] < ctx.curves["ridge_error"][0] - 0.02
    soft = distil(real, context(tmp_path), output="embedding", steps=2, labels="ridge")
    assert soft.soft_labels_MC.sum(1) == pytest.approx(np.ones(8), abs=1e-5)


def test_ridge_labels_bring_rows_into_the_track_of_soft_labels(tmp_path):
    real, features = corpus()
    context_ = Context(0, "cpu", CostMeter(), tmp_path, lambda: FakeEncoder(features))
    budget = Budget("b", per_class=3)
    hard, soft = (KRR(KRR.Config(labels=kind)).distil(real, budget, context_) for kind in ("hard", "ridge"))
    assert np.array_equal(hard.row_ids_M, soft.row_ids_M)
    soft.check(budget, real)
    assert soft.track == "text+soft"


def test_further_encoders_need_the_source_and_change_the_choice(real, tmp_path):
    one, three = KRR(KRR.Config()), KRR(KRR.Config(encoders=3))
    assert (one.reads, "source" in three.reads) == (("encoder",), True)
    options = {"encoder_steps": 2, "candidates": None, "encoder_kind": "random"}
    single = distil(real, context(tmp_path), output="text", pool=6, **options)
    several = distil(real, context(tmp_path), output="text", pool=6, encoders=3, **options)
    assert single.fields != several.fields
    rows = distil(real, context(tmp_path), encoders=2, encoder_steps=2, real_rows=40)
    assert rows.row_ids_M is not None


def test_real_texts_in_use_keep_the_shares_of_the_classes(real, tmp_path):
    method = KRR(KRR.Config(encoders=2, real_rows=40))
    drawn = method._drawn(real, context(tmp_path))
    assert len(set(drawn.tolist())) == 40
    shares = np.bincount(real.labels_N) / len(real)
    assert np.bincount(real.labels_N[drawn]) / 40 == pytest.approx(shares, abs=0.05)


def test_teacher_labels_are_what_a_head_trained_on_the_real_texts_says(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(real, ctx, "teacher-labels", teacher_steps=200)
    plain = METHODS.get("random")().distil(real, BUDGET, context(tmp_path))
    assert np.array_equal(made.row_ids_M, plain.row_ids_M)
    assert made.track == "text+soft"
    with ctx.cost.phase("test"):
        h = torch.from_numpy(ctx.source(real).real_features(real))
    head = train_head(h, torch.eye(real.n_classes)[torch.tensor(real.labels_N)], 200, ctx.rng("teacher"))
    rows = real.positions_of_rows(made.row_ids_M)
    wanted = torch.softmax(h[rows] @ head.weight_CD.t() + head.bias_C, dim=1).detach().numpy()
    assert made.soft_labels_MC == pytest.approx(wanted, abs=1e-5)
    encoder = FakeEncoder(np.random.default_rng(0).normal(size=(len(real), 5)).astype(np.float32))
    medoids, kmeans = (
        distil(real, dataclasses.replace(context(tmp_path), make_encoder=lambda: encoder), name, **options)
        for name, options in (("teacher-labels", {"select": "kmeans", "teacher_steps": 5}), ("kmeans", {}))
    )
    assert np.array_equal(medoids.row_ids_M, kmeans.row_ids_M)
    assert isinstance(
        METHODS.get("teacher-labels")(METHODS.get("teacher-labels").Config(select="kmeans")).supports(
            TASKS.get("agnews")(), Budget("t", tokens_per_class=9)
        ),
        Skip,
    )
