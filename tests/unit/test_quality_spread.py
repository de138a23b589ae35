"""Variety and distance to real texts in a space of features."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tdbench.bench.matching.alignment import Kernel
from tdbench.bench.quality import spread
from tdbench.bench.quality.spread import distance_to_real, mauve_score, vendi_score


def unit(points):
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (40, 40)])
def test_vendi_is_the_score_of_its_authors_package(shape):
    vendi = pytest.importorskip("vendi_score.vendi")
    points = unit(np.random.default_rng(0).normal(size=shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # their package reads a name that scipy has moved
        expected = vendi.score_K(points @ points.T)
    assert vendi_score(points) == pytest.approx(expected, rel=1e-9)


def test_vendi_counts_different_texts():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 1))) == pytest.approx(1)
    with_empty = np.vstack([np.eye(3), np.zeros((2, 3))])
    assert vendi_score(with_empty) == pytest.approx(3)
    assert np.isnan(vendi_score(np.zeros((2, 3))))


def test_the_distance_is_the_mean_over_classes_of_the_double_sums():
    rng = np.random.default_rng(1)
    made, real = rng.normal(size=(9, 4)) + 0.5, rng.normal(size=(30, 4))
    labels, real_labels = np.array([0, 1, 2] * 3), np.array([0, 1, 2] * 10)
    expected = []
    for label in range(3):
        x, y = made[labels == label], real[real_labels == label]
        k = Kernel.around(y)
        n, m = len(x), len(y)
        xx = sum(k(x[[i]], x[[j]])[0, 0] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        yy = sum(k(y[[i]], y[[j]])[0, 0] for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
        expected.append(xx + yy - 2 * k(x, y).mean())
    assert distance_to_real(made, labels, real, real_labels)[0] == pytest.approx(np.mean(expected), abs=1e-12)


def test_the_test_rejects_as_often_as_it_says_and_finds_a_shift(monkeypatch):
    monkeypatch.setattr(spread, "PERMUTATIONS", 199)
    rng = np.random.default_rng(2)
    labels, real_labels = np.repeat([0, 1], 6), np.repeat([0, 1], 40)

    def p(shift):
        real = rng.normal(size=(80, 3)) + 4 * real_labels[:, None]  # classes far apart: they must not be mixed
        return distance_to_real(rng.normal(size=(12, 3)) + 4 * labels[:, None] + shift, labels, real, real_labels)[1]

    null = np.array([p(0) for _ in range(300)])
    assert 0.02 < (null <= 0.05).mean() < 0.09
    assert 0.42 < (null <= 0.5).mean() < 0.58
    assert np.mean([p(1.5) <= 0.05 for _ in range(20)]) > 0.9


def test_ties_are_counted_so_that_the_least_p_is_the_exact_one():
    made, real = np.array([[0.0], [0.1], [0.2]]), np.array([[5.0], [5.1], [5.2]])
    _, p = distance_to_real(made, np.zeros(3, int), real, np.zeros(3, int))
    assert 0.07 < p < 0.13  # 2 of the 20 ways to split six texts are as far


@pytest.mark.parametrize(("n", "m"), [(1, 10), (10, 1)])
def test_a_class_of_one_has_no_distance(n, m):
    rng = np.random.default_rng(3)
    made, real = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    assert np.isnan(distance_to_real(made, np.zeros(n, int), real, np.zeros(m, int))).all()


def test_mauve_is_for_more_than_two_hundred_texts():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(260, 8))
    assert mauve_score(points[:200], points) is None
    pytest.importorskip("mauve")
    same, far = mauve_score(points, rng.normal(size=(260, 8))), mauve_score(points, points + 3)
    assert same is not None
    assert far is not None
    assert same > 0.8
    assert far < 0.1
