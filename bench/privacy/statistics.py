"""Statistics of membership inference. Shapes: S runs (or one), G candidate groups, of which some are members in each run.

Scores are larger where membership is more likely. Ties count half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.record import ROC_FPR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Scores = NDArray[np.float64]
    Members = NDArray[np.bool_]

LEAST_FALSE_POSITIVES = 10
"""A true-positive rate that rests on fewer false positives is not reported: at 1 %, one with fewer than 1,000 non-members."""

_POWER = 0.8


@dataclass(frozen=True)
class AucEstimate:
    """Mean AUC over runs.

    Args:
        auc: The mean.
        low: Lower limit of its interval; None where there is none.
        high: Upper limit.
        se: Standard error.
        p_value: Two-sided, of 0.5.
        by_run: Every run's own AUC.
        detectable: Smallest AUC whose interval keeps clear of 0.5 with probability 0.8, at this error and its degrees of freedom; None
            where scores never vary.
    """

    auc: float
    low: float
    high: float
    se: float
    p_value: float
    by_run: tuple[float, ...]
    detectable: float | None


def auc(scores_G: Scores, members_G: Members) -> float:
    """Returns the probability that a member scores above a non-member (Mann and Whitney); 0.5 where one side is empty."""
    return _placements(scores_G, members_G)[0]


def _placements(scores_G: Scores, members_G: Members) -> tuple[float, Scores]:
    """Returns the AUC and each group's part of its deviation: the parts add up to 0, their squares to its variance (DeLong, 1988)."""
    from scipy import stats

    n_in = int(members_G.sum())
    n_out = len(members_G) - n_in
    part_G = np.zeros(len(scores_G))
    if not n_in or not n_out:
        return 0.5, part_G
    rank_G = stats.rankdata(scores_G)
    above_in = (rank_G[members_G] - stats.rankdata(scores_G[members_G])) / n_out
    above_out = 1 - (rank_G[~members_G] - stats.rankdata(scores_G[~members_G])) / n_in
    value = float(above_in.mean())
    # DeLong's sample variances have n - 1 below.
    part_G[members_G] = (above_in - value) / math.sqrt(n_in * max(1, n_in - 1))
    part_G[~members_G] = (above_out - value) / math.sqrt(n_out * max(1, n_out - 1))
    return value, part_G


def estimate_auc(scores_SG: Scores, members_SG: Members, pairs_S: Sequence[int], level: float = 0.95) -> AucEstimate:
    """Estimates the AUC of an attack over runs that share their candidates.

    Two sources of chance are added up. Records: each group's parts are summed over all runs before they are squared, so that what a
    group does in a run and in its complement, where it is on the other side, is not taken for independent. Runs: the spread of the
    pairs' means beyond what records explain, with Satterthwaite's degrees of freedom for the few pairs it rests on. With one pair that
    spread is unknown, and the interval is about records alone.

    Args:
        scores_SG: An attack's scores.
        members_SG: Who was a member.
        pairs_S: Which pair of complementary runs each run belongs to.
        level: Of the interval.
    """
    from scipy import stats

    found = [_placements(scores_G, members_G) for scores_G, members_G in zip(scores_SG, members_SG, strict=True)]
    by_run = np.array([value for value, _ in found])
    parts_SG = np.array([part_G for _, part_G in found])
    pairs = np.unique(np.asarray(pairs_S), return_inverse=True)[1]
    n_pairs = int(pairs.max()) + 1
    means_K = np.array([by_run[pairs == k].mean() for k in range(n_pairs)])
    parts_KG = np.array([parts_SG[pairs == k].mean(axis=0) for k in range(n_pairs)])
    value = float(means_K.mean())
    common_G = parts_KG.mean(axis=0)
    variance, degrees = float((common_G**2).sum()), math.inf
    if n_pairs > 1:
        spread = float(((means_K - value) ** 2).sum()) / (n_pairs * (n_pairs - 1))
        of_records = float(((parts_KG - common_G) ** 2).sum()) / (n_pairs * (n_pairs - 1))
        if spread > of_records:
            variance += spread - of_records
            degrees = max(1.0, (n_pairs - 1) * (variance / spread) ** 2)
    error = math.sqrt(variance)
    law = stats.norm if math.isinf(degrees) else stats.t(degrees)
    half = float(law.ppf((1 + level) / 2)) * error
    far = abs(value - 0.5)
    p_value = 2 * float(law.sf(far / error)) if error else float(far < 1e-12)
    detectable = min(1.0, 0.5 + half + float(law.ppf(_POWER)) * error) if error else None
    return AucEstimate(
        value, max(0.0, value - half), min(1.0, value + half), error, p_value, tuple(by_run.tolist()), detectable
    )


def true_positive_rate(scores_G: Scores, members_G: Members, fpr: float) -> float:
    """Returns the share of members above the threshold that at most a share `fpr` of non-members exceeds; ties count as not above."""
    out = np.sort(scores_G[~members_G])[::-1]
    allowed = math.floor(fpr * len(out) + 1e-9)
    if allowed >= len(out):
        return 1.0
    return float((scores_G[members_G] > out[allowed]).mean())


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a binomial share."""
    from scipy import stats

    found = stats.binomtest(hits, trials).proportion_ci(level, "exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class TprEstimate:
    """True-positive rate at a false-positive rate, with its interval; the threshold's own chance is not in it."""

    tpr: float
    low: float
    high: float


def estimate_tpr(scores_SG: Scores, members_SG: Members, fpr: float) -> TprEstimate | None:
    """Averages the true-positive rate over runs; its interval is Clopper-Pearson's for the members of one run, since runs share them.

    Returns:
        None where this rate is fewer than ten non-members of some run.
    """
    least_out, least_in = int((~members_SG).sum(axis=1).min()), int(members_SG.sum(axis=1).min())
    if least_out * fpr < LEAST_FALSE_POSITIVES or not least_in:
        return None
    rates = [true_positive_rate(scores, members, fpr) for scores, members in zip(scores_SG, members_SG, strict=True)]
    mean = float(np.mean(rates))
    low, high = clopper_pearson(round(mean * least_in), least_in)
    return TprEstimate(mean, min(low, mean), max(high, mean))


def roc_curve(scores_SG: Scores, members_SG: Members) -> tuple[float, ...]:
    """Returns the mean true-positive rate at every rate of ROC_FPR; between the steps of a run's curve it is interpolated."""
    curves = []
    for scores_G, members_G in zip(scores_SG, members_SG, strict=True):
        levels = np.unique(scores_G)[::-1]
        out, into = np.sort(scores_G[~members_G]), np.sort(scores_G[members_G])
        fpr = 1 - np.searchsorted(out, levels, side="left") / max(1, len(out))
        tpr = 1 - np.searchsorted(into, levels, side="left") / max(1, len(into))
        # Of several points above one rate the last one is where the curve goes on from.
        curves.append(np.interp(ROC_FPR, *_last_of_each(np.r_[0.0, fpr], np.r_[0.0, tpr])))
    return tuple(np.mean(curves, axis=0).round(6).tolist())


def _last_of_each(x: Scores, y: Scores) -> tuple[Scores, Scores]:
    last = np.r_[x[1:] != x[:-1], True]
    return x[last], y[last]


LARGEST_EPSILON = 30.0

_STEPS = 60


def p_value(guesses: int, right: int, epsilon: float, delta: float = 0.0, candidates: int | None = None) -> float:
    """Bounds the chance of so many right guesses under (epsilon, delta)-differential privacy (Steinke et al., 2023, theorem 5.2).

    Args:
        guesses: Candidates r whose membership was guessed. With delta 0 their number may be read off the sets, as in the duplicate-match
            test; with delta above 0 the theorem wants it fixed beforehand, and the bound is then an approximation.
        right: Right guesses v.
        epsilon: The promise.
        delta: The promise.
        candidates: Memberships m that were drawn; `guesses` where nothing is said.
    """
    from scipy import stats

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
