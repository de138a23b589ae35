"""What queries cost: against closed forms, a second accountant, and numerical integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tdbench.bench.errors import UsageError
from tdbench.bench.privacy.accounting import (
    Mechanism,
    accountants,
    check_agreement,
    delta_for,
    epsilon_of,
    gaussian_delta,
    gaussian_epsilon,
    prv_epsilon,
    scale_for,
)

# Rows, batch, epochs, noise multiplier and the epsilon that published accountants give at delta = 1 / (10 N).
SAMPLED = [(1_000, 256, 20, 7.42, 1.0), (20_000, 1_024, 20, 2.30, 2.0), (60_000, 1_024, 10, 0.86, 4.0)]


def sampled(rows: int, batch: int, epochs: int, noise: float) -> Mechanism:
    return Mechanism("sampled-gaussian", noise, batch / rows, round(epochs * rows / batch))


@pytest.mark.parametrize(("rows", "batch", "epochs", "noise", "epsilon"), SAMPLED)
def test_two_accountants_agree_within_two_percent_and_with_the_published_table(rows, batch, epochs, noise, epsilon):
    one, delta = sampled(rows, batch, epochs, noise), delta_for(rows)
    first, second = epsilon_of([one], delta), prv_epsilon([one], delta)
    assert second == pytest.approx(first, rel=0.02)
    assert first == pytest.approx(epsilon, rel=0.02)
    check_agreement(first, second)


@pytest.mark.parametrize("epsilon", [0.05, 0.25, 1.0, 4.0, 8.0])
def test_the_closed_form_of_gaussian_noise_is_its_hockey_stick_divergence(epsilon):
    mu, delta = 0.7, 1e-5
    grid = lambda x: max(0.0, stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x))  # noqa: E731
    start = epsilon / mu + mu / 2  # where the densities' ratio is e^epsilon
    integral, _ = integrate.quad(grid, start, start + 40, epsabs=1e-15)
    assert gaussian_delta(mu, epsilon) == pytest.approx(integral, rel=1e-6, abs=1e-14)
    assert gaussian_delta(1 / 3, gaussian_epsilon(1 / 3, delta)) == pytest.approx(delta, rel=1e-6)


def test_the_privacy_loss_distribution_agrees_with_the_closed_form():
    from dp_accounting.pld import privacy_loss_distribution as losses

    exact = epsilon_of([Mechanism("gaussian", 3.73, steps=2), Mechanism("gaussian", 5.0)], 1e-5)
    parts = [losses.from_gaussian_mechanism(sigma) for sigma in (3.73, 3.73, 5.0)]
    whole = parts[0].compose(parts[1]).compose(parts[2])
    assert exact == pytest.approx(whole.get_epsilon_for_delta(1e-5), rel=1e-3)
    assert prv_epsilon([Mechanism("gaussian", 3.73, steps=2), Mechanism("gaussian", 5.0)], 1e-5) == pytest.approx(
        exact, rel=0.02
    )


def test_published_noise_of_private_evolution_is_reproduced():
    # Xie et al. (2024), OpenReview: 8,396 rows, delta = 1 / (N ln N), ten rounds.
    rows = 8_396
    delta = 1 / (rows * math.log(rows))
    found = [scale_for((Mechanism("gaussian", 1.0, steps=10),), epsilon, delta) for epsilon in (1.0, 2.0, 4.0)]
    assert found == pytest.approx([11.60, 6.22, 3.38], rel=0.01)


def test_laplace_noise_alone_costs_the_inverse_of_its_scale():
    assert epsilon_of([Mechanism("laplace", 4.0)], 1e-9) == pytest.approx(0.25, rel=1e-3)
    assert prv_epsilon([Mechanism("laplace", 4.0)], 1e-9) is None
    mixed = epsilon_of([Mechanism("laplace", 4.0), Mechanism("gaussian", 3.0)], 1e-5)
    assert gaussian_epsilon(1 / 3, 1e-5) < mixed < gaussian_epsilon(1 / 3, 1e-5) + 0.25


@pytest.mark.parametrize("epsilon", [0.25, 1.0, 8.0])
def test_planned_noise_is_just_enough(epsilon):
    for planned in (
        (Mechanism("gaussian", 1.0, steps=4), Mechanism("gaussian", 0.5)),
        (sampled(5_000, 512, 5, 1.0),),
    ):
        scale = scale_for(planned, epsilon, 1e-5)
        spent = [
            epsilon_of([Mechanism(m.kind, m.noise * factor * scale, m.rate, m.steps) for m in planned], 1e-5)
            for factor in (1.0, 0.99)
        ]
        assert spent[0] <= epsilon < spent[1]


def test_a_group_of_rows_costs_what_moving_the_sum_so_many_times_as_far_costs():
    one, delta = Mechanism("gaussian", 4.0, steps=3), 1e-5
    assert epsilon_of([one], delta, group=3) == pytest.approx(
        epsilon_of([Mechanism("gaussian", 4 / 3, steps=3)], delta)
    )
    thin = Mechanism("sampled-gaussian", 2.0, 0.05, 20)
    single, pair = (epsilon_of([thin], delta, group=group) for group in (1, 2))
    assert single < pair < epsilon_of([Mechanism("sampled-gaussian", 1.0, 0.1, 20)], delta)
    # The generic bound for groups is (2 epsilon, (1 + e^epsilon) delta), and looser.
    loose = 2 * epsilon_of([thin], delta / (1 + math.exp(single)))
    assert pair < loose


def test_sets_together_cost_as_much_as_all_their_answers():
    one = Mechanism("gaussian", 4.0, steps=3)
    assert epsilon_of([one], 1e-5, sets=5) == pytest.approx(epsilon_of([Mechanism("gaussian", 4.0, steps=15)], 1e-5))


def test_no_question_costs_nothing_and_no_noise_costs_everything():
    assert epsilon_of([], 1e-5) == 0.0
    assert epsilon_of([Mechanism("gaussian", 1.0, steps=0)], 1e-5) == 0.0
    assert math.isinf(epsilon_of([Mechanism("gaussian", 0.0)], 1e-5))


def test_accountants_that_disagree_stop_the_run():
    check_agreement(1.0, None)
    with pytest.raises(UsageError, match=r"two accountants disagree about epsilon: 1.0000 and 1.1000"):
        check_agreement(1.0, 1.1)


def test_mechanisms_that_make_no_sense_are_refused():
    for kind, noise, rate, steps in (
        ("gaussian", 1.0, 0.5, 1),
        ("sampled-gaussian", 1.0, 1.0, 1),
        ("laplace", -1.0, 1.0, 1),
    ):
        with pytest.raises(UsageError, match=r"mechanism needs|belongs to"):
            Mechanism(kind, noise, rate, steps)
    assert accountants([Mechanism("laplace", 1.0)], False) != accountants([Mechanism("gaussian", 1.0)], False)
    assert len(accountants([Mechanism("gaussian", 1.0)], True)) == 2
    assert accountants([], False) == ()
    assert np.isfinite(epsilon_of([Mechanism("sampled-gaussian", 2.0, 0.999, 1)], 1e-5))
