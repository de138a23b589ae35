"""Scaling laws: simulated curves come back, intervals cover, and nothing is said beyond what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from tdbench.leaderboard.scaling import Fit, Law, Points, data_equivalence, fit_law

SIZES = np.array([1, 5, 10, 20, 50, 100, 200], dtype=float)
TRUE = Law(scale=2.0, prior=3.0, beta=0.7, floor=0.08)


def simulated(law=TRUE, spread=0.04, n_sets=3, seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    noise = np.exp(spread * rng.normal(size=(len(sizes), n_sets)))
    return Points.of({int(size): row for size, row in zip(sizes, law(sizes)[:, None] * noise, strict=True)})


@pytest.mark.parametrize("law", [TRUE, Law(0.5, 0.0, 0.4, 0.05), Law(6.0, 20.0, 1.2, 0.12)])
def test_a_curve_without_noise_comes_back(law):
    found = fit_law(simulated(law, spread=0.0), n_draws=1)
    assert np.allclose(found.law(SIZES), law(SIZES), rtol=2e-3)
    assert found.misfit < 2e-3
    assert found.misfit < found.power_misfit


def test_the_published_series_is_fitted_better_than_by_a_power_law():
    """Fine-tuning losses of a public scaling-law repository, 200 to 1.6 million examples, to three digits."""
    law = Law(584.0, 173.0, 0.46, 1.09)
    sizes = 200.0 * 2 ** np.arange(14)
    points = Points.of({int(size): [float(f"{loss:.3g}")] for size, loss in zip(sizes, law(sizes), strict=True)})
    found = fit_law(points, n_draws=1)
    assert found.misfit < 0.005
    assert found.power_misfit > 10 * found.misfit


@pytest.mark.parametrize(
    ("n_boards", "n_draws", "least"), [(16, 60, 0.80), pytest.param(80, 150, 0.90, marks=pytest.mark.slow)]
)
def test_intervals_cover_the_curve(n_boards, n_draws, least):
    """Of simulated boards with three sets a size; expected 95 %."""
    covered = []
    for seed in range(n_boards):
        fit = fit_law(simulated(seed=seed), seed=seed, n_draws=n_draws)
        low, high = fit.interval(SIZES)
        covered.append((low <= TRUE(SIZES)) & (TRUE(SIZES) <= high))
    share = np.mean(covered)
    assert least <= share <= 0.98, share


def test_a_plateau_is_named_only_where_it_is_seen():
    seen = fit_law(
        simulated(Law(2.0, 3.0, 1.2, 0.1), spread=0.01, n_sets=5, sizes=np.array([1, 5, 20, 50, 200, 1000, 5000.0]))
    )
    assert seen.plateau == pytest.approx(0.1, rel=0.1)
    unseen = [
        fit_law(simulated(Law(0.9, 0.5, 0.2, 0.0), spread=0.05, seed=seed), n_draws=60).plateau for seed in range(8)
    ]
    assert sum(one is not None for one in unseen) <= 1  # at most 5 % are expected


def test_six_sizes_and_three_sets_are_enough():
    assert simulated().enough
    assert not simulated(n_sets=2).enough
    assert not simulated(sizes=SIZES[:5]).enough


@pytest.fixture(scope="module")
def random() -> Fit:
    return fit_law(simulated(spread=0.02, n_sets=20), n_draws=200)


def test_a_text_of_a_method_that_is_random_is_worth_one(random):
    worth = data_equivalence(
        random, 20, list(np.atleast_1d(TRUE(20.0)) * np.exp(0.02 * np.random.default_rng(1).normal(size=20)))
    )
    assert worth.low < 1 < worth.high
    assert worth.value == pytest.approx(1, abs=0.2)


def test_a_text_that_is_worth_four(random):
    errors = float(TRUE(40.0)) * np.exp(0.01 * np.random.default_rng(2).normal(size=5))
    worth = data_equivalence(random, 10, list(errors))
    assert worth.value == pytest.approx(4, rel=0.15)
    assert worth.low < 4 < worth.high
    assert not worth.beyond


def test_nothing_is_said_beyond_the_largest_random_set(random):
    better = data_equivalence(random, 10, [float(TRUE(200.0)) * 0.8] * 3)
    assert (better.value, better.high, better.beyond, better.most) == (None, None, True, 20.0)
    worse = data_equivalence(random, 10, [0.9, 0.9])
    assert (worse.value, worse.low) == (None, None)
    assert (worse.beyond, worse.below, worse.least) == (False, True, 0.1)
    one = data_equivalence(random, 10, [float(TRUE(200.0)) * 0.8])
    assert (one.value, one.beyond) == (None, False)
