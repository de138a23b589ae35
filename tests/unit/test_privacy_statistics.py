"""Statistics of membership inference against scipy, scikit-learn, the published table of one-run audits, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from tdbench.bench.privacy.statistics import (
    auc,
    clopper_pearson,
    epsilon_lower,
    estimate_auc,
    estimate_tpr,
    p_value,
    true_positive_rate,
)
from tdbench.bench.privacy.statistics import roc_curve as own_curve
from tdbench.bench.record import ROC_FPR


def scored(n: int = 400, shift: float = 0.5, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Scores and members."""
    rng = np.random.default_rng(seed)
    members = rng.random(n) < 0.4
    scores = rng.normal(size=n) + shift * members
    return (scores.round(1) if ties else scores), members


@pytest.mark.parametrize("ties", [False, True])
def test_the_auc_is_scikit_learns_and_mann_and_whitneys(ties: bool) -> None:
    scores, members = scored(ties=ties)
    u = stats.mannwhitneyu(scores[members], scores[~members]).statistic
    assert auc(scores, members) == pytest.approx(roc_auc_score(members, scores), abs=1e-12)
    assert auc(scores, members) == pytest.approx(u / members.sum() / (~members).sum(), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_error_of_one_run_is_delongs(ties: bool) -> None:
    scores, members = scored(ties=ties)
    above = (scores[members][:, None] > scores[~members]) + 0.5 * (scores[members][:, None] == scores[~members])
    expected = np.sqrt(
        above.mean(axis=1).var(ddof=1) / members.sum() + above.mean(axis=0).var(ddof=1) / (~members).sum()
    )
    found = estimate_auc(scores[None], members[None], [0])
    assert found.se == pytest.approx(expected, rel=1e-9)
    half = stats.norm.ppf(0.975) * expected
    assert (found.low, found.high) == (pytest.approx(found.auc - half), pytest.approx(found.auc + half))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.auc - 0.5) / expected))


def test_runs_that_repeat_each_other_are_worth_no_more_than_one() -> None:
    scores, members = scored()
    one = estimate_auc(scores[None], members[None], [0])
    four = estimate_auc(np.tile(scores, (4, 1)), np.tile(members, (4, 1)), [0, 1, 2, 3])
    assert four.se == pytest.approx(one.se)
    assert four.by_run == (one.auc,) * 4


def test_what_a_candidate_scores_anyhow_cancels_between_complementary_runs() -> None:
    rng = np.random.default_rng(1)
    members = rng.random(500) < 0.5
    anyhow = rng.normal(size=500)
    pair = estimate_auc(np.stack([anyhow, anyhow]), np.stack([members, ~members]), [0, 0])
    assert pair.auc == pytest.approx(0.5, abs=1e-12)
    assert pair.se < 1e-3  # the two runs' own errors are 0.026 each
    assert pair.detectable < 0.503


def test_the_true_positive_rate_is_that_of_scikit_learns_curve() -> None:
    scores, members = scored(n=3000)
    for fpr in (0.001, 0.01, 0.1):
        rates, hits, _ = roc_curve(members, scores, drop_intermediate=False)
        assert true_positive_rate(scores, members, fpr) == pytest.approx(hits[rates <= fpr].max())


def test_ties_at_the_threshold_do_not_count_as_found() -> None:
    scores, members = np.array([1.0, 1.0, 0.0, 1.0]), np.array([True, True, False, False])
    assert true_positive_rate(scores, members, 0.0) == 0.0
    assert true_positive_rate(scores, members, 1.0) == 1.0


def test_a_rate_at_one_percent_needs_a_thousand_non_members() -> None:
    scores, members = scored(n=3000)
    enough = np.flatnonzero(~members)[:1000]
    rows = np.concatenate([np.flatnonzero(members)[:1000], enough])
    found = estimate_tpr(scores[rows][None], members[rows][None], 0.01)
    assert found is not None
    hits = round(found.tpr * 1000)
    assert (found.low, found.high) == (
        pytest.approx(stats.beta.ppf(0.025, hits, 1001 - hits)),
        pytest.approx(stats.beta.ppf(0.975, hits + 1, 1000 - hits)),
    )
    assert estimate_tpr(scores[rows[:-1]][None], members[rows[:-1]][None], 0.01) is None
    assert estimate_tpr(scores[rows][None], members[rows][None], 0.001) is None


def test_clopper_pearson_at_its_ends() -> None:
    assert clopper_pearson(0, 50) == (0.0, pytest.approx(1 - 0.025 ** (1 / 50)))
    assert clopper_pearson(50, 50) == (pytest.approx(0.025 ** (1 / 50)), 1.0)


def test_the_curve_is_scikit_learns_where_it_has_points() -> None:
    scores, members = scored(n=5000)
    rates, hits, _ = roc_curve(members, scores, drop_intermediate=False)
    last = np.r_[rates[1:] != rates[:-1], True]
    expected = np.interp(ROC_FPR, rates[last], hits[last])
    assert own_curve(scores[None], members[None]) == pytest.approx(expected, abs=1e-6)
    assert ROC_FPR[0] == 0.001
    assert ROC_FPR[-1] == 1.0


def test_the_smallest_auc_that_is_found_is_found_four_times_in_five() -> None:
    """Its interval must keep clear of 0.5 with probability 0.8, for one run and for a few pairs that differ."""
    rng = np.random.default_rng(3)
    members = np.arange(600) < 300

    def run(auc_: float, spread: float) -> np.ndarray:
        shift = np.sqrt(2) * stats.norm.ppf(auc_) + spread * rng.normal()
        return rng.normal(size=600) + shift * members

    one = estimate_auc(run(0.5, 0.0)[None], members[None], [0])
    assert one.detectable == pytest.approx(0.5 + (1.959964 + 0.841621) * one.se, abs=1e-6)
    assert one.detectable == pytest.approx(0.566, abs=0.002)
    found = [estimate_auc(run(one.detectable, 0.0)[None], members[None], [0]).low > 0.5 for _ in range(300)]
    assert 0.73 <= np.mean(found) <= 0.87


def test_an_auc_that_may_be_chance_is_never_above_what_would_have_been_found() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        members = rng.random((4, 200)) < 0.5
        scores = rng.normal(size=(4, 200)) + rng.normal(scale=0.3, size=(4, 1)) * members
        found = estimate_auc(scores, members, [0, 1, 2, 3])
        if found.low <= 0.5 <= found.auc:
            assert found.auc < found.detectable


def test_scores_that_never_vary_find_nothing() -> None:
    found = estimate_auc(np.zeros((2, 10)), np.tile(np.arange(10) < 5, (2, 1)), [0, 1])
    assert (found.auc, found.se, found.p_value, found.detectable) == (0.5, 0.0, 1.0, None)


@pytest.mark.parametrize(
    ("guesses", "right", "bound"),
    [(1000, 560, 0.13), (1000, 600, 0.30), (1000, 1000, 5.8), (100, 80, 0.96), (100, 100, 3.5)],
)
def test_one_run_bounds_equal_the_published_table(guesses: int, right: int, bound: float) -> None:
    assert epsilon_lower(guesses, right, candidates=1000) == pytest.approx(bound, abs=0.01 if bound < 3 else 0.05)


def test_a_bound_is_where_the_binomial_tail_is_five_percent() -> None:
    bound = epsilon_lower(1000, 600)
    assert stats.binom.sf(599, 1000, 1 / (1 + np.exp(-bound))) == pytest.approx(0.05, abs=1e-6)
    assert p_value(1000, 600, 0.0) == pytest.approx(stats.binomtest(600, 1000, alternative="greater").pvalue)


def test_delta_follows_the_theorem_term_by_term() -> None:
    guesses, right, epsilon, delta, coins = 40, 35, 1.0, 1e-3, 200
    law = stats.binom(guesses, 1 / (1 + np.exp(-epsilon)))
    most = max(sum(law.pmf(v) for v in range(right - i, right)) / i for i in range(1, right + 1))
    expected = law.sf(right - 1) + 2 * coins * delta * most
    assert p_value(guesses, right, epsilon, delta, coins) == pytest.approx(expected)


@pytest.mark.parametrize(("guesses", "right"), [(0, 0), (10, 0), (10, 5)])
def test_guesses_no_better_than_coins_refute_nothing(guesses: int, right: int) -> None:
    assert epsilon_lower(guesses, right) == 0.0
    assert p_value(guesses, right, 0.0) > 0.05


def test_a_larger_promise_is_harder_to_refute() -> None:
    values = [p_value(100, 80, epsilon, 1e-5, 1000) for epsilon in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert values == sorted(values)


N_SIMULATED = 400


@pytest.mark.parametrize("n_pairs", [3, 4])
@pytest.mark.parametrize(
    ("anyhow", "leak", "spread"),
    [(0.0, 0.0, 0.0), (1.0, 0.3, 0.0), (1.0, 0.3, 0.05), (1.0, 0.3, 0.15)],
    ids=["null", "records", "runs alike", "runs differ"],
)
def test_intervals_cover_on_the_design_of_the_audits(n_pairs: int, anyhow: float, leak: float, spread: float) -> None:
    """Complementary pairs over one pool; candidates with scores of their own, runs that leak more or less."""
    rng = np.random.default_rng(7)
    n_groups, pairs = 600, np.repeat(np.arange(n_pairs), 2)
    truth = stats.norm.cdf(rng.normal(leak, spread, 200_000) / np.sqrt(2 * (1 + anyhow**2))).mean()
    covered = 0
    for _ in range(N_SIMULATED):
        own, coins = anyhow * rng.normal(size=n_groups), rng.random((n_pairs, n_groups)) < 0.5
        members = np.array([coins[pair] ^ bool(side) for pair in range(n_pairs) for side in (0, 1)])
        leaks = rng.normal(leak, spread, (2 * n_pairs, 1))
        found = estimate_auc(own + leaks * members + rng.normal(size=members.shape), members, pairs)
        covered += found.low <= truth <= found.high
    # 93 to 97 %, and what chance adds to a share of 400.
    assert 0.93 - 0.012 <= covered / N_SIMULATED <= 0.97 + 0.012
