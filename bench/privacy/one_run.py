"""Lower bounds on epsilon from one run: candidates whose membership was a fair coin each (Steinke et al., 2023)."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

LARGEST_EPSILON = 30.0
_STEPS = 60


def p_value(guesses: int, right: int, epsilon: float, delta: float = 0.0, candidates: int | None = None) -> float:
    """Bounds the chance of so many right guesses under (epsilon, delta)-differential privacy (Steinke et al., 2023, theorem 5.2).

    Args:
        guesses: Candidates r whose membership was guessed. With delta 0 their number may be read off the sets, as in the phantom test; with
            delta above 0 the theorem wants it fixed beforehand, and the bound is then an approximation.
        right: Right guesses v.
        epsilon: The promise.
        delta: The promise.
        candidates: Coins m that were thrown; `guesses` where nothing is said.
    """
    chance = 1 / (1 + math.exp(-epsilon))
    law = stats.binom(guesses, chance)
    base = float(law.sf(right - 1))
    if not delta or not guesses:
        return min(1.0, base)
    i = np.arange(1, right + 1)
    most = float(((law.cdf(right - 1) - law.cdf(right - i - 1)) / i).max()) if right else 0.0
    return min(1.0, base + 2 * (candidates or guesses) * delta * most)


def epsilon_lower(
    guesses: int, right: int, alpha: float = 0.05, delta: float = 0.0, candidates: int | None = None
) -> float:
    """Returns the largest epsilon that so many right guesses refute at level alpha; 0 where they refute none.

    Args:
        guesses: As for `p_value`.
        right: As for `p_value`.
        alpha: Chance of a bound above the truth.
        delta: As for `p_value`.
        candidates: As for `p_value`.
    """
    low, high = 0.0, LARGEST_EPSILON
    if not guesses or p_value(guesses, right, low, delta, candidates) > alpha:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if p_value(guesses, right, middle, delta, candidates) <= alpha:
            low = middle
        else:
            high = middle
    return low
