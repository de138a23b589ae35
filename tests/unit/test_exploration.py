"""Exploration: picks and variances against scikit-learn's Gaussian process, fitted anew each time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from tdbench.methods.synalign.exploration import JITTER, Explorer, length_scale


def points(n=60, n_dims=8, seed=0):
    made = np.random.default_rng(seed).normal(size=(n, n_dims))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def reference(points_ND, length, observed):
    process = GaussianProcessRegressor(RBF(length), alpha=JITTER, optimizer=None)
    process.fit(points_ND[observed], np.zeros(len(observed)))
    return process.predict(points_ND, return_std=True)[1] ** 2


@pytest.mark.parametrize("length", [0.5, 1.0])
def test_variances_are_those_of_a_process_that_is_fitted_anew(length):
    points_ND = points()
    explorer = Explorer(points_ND, length)
    observed = [3, 17, 40, 8]
    for place in observed:
        explorer.observe(place)
    assert np.abs(explorer.variance_N - reference(points_ND, length, observed)).max() < 1e-6


@pytest.mark.parametrize("n_neighbours", [0, 1])
def test_picks_are_those_of_a_process_that_is_fitted_anew(n_neighbours):
    points_ND = points()
    length = length_scale(points_ND, 0.75, np.random.default_rng(0))
    groups = Explorer(points_ND, length).explore(20, first=5, n_neighbours=n_neighbours)
    assert groups[0][0] == 5
    used = list(groups[0])
    for group in groups[1:]:
        variance = reference(points_ND, length, used)
        variance[used] = -1
        assert variance[group[0]] == pytest.approx(variance.max(), abs=1e-7)
        used += group
    assert len(set(used)) == len(used) == 20 * (1 + n_neighbours)


def test_neighbours_are_the_nearest_that_are_left():
    points_ND = points(20)
    (group,) = Explorer(points_ND, 1.0).explore(1, first=0, n_neighbours=2)
    far = np.linalg.norm(points_ND - points_ND[0], axis=1)
    assert group == np.argsort(far)[:3].tolist()


def test_it_ends_when_there_are_no_more_points():
    groups = Explorer(points(7), 1.0).explore(50, first=0, n_neighbours=1)
    assert sorted(i for group in groups for i in group) == list(range(7))


def test_the_published_length_scale_is_blind_and_ours_is_not():
    """At 0.1 all variances of sentence embeddings stay at 1, so the choice follows the order of rows."""
    points_ND = points(50, n_dims=384)
    blind, seeing = (
        Explorer(points_ND, 0.1),
        Explorer(points_ND, length_scale(points_ND, 0.75, np.random.default_rng(0))),
    )
    for explorer in (blind, seeing):
        explorer.observe(0)
    assert blind.variance_N[1:].min() > 1 - 1e-12
    assert np.ptp(seeing.variance_N[1:]) > 1e-3
