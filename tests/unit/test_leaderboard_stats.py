"""Statistics of the board against scipy, and their coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from tdbench.leaderboard.stats import Difference, MeanInterval, holm, mean_interval, welch

SAMPLES = [
    ([0.61, 0.63, 0.66], [0.5, 0.58, 0.52, 0.55, 0.51]),
    ([0.9, 0.1], [0.5, 0.52, 0.51]),
    ([0.7, 0.7, 0.7], [0.5, 0.6]),
]


@pytest.mark.parametrize("values", [pair[0] for pair in SAMPLES[:2]] + [pair[1] for pair in SAMPLES])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_mean_interval_equals_scipy(values, level):
    low, high = reference.t.interval(level, len(values) - 1, np.mean(values), reference.sem(values))
    ours = mean_interval(values, level)
    assert (ours.mean, ours.low, ours.high) == pytest.approx((np.mean(values), low, high))


def test_mean_interval_of_too_few_values_is_null():
    assert mean_interval([]) == MeanInterval(None, None, None)
    assert mean_interval([0.4]) == MeanInterval(0.4, None, None)


def test_mean_interval_of_equal_values_has_no_width():
    ours = mean_interval([0.1 + 0.2, 0.3, 0.3])
    assert ours.low == ours.high == ours.mean


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy, on the sample without spread
@pytest.mark.parametrize(("a", "b"), SAMPLES)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_welch_equals_scipy(a, b, level):
    test = reference.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(level)
    ours = welch(a, b, level)
    assert ours.value == pytest.approx(np.mean(a) - np.mean(b))
    assert (ours.low, ours.high, ours.p) == pytest.approx((interval.low, interval.high, test.pvalue))


def test_welch_without_spread():
    """How sure a difference is cannot be known from values that never vary, equal ones included."""
    assert welch([0.5, 0.5], [0.5, 0.5, 0.5]) == Difference(0.0)
    different = welch([0.6, 0.6], [0.5, 0.5])
    assert different.value == pytest.approx(0.1)
    assert (different.low, different.high, different.p) == (None, None, None)


def test_welch_of_single_values_gives_only_the_difference():
    assert welch([0.75], [0.5, 0.5]) == Difference(0.25)
    assert welch([], [0.5, 0.5]) == Difference(None)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_monotone_and_never_below_raw(pvalues):
    adjusted = holm(pvalues)
    assert all(raw <= new <= 1.0 for raw, new in zip(pvalues, adjusted, strict=True))
    ordered = [new for _, new in sorted(zip(pvalues, adjusted, strict=True))]
    assert ordered == sorted(ordered)
    assert all(new <= min(1.0, raw * len(pvalues)) + 1e-12 for raw, new in zip(pvalues, adjusted, strict=True))


def _set_means(rng, n_sets, mean, n_simulations):
    """Draws set means with a set effect and the binomial noise of 1,000 test rows."""
    quality = np.clip(rng.normal(mean, 0.02, (n_simulations, n_sets)), 0, 1)
    return rng.binomial(1000, quality) / 1000


@pytest.mark.parametrize("n_sets", [3, 5, 20])
def test_mean_interval_covers_what_it_claims(n_sets):
    samples = _set_means(np.random.default_rng(n_sets), n_sets, 0.8, 4000)
    intervals = [mean_interval(sample) for sample in samples]
    coverage = np.mean([interval.low <= 0.8 <= interval.high for interval in intervals])
    assert coverage == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("n_sets", "coverage"), [(3, 0.92), (5, 0.94), (20, 0.95)])
def test_welch_against_twenty_reference_sets_covers_what_is_documented(n_sets, coverage):
    """Three sets against twenty is where Satterthwaite's degrees of freedom are known to be somewhat liberal."""
    rng = np.random.default_rng(100 + n_sets)
    a, b = _set_means(rng, n_sets, 0.8, 4000), _set_means(rng, 20, 0.7, 4000)
    found = [welch(x, y) for x, y in zip(a, b, strict=True)]
    assert np.mean([one.low <= 0.1 <= one.high for one in found]) == pytest.approx(coverage, abs=0.015)
    assert all(math.isfinite(one.p) for one in found)
