"""How a method's error falls with the number of texts: the rectified scaling law, and the data equivalence of a text in random real ones.

L(D) = B / (D_l + D^beta) + E (Lin et al., 2024), with D texts a class. D_l says how much the learner knew before, E what no number of
texts removes. With D_l = E = 0 it is the plain power law. Fits are least squares of logarithms, so that a point counts by its relative
error. (Published fits take a Huber loss of width 0.001: with errors of distilled sets that is the absolute deviation, and less certain.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq, least_squares

Floats = NDArray[np.float64]

LEAST_BUDGETS, LEAST_SETS = 6, 3
BOOTSTRAPS = 400
_BETAS, _PRIORS, _FLOORS = (0.3, 0.6, 1.0), (0.0, 2.0, 5.0), (0.05, 0.5, 0.9)
_BETA_LIMITS = (0.02, 4.0)
_TINY = 1e-6
"""Errors below it have no logarithm worth fitting."""


@dataclass(frozen=True)
class Law:
    """L(D) = B / (D_l + D^beta) + E.

    Args:
        scale: B.
        prior: D_l, in units of D^beta.
        beta: Exponent.
        floor: E.
    """

    scale: float
    prior: float
    beta: float
    floor: float

    def __call__(self, sizes: Floats | float) -> Floats:
        """Returns the error at some numbers of texts."""
        return self.scale / (self.prior + np.power(sizes, self.beta)) + self.floor


@dataclass(frozen=True)
class Points:
    """Errors by number of texts a class.

    Args:
        sizes: Ascending.
        errors: For each, one mean per distilled set.
    """

    sizes: Floats
    errors: tuple[Floats, ...]

    @classmethod
    def of(cls, errors: Mapping[int, Sequence[float]]) -> Points:
        """Sorts errors by size."""
        sizes = sorted(errors)
        return cls(
            np.array(sizes, dtype=float), tuple(np.maximum(np.asarray(errors[n], dtype=float), _TINY) for n in sizes)
        )

    @property
    def means(self) -> Floats:
        """Mean error of every size."""
        return np.array([errors.mean() for errors in self.errors])

    @property
    def enough(self) -> bool:
        """Whether there are sizes and sets enough for a fit."""
        return len(self.sizes) >= LEAST_BUDGETS and min(len(errors) for errors in self.errors) >= LEAST_SETS


@dataclass(frozen=True)
class Fit:
    """A fitted curve.

    Args:
        law: The rectified law.
        misfit: Root mean squared difference of logarithms.
        power_misfit: The same of the plain power law.
        draws: Laws fitted to draws of the data, for intervals.
        points: What it was fitted to.
        floor_p: p value of the law without E (F test against the spread between sets).
    """

    law: Law
    misfit: float
    power_misfit: float
    draws: tuple[Law, ...]
    points: Points
    floor_p: float

    def interval(self, sizes: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
        """Returns the bounds of the curve at some sizes."""
        laws = np.array([law(sizes) for law in self.draws])
        tail = 50 * (1 - level)
        low, high = np.percentile(laws, [tail, 100 - tail], axis=0)
        return low, high

    def floor_interval(self, level: float = 0.9) -> tuple[float, float]:
        """Returns the bounds of E."""
        tail = 50 * (1 - level)
        low, high = np.percentile([law.floor for law in self.draws], [tail, 100 - tail])
        return float(low), float(high)

    @property
    def plateau(self) -> float | None:
        """E, where the law without it is refuted at 5 % and the bounds of its 90 % interval are within a factor of two; else not known."""
        low, high = self.floor_interval()
        return self.law.floor if self.floor_p < 0.05 and low > high / 2 else None


def fit_law(points: Points, seed: int = 0, n_draws: int = BOOTSTRAPS) -> Fit:
    """Fits the rectified law, and the power law beside it.

    Intervals come from a parametric bootstrap: the spread between sets, in logarithms, is taken to be the same for all sizes and
    estimated from all of them together, and its errors uncertainty is drawn too. Resampling three sets a size would understate both.

    Args:
        points: At least four sizes; `Points.enough` says whether a fit may be published.
        seed: Of the draws.
        n_draws: Draws.
    """
    logs = np.log(points.means)
    counts = np.array([len(errors) for errors in points.errors], dtype=float)
    law, misfit = _fitted(points.sizes, logs, counts, _starts(points))
    draws = tuple(_drawn(points, law, seed, n_draws))
    return Fit(law, misfit, _power_misfit(points.sizes, logs), draws, points, _without_floor(points, law))


def _spread(points: Points) -> tuple[float, int]:
    """Returns the variance of logarithms between sets of one size, and its degrees of freedom."""
    degrees = sum(len(errors) - 1 for errors in points.errors)
    squares = sum(float(np.square(np.log(errors) - np.log(errors).mean()).sum()) for errors in points.errors)
    return (squares / degrees if degrees else 0.0), degrees


def _without_floor(points: Points, law: Law) -> float:
    """Returns the p value of the law without E; 1 where the spread between sets is not known."""
    variance, degrees = _spread(points)
    if not variance:
        return 1.0
    counts = np.array([len(errors) for errors in points.errors], dtype=float)
    logs = np.log(points.means)
    bare, _ = _fitted(
        points.sizes, logs, counts, [replace(start, floor=0.0) for start in (law, *_starts(points))], most_floor=1e-9
    )
    more = sum(
        float(counts @ np.square(logs - np.log(each(points.sizes)))) * sign for each, sign in ((bare, 1), (law, -1))
    )
    return float(special.fdtrc(1, degrees, max(0.0, more) / variance))


def _drawn(points: Points, law: Law, seed: int, n_draws: int) -> list[Law]:
    rng = np.random.default_rng(seed)
    counts = np.array([len(errors) for errors in points.errors], dtype=float)
    variance, degrees = _spread(points)
    smooth = np.log(law(points.sizes))
    laws = []
    for _ in range(n_draws if variance else 1):
        drawn = variance * degrees / rng.chisquare(degrees) if variance else 0.0
        logs = smooth + rng.normal(size=len(counts)) * np.sqrt(drawn / counts)
        laws.append(_fitted(points.sizes, logs, counts, [law])[0])
    return laws


def _starts(points: Points) -> list[Law]:
    first, last = points.means[0], points.means[-1]
    starts = []
    for beta, prior, floor in product(_BETAS, _PRIORS, _FLOORS):
        floor_value = floor * last
        scale = max(first - floor_value, _TINY) * (math.expm1(prior) + points.sizes[0] ** beta)
        starts.append(Law(scale, math.expm1(prior), beta, floor_value))
    return starts


def _fitted(
    sizes: Floats, logs: Floats, counts: Floats, starts: list[Law], most_floor: float = 0.999
) -> tuple[Law, float]:
    """Returns the law with the least squares of logarithms, sizes weighted by their sets, and its root mean squared difference."""
    log_sizes, most, roots = np.log(sizes), float(np.exp(logs.min())), np.sqrt(counts / counts.mean())

    def law_of(theta: Floats) -> Law:
        return Law(float(np.exp(theta[0])), float(np.expm1(theta[1])), float(theta[2]), float(theta[3] * most))

    def residuals(theta: Floats) -> Floats:
        inner = np.expm1(theta[1]) + np.exp(theta[2] * log_sizes)
        return roots * (np.log(np.exp(theta[0]) / inner + theta[3] * most) - logs)

    def slopes(theta: Floats) -> Floats:
        powers = np.exp(theta[2] * log_sizes)
        inner, scale = np.expm1(theta[1]) + powers, np.exp(theta[0])
        value, steep = scale / inner + theta[3] * most, -scale / inner**2
        columns = (scale / inner, steep * np.exp(theta[1]), steep * powers * log_sizes, np.full(len(inner), most))
        return roots[:, None] * np.stack(columns, axis=1) / value[:, None]

    lower, upper = [-30.0, 0.0, _BETA_LIMITS[0], 0.0], [60.0, 25.0, _BETA_LIMITS[1], most_floor]
    best: tuple[float, Floats] | None = None
    for start in starts:
        theta = [math.log(max(start.scale, 1e-12)), math.log1p(start.prior), start.beta, start.floor / most]
        begun = np.clip(theta, np.array(lower) + 1e-10, np.array(upper) - 1e-10)
        found = least_squares(residuals, begun, jac=slopes, bounds=(lower, upper), max_nfev=60)  # pyright: ignore[reportArgumentType]
        if best is None or found.cost < best[0]:
            best = (float(found.cost), found.x)
    assert best is not None
    return law_of(best[1]), float(np.sqrt(np.square(residuals(best[1]) / roots).mean()))


def _power_misfit(sizes: Floats, logs: Floats) -> float:
    slope, height = np.polyfit(np.log(sizes), logs, 1)
    return float(np.sqrt(np.square(height + slope * np.log(sizes) - logs).mean()))


@dataclass(frozen=True)
class DataEquivalence:
    """Number of random real texts that one distilled text equals.

    Args:
        value: Random texts that reach the same error, for each distilled one; None where the error lies outside of what was measured.
        low: Lower bound; None where it lies below the smallest random set.
        high: Upper bound; None where it lies beyond the largest random set.
        beyond: Whether even the lower bound lies beyond the largest random set, so that the value is larger than `most`.
        below: Whether even the upper bound lies below the smallest random set, so that the value is smaller than `least`.
        most: Largest measured number of random texts, for each distilled one.
        least: Smallest measured number of random texts, for each distilled one.
    """

    value: float | None
    low: float | None
    high: float | None
    beyond: bool
    below: bool
    most: float
    least: float


def data_equivalence(
    random: Fit, size: int, errors: Sequence[float], level: float = 0.95, seed: int = 0
) -> DataEquivalence:
    """Returns how many random real texts one distilled text equals, within the range of sizes that random texts were measured at.

    Args:
        random: Curve of random texts.
        size: Distilled texts a class.
        errors: Errors of the distilled sets, one mean each; one at least.
        level: Of the interval.
        seed: Of the draws.
    """
    sizes, values = random.points.sizes, np.asarray(errors, dtype=float)
    value = _size_at(random.law, float(values.mean()), sizes)
    bounds: tuple[float | None, float | None] = (None, None)
    beyond = below = False
    if len(values) > 1:
        rng = np.random.default_rng(seed)
        spread = values.std(ddof=1) / math.sqrt(len(values))
        drawn = values.mean() + spread * rng.standard_t(len(values) - 1, size=len(random.draws))
        found = [_clamped(law, error, sizes) for law, error in zip(random.draws, drawn, strict=True)]
        tail = 50 * (1 - level)
        low, high = np.percentile(found, [tail, 100 - tail])
        bounds = (None if low <= sizes[0] else float(low) / size, None if high >= sizes[-1] else float(high) / size)
        beyond, below = bool(low >= sizes[-1]), bool(high <= sizes[0])
    ends = {"most": float(sizes[-1] / size), "least": float(sizes[0] / size)}
    return DataEquivalence(None if value is None else value / size, *bounds, beyond=beyond, below=below, **ends)


def _clamped(law: Law, error: float, sizes: Floats) -> float:
    found = _size_at(law, error, sizes)
    if found is not None:
        return found
    return float(sizes[-1] if error < float(law(sizes[-1])) else sizes[0])


def _size_at(law: Law, error: float, sizes: Floats) -> float | None:
    """Returns the number of texts at which a law has an error, within the measured range; None outside of it."""
    if not float(law(sizes[-1])) <= error <= float(law(sizes[0])):
        return None
    found: Any = brentq(lambda size: float(law(size)) - error, sizes[0], sizes[-1])
    return float(found)
