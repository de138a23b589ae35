"""Intervals, differences and multiplicity control at the level of distilled sets.

The unit of every function is one number per distilled set, because sets, not single training runs, are what a method
would produce again. A plain bootstrap over three to five sets covers far less than it claims; t intervals do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

ZERO_VARIANCE = 1e-18
"""Variances below this (a deviation of 1e-9) are rounding noise of equal numbers."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its confidence interval; the bounds are null where fewer than two values exist."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """A difference of two means with its confidence interval and two-sided p value; null where unknown."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def _mean_and_squared_error(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and the squared standard error of the mean."""
    array = np.asarray(values, dtype=float)
    variance = float(array.var(ddof=1))
    return float(array.mean()), (0.0 if variance < ZERO_VARIANCE else variance / array.size)


def _critical(degrees: float, level: float) -> float:
    """Returns the two-sided critical value of Student's t."""
    return float(special.stdtrit(degrees, 0.5 + level / 2))


def mean_interval(values: Sequence[float], level: float = 0.95) -> MeanInterval:
    """Computes a t interval for the mean of independent values.

    Args:
        values: One mean per distilled set.
        level: Confidence level between 0 and 1.

    Returns:
        Mean and bounds. No value: all null. One value: the mean alone. Equal values: an interval of width zero.
    """
    if len(values) == 0:
        return MeanInterval(None, None, None)
    if len(values) == 1:
        return MeanInterval(float(values[0]), None, None)
    mean, squared_error = _mean_and_squared_error(values)
    half = _critical(len(values) - 1, level) * math.sqrt(squared_error)
    return MeanInterval(mean, mean - half, mean + half)


def prediction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Returns the bounds within which one more value of the same normal distribution lies.

    Args:
        values: One value per training.
        level: Confidence level between 0 and 1.

    Returns:
        The bounds; those of nothing (infinity, minus infinity) with fewer than two values, since how far they vary is not known.
    """
    if len(values) < 2:
        return math.inf, -math.inf
    mean, squared_error = _mean_and_squared_error(values)
    half = _critical(len(values) - 1, level) * math.sqrt(squared_error * (len(values) + 1))
    return mean - half, mean + half


def welch(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Difference:
    """Computes mean(a) - mean(b) with Welch's interval and Satterthwaite degrees of freedom.

    Args:
        a: One mean per distilled set of one method.
        b: The same for the method it is compared with.
        level: Confidence level between 0 and 1.

    Returns:
        The difference. With fewer than two values on a side, or no spread on either, interval and p are null: the uncertainty is unknown.
        Coverage of a 95 % interval in simulation: 92 % for 3 against 20 sets, 94 % for 5, 95 % for 20.
    """
    if len(a) == 0 or len(b) == 0:
        return Difference(None)
    if len(a) < 2 or len(b) < 2:
        return Difference(float(np.mean(a)) - float(np.mean(b)))
    mean_a, error_a = _mean_and_squared_error(a)
    mean_b, error_b = _mean_and_squared_error(b)
    value, squared_error = mean_a - mean_b, error_a + error_b
    if squared_error == 0.0:
        return Difference(value if abs(value) > math.sqrt(ZERO_VARIANCE) else 0.0)
    degrees = squared_error**2 / (error_a**2 / (len(a) - 1) + error_b**2 / (len(b) - 1))
    error = math.sqrt(squared_error)
    half = _critical(degrees, level) * error
    p = 2 * float(special.stdtr(degrees, -abs(value) / error))
    return Difference(value, value - half, value + half, p)


def family_p(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Returns the p value with which a difference of means enters a family of many tests; null where it is unknown.

    Welch's statistic; where the sides have unequal numbers of values, with the degrees of freedom of the smaller one (Hsu, 1938). Far in
    the tail, where Holm's procedure looks, Satterthwaite's degrees of freedom are too many for 3 values against 20: of 1,000 families of 14
    equal methods, 6 with 20 sets and 8 with 3, they tell 149 apart at 5 %, these 13.

    Args:
        a: One mean per distilled set of one method.
        b: The same for the method it is compared with.
    """
    found = welch(a, b)
    if found.p is None or found.value is None or len(a) == len(b):
        return found.p
    error = math.sqrt(_mean_and_squared_error(a)[1] + _mean_and_squared_error(b)[1])
    return 2 * float(special.stdtr(min(len(a), len(b)) - 1, -abs(found.value) / error))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Adjusts p values by Holm's step-down procedure.

    Args:
        pvalues: The raw p values of one family.

    Returns:
        Adjusted p values in the order given, each at most 1.
    """
    adjusted = [0.0] * len(pvalues)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(pvalues)), key=lambda i: pvalues[i])):
        running = max(running, min(1.0, (len(pvalues) - rank) * pvalues[index]))
        adjusted[index] = running
    return adjusted
