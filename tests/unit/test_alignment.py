"""Alignment: distances, weights and herding against other ways of computing them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics.pairwise import rbf_kernel

from tdbench.bench.errors import DataError
from tdbench.bench.matching.alignment import Kernel, Target, choose_aligned, effective_size, median_distance
from tests.unit.tiny_models import context


def clouds(n_pool=60, n_real=90, n_dims=5, seed=0):
    """A pool that has too much of one mode, and real points that do not."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, n_dims)) * 2
    pool = centres[rng.choice(3, n_pool, p=[0.7, 0.2, 0.1])] + 0.5 * rng.normal(size=(n_pool, n_dims))
    real = centres[rng.choice(3, n_real)] + 0.5 * rng.normal(size=(n_real, n_dims))
    return pool, real


def target_of(**sizes):
    pool, real = clouds(**sizes)
    return Target.of(Kernel.around(real), pool, real)


def test_the_kernel_is_the_mean_of_gaussians():
    pool, real = clouds()
    kernel = Kernel((0.5, 2.0))
    expected = (rbf_kernel(pool, real, gamma=1 / (2 * 0.25)) + rbf_kernel(pool, real, gamma=1 / 8)) / 2
    assert np.allclose(kernel(pool, real), expected, atol=1e-12)


def test_the_median_leaves_out_points_that_are_the_same():
    points = np.array([[0.0], [0.0], [0.0], [1.0], [3.0]])
    assert median_distance(points) == np.median([1, 1, 1, 3, 3, 3, 2])
    with pytest.raises(DataError, match="have no distances"):
        median_distance(np.zeros((3, 2)))


def test_the_distance_is_that_of_all_pairs():
    pool, real = clouds()
    kernel = Kernel.around(real)
    target = Target.of(kernel, pool, real)
    weights = np.random.default_rng(0).dirichlet(np.ones(len(pool)))
    both = np.concatenate([weights, -np.full(len(real), 1 / len(real))])
    points = np.concatenate([pool, real])
    assert target.squared_mmd(weights) == pytest.approx(both @ kernel(points, points) @ both, abs=1e-12)
    assert Target.of(kernel, real, real).squared_mmd(np.full(len(real), 1 / len(real))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_quadratic_programming(seed):
    target = target_of(n_pool=25, seed=seed)
    found = target.weights()
    scale = 1e3  # the solver stops by absolute differences
    solved = minimize(
        lambda w: scale * (w @ target.kernel_NN @ w - 2 * w @ target.mean_N + target.norm),
        np.full(25, 1 / 25),
        jac=lambda w: scale * 2 * (target.kernel_NN @ w - target.mean_N),
        bounds=[(0, 1)] * 25,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(25)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() >= 0
    assert np.abs(found - solved.x).max() < 1e-6
    # Conditions of Karush, Kuhn and Tucker: the gradient is the same wherever a weight is positive, and nowhere smaller.
    slope = target.kernel_NN @ found - target.mean_N
    assert np.ptp(slope[found > 1e-9]) < 1e-8
    assert slope.min() > slope[found > 1e-9].max() - 1e-8


def test_weights_work_where_pool_texts_are_the_same():
    pool, real = clouds(n_pool=20)
    target = Target.of(Kernel.around(real), np.concatenate([pool, pool, pool]), real)
    once = Target.of(Kernel.around(real), pool, real)
    assert target.squared_mmd(target.weights()) == pytest.approx(once.squared_mmd(once.weights()), abs=1e-9)


def test_herding_takes_the_best_text_each_time():
    target = target_of(n_pool=30)
    chosen = target.herd(6).tolist()
    for size in range(1, 7):
        before = chosen[: size - 1]
        costs = {i: target.squared_mmd_of([*before, i]) for i in range(30) if i not in before}
        assert chosen[size - 1] == min(costs, key=costs.get)
    assert sorted(target.herd(30)) == list(range(30))
    with pytest.raises(DataError, match="31 texts are wanted of a pool of 30"):
        target.herd(31)


def test_resampling_follows_the_weights():
    rng = np.random.default_rng(0)
    weights = np.array([0.6, 0.3, 0.1, 0.0])
    firsts = [Target.resample(weights, 2, rng)[0] for _ in range(3000)]
    assert np.allclose(np.bincount(firsts, minlength=4) / 3000, weights, atol=0.03)
    assert sorted(Target.resample(weights, 4, rng)) == [0, 1, 2, 3]


def test_the_effective_size_is_the_number_of_equal_weights():
    assert effective_size(np.full(8, 1 / 8)) == pytest.approx(8)
    assert effective_size(np.array([1.0, 0.0])) == pytest.approx(1)


@pytest.mark.parametrize("reduce", ["herding", "resample", "kmeans", "none"])
def test_every_class_is_chosen_by_itself(reduce):
    pool, real = clouds(n_pool=80, n_real=80)
    labels, real_labels = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    ctx = context()
    kept = choose_aligned(pool, labels, real, real_labels, per_class=5, reduce=reduce, ctx=ctx)
    assert labels[kept].tolist() == [0] * 5 + [1] * 5
    assert len(set(kept.tolist())) == 10
    notes = ctx.diagnostics
    assert notes["mmd2_weighted"] < notes["mmd2_pool"]
    assert 1 <= notes["effective_size"] <= 40
    assert ("effective_ratio" in notes) == (reduce == "resample")
    if reduce == "herding":
        own = Target.of(Kernel.around(real[real_labels == 0]), pool[labels == 0], real[real_labels == 0])
        assert own.squared_mmd_of(kept[:5]) < own.squared_mmd_of(np.arange(5))


@pytest.fixture(scope="module")
def encoded_news(tmp_path_factory):
    """Features of 3,000 real news items of one class each quarter; skips where there are none."""
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.models.encoder import CachedEncoder
    from tdbench.bench.models.resolve import MINILM, available
    from tdbench.bench.registry import TASKS
    from tdbench.bench.training.resolve import resolve_learner

    folder, task = os.environ.get("TDBENCH_DATA"), TASKS.get("agnews")()
    if not folder or not (Path(folder) / str(task.local["train"])).is_file():
        pytest.skip("no real data for agnews: set TDBENCH_DATA")
    if available(MINILM):
        pytest.skip(f"no weights of {MINILM}")
    train = load_task(task, "local", Path(folder)).train
    sports = train.take(train.positions_of_class(1)[:1500])
    encoder = CachedEncoder(resolve_learner("minilm").encoder(64, "cpu"), tmp_path_factory.mktemp("features"))
    return encoder.embed(sports, CostMeter()), sports.labels_N


def test_herding_beats_random_texts_of_real_news(encoded_news):
    """SynAlign's alignment rests on it: by 1.3 times in squared MMD for 10 texts, by 1.6 times for 50."""
    features, labels = encoded_news
    own = features[labels == 1].astype(np.float64)
    half = np.random.default_rng(0).permutation(len(own))
    pool, real = own[half[: len(own) // 2]], own[half[len(own) // 2 :]]
    target = Target.of(Kernel.around(real), pool, real)
    rng = np.random.default_rng(1)
    for count, factor in ((10, 1.3), (50, 1.6)):
        random = np.mean([target.squared_mmd_of(rng.choice(len(pool), count, replace=False)) for _ in range(50)])
        assert random / target.squared_mmd_of(target.herd(count)) >= factor
