"""Privacy accounting: two independent accountants, and the noise that a budget allows.

The first, whose upper bound is what a row prints, composes privacy-loss distributions (Doroshenko et al., 2022; dp-accounting). It knows
every mechanism here. The second (Gopi et al., 2021; opacus) knows Gaussian noise only and checks the first.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tdbench.bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIVACY_VERSION = 2
"""Raised whenever the same options and rows give other noise or another promise; part of the ids of private sets."""
MOST_NOISE, LEAST_NOISE = 1e6, 1e-3
_AGREEMENT, _RESOLUTION = 0.02, 2e-3
_STEP = 1e-3
"""Relative width to which a noise multiplier is sought; always on the side of more noise."""


@dataclass(frozen=True)
class Mechanism:
    """A noisy sum over rows, answered several times.

    Args:
        kind: Gaussian noise on a sum of all rows, on a sum of a Poisson sample of rows, or Laplace noise on a sum of all rows.
        noise: Standard deviation (Laplace: scale) of the noise over the sensitivity to one row.
        rate: Probability with which every row takes part (Poisson samples).
        steps: Number of answers.
    """

    kind: Literal["gaussian", "sampled-gaussian", "laplace"]
    noise: float
    rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if self.kind not in {"gaussian", "sampled-gaussian", "laplace"}:
            raise UsageError(f"unknown mechanism '{self.kind}'; expected gaussian, sampled-gaussian or laplace.")
        if not 0 < self.rate <= 1 or self.steps < 0 or self.noise < 0:
            raise UsageError(f"a mechanism needs a rate in (0, 1], steps and noise of 0 or more; got {self}.")
        if (self.kind == "sampled-gaussian") == (self.rate == 1):
            raise UsageError(f"a rate below 1 belongs to 'sampled-gaussian' and to nothing else; got {self}.")


def delta_for(n_rows: int) -> float:
    """Returns 1 / (10 N), for N rows (Ochs and Habernal, 2025)."""
    return 1.0 / (10 * n_rows)


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float, *, group: int = 1, sets: int = 1) -> float:
    """Returns an upper bound on epsilon of all answers together, by privacy-loss distributions.

    Args:
        mechanisms: What was answered, on the same rows.
        delta: Of the promise.
        group: The promise covers so many rows together.
        sets: Everything was done so many times, with fresh noise.

    Returns:
        Epsilon under adding or removing `group` rows; infinity where an answer had no noise.
    """
    asked = [one for one in mechanisms if one.steps > 0]
    if not asked:
        return 0.0
    if any(one.noise == 0 for one in asked):
        return math.inf
    if all(one.kind == "gaussian" for one in asked):
        return gaussian_epsilon(group * math.sqrt(sets * sum(one.steps / one.noise**2 for one in asked)), delta)
    return _composed(tuple(asked), delta, group, sets)


@cache
def _composed(mechanisms: tuple[Mechanism, ...], delta: float, group: int, sets: int) -> float:
    whole: Any = None
    for one in mechanisms:
        part = _loss(one, group).self_compose(one.steps * sets)
        whole = part if whole is None else whole.compose(part)
    return max(0.0, float(whole.get_epsilon_for_delta(delta)))


def _loss(one: Mechanism, group: int) -> Any:
    """Returns the distribution of one answer's privacy loss; a group moves a sum so many times as far, or as many times as were sampled."""
    from dp_accounting.pld import privacy_loss_distribution as losses
    from scipy.stats import binom

    if one.kind == "laplace":
        return losses.from_laplace_mechanism(one.noise / group)
    if group == 1:
        return losses.from_gaussian_mechanism(one.noise, sampling_prob=one.rate)
    taken = np.arange(group + 1)
    chances = binom.pmf(taken, group, one.rate)
    return losses.from_mixture_gaussian_mechanism(one.noise, taken.tolist(), chances.tolist())


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Returns delta of Gaussian noise at epsilon (Balle and Wang, 2018, theorem 8).

    Args:
        mu: Sensitivity over standard deviation; of several answers the root of the sum of squares.
        epsilon: Epsilon.
    """
    from scipy.stats import norm

    if mu == 0:
        return 0.0
    first, second = norm.cdf(mu / 2 - epsilon / mu), norm.logcdf(-mu / 2 - epsilon / mu)
    return float(max(0.0, first - math.exp(epsilon + second)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Returns the exact epsilon of Gaussian noise at delta; `mu` as in `gaussian_delta`."""
    from scipy.optimize import brentq

    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2
    found: Any = brentq(lambda epsilon: gaussian_delta(mu, epsilon) - delta, 0.0, high, xtol=1e-10)
    return float(found)


def prv_epsilon(mechanisms: Sequence[Mechanism], delta: float, eps_error: float = 1e-3) -> float | None:
    """Returns epsilon by the second accountant, for single rows; None where some noise is not Gaussian or is missing.

    Args:
        mechanisms: What was answered, on the same rows.
        delta: Of the promise.
        eps_error: Error to which it reckons; the result is its upper bound.
    """
    from opacus.accountants import PRVAccountant

    asked = [one for one in mechanisms if one.steps > 0]
    if not asked or any(one.kind == "laplace" or one.noise == 0 for one in asked):
        return None
    accountant = PRVAccountant()
    accountant.history = [(one.noise, one.rate, one.steps) for one in asked]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its first guess, by Renyi orders, which is refined afterwards
        return float(accountant.get_epsilon(delta, eps_error=eps_error))


def check_agreement(first: float, second: float | None) -> None:
    """Compares what two accountants say.

    Raises:
        UsageError: They differ by more than 2 % (and 0.002, twice what the second one reckons to): one of them cannot be used here.
    """
    if second is not None and abs(first - second) > _AGREEMENT * first + _RESOLUTION:
        raise UsageError(
            f"two accountants disagree about epsilon: {first:.4f} and {second:.4f}; give fewer steps, or a larger sampling rate."
        )


@cache
def scale_for(planned: tuple[Mechanism, ...], epsilon: float, delta: float, *, group: int = 1) -> float:
    """Returns the smallest factor on all noise multipliers at which all answers together keep within a budget.

    Raises:
        UsageError: No noise is enough.
    """
    if not any(one.steps > 0 for one in planned):
        return 1.0
    high = 1.0
    while _scaled(planned, high, delta, group) > epsilon:
        high *= 2
        if high > MOST_NOISE:
            raise UsageError(f"no noise keeps {list(planned)} within epsilon {epsilon:g} at delta {delta:.2g}.")
    low = high / 2
    while (
        _scaled(planned, low, delta, group) <= epsilon
    ):  # never far below what is enough: little noise takes long to reckon
        high, low = low, low / 2
        if low < LEAST_NOISE:
            return high
    while high / low > 1 + _STEP:
        middle = math.sqrt(low * high)
        if _scaled(planned, middle, delta, group) > epsilon:
            low = middle
        else:
            high = middle
    return high


def _scaled(planned: Sequence[Mechanism], scale: float, delta: float, group: int) -> float:
    return epsilon_of([replace(one, noise=one.noise * scale) for one in planned], delta, group=group)


def accountants(mechanisms: Sequence[Mechanism], checked: bool) -> tuple[str, ...]:
    """Names what `epsilon_of` reckoned with, and `prv_epsilon` where it was asked."""
    if not mechanisms:
        return ()
    plain = all(one.kind == "gaussian" for one in mechanisms)
    first = (
        "Gaussian, in closed form (Balle and Wang, 2018)" if plain else f"PLD, dp-accounting {version('dp-accounting')}"
    )
    return (first, f"PRV, opacus {version('opacus')}") if checked else (first,)
