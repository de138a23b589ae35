"""Aligns generated texts with real ones: weights and selections whose mean in a kernel's feature space is that of the real texts.

The distance is the maximum mean discrepancy (Gretton et al., 2012). Shapes: N pool texts, R real texts, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.linalg import LinAlgError, cholesky
from scipy.optimize import nnls
from scipy.spatial.distance import cdist, pdist

from tdbench.bench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.context import Context

    Floats = NDArray[np.float64]

Reduce = Literal["herding", "resample", "kmeans", "none"]
WIDTHS = (0.5, 1.0, 2.0)
"""Kernel widths as multiples of the median distance."""
MOST_REAL = 2_000
"""Real texts of a class that stand for all of them."""
_ROUND_OFF = 1e-10


@dataclass(frozen=True)
class Kernel:
    """Mean of Gaussian kernels exp(-d^2 / (2 w^2)) over several widths w.

    Args:
        widths: In the units of the features; all positive.
    """

    widths: tuple[float, ...]

    @classmethod
    def around(cls, points_ND: Floats, multiples: Sequence[float] = WIDTHS) -> Kernel:
        """Returns a kernel whose widths are multiples of the points' median distance (the median heuristic).

        Raises:
            DataError: All points are the same, or there is only one.
        """
        median = median_distance(points_ND)
        return cls(tuple(median * multiple for multiple in multiples))

    def __call__(self, a_ND: Floats, b_MD: Floats) -> Floats:
        """Returns the (N, M) kernel values."""
        squares_NM = cdist(a_ND, b_MD, "sqeuclidean")
        return np.mean([np.exp(squares_NM / (-2 * width**2)) for width in self.widths], axis=0)


def median_distance(points_ND: Floats) -> float:
    """Returns the median distance between different points, of all pairs.

    Raises:
        DataError: All points are the same, or there is only one.
    """
    distances = pdist(points_ND)
    apart = distances[distances > 0]
    if not len(apart):
        raise DataError(f"{len(points_ND)} texts have no distances: all of them are read the same; give more texts.")
    return float(np.median(apart))


@dataclass(frozen=True)
class Target:
    """Real texts as a kernel sees them, beside a pool.

    Args:
        kernel_NN: Kernel values within the pool.
        mean_N: Every pool text's mean kernel value to the real texts.
        norm: Mean kernel value among the real texts, each with itself included.
    """

    kernel_NN: Floats
    mean_N: Floats
    norm: float

    @classmethod
    def of(cls, kernel: Kernel, pool_ND: Floats, real_RD: Floats) -> Target:
        """Measures a pool against real texts."""
        return cls(kernel(pool_ND, pool_ND), kernel(pool_ND, real_RD).mean(1), float(kernel(real_RD, real_RD).mean()))

    def squared_mmd(self, weights_N: Floats) -> float:
        """Returns the squared MMD between the pool, weighted by what adds up to 1, and the real texts (biased estimate, never below 0)."""
        value = weights_N @ self.kernel_NN @ weights_N - 2 * weights_N @ self.mean_N + self.norm
        return max(0.0, float(value))

    def squared_mmd_of(self, chosen: Sequence[int] | NDArray[np.int64]) -> float:
        """Returns the squared MMD of chosen texts, each as often as it is named."""
        weights_N = np.bincount(np.asarray(chosen), minlength=len(self.mean_N)) / len(chosen)
        return self.squared_mmd(weights_N)

    def weights(self) -> Floats:
        """Returns the N weights, none negative and together 1, with the least MMD.

        The least point of a convex hull: with B'B the Gram matrix of the pool around the real mean, it is the solution of
        min |Bw|^2 + (1'w - 1)^2 over w >= 0, scaled to add up to 1 (Lawson and Hanson, 1974, chapter 23). Exact up to round-off.
        """
        centred_NN = self.kernel_NN - self.mean_N[:, None] - self.mean_N[None, :] + self.norm
        root_NN = _root(centred_NN)
        matrix = np.vstack([root_NN, np.ones(len(root_NN))])
        found_N, _ = nnls(matrix, np.append(np.zeros(len(root_NN)), 1.0), maxiter=30 * len(root_NN))
        return found_N / found_N.sum()

    def herd(self, count: int) -> NDArray[np.int64]:
        """Returns `count` different pool texts, each the one with which those chosen so far have the least MMD (kernel herding).

        The first texts of the result are the result for a smaller count.

        Raises:
            DataError: The pool is smaller than that.
        """
        if count > len(self.mean_N):
            raise DataError(f"{count} texts are wanted of a pool of {len(self.mean_N)}; give a larger pool.")
        own_N, sum_N = np.diag(self.kernel_NN), np.zeros(len(self.mean_N))
        free_N = np.ones(len(self.mean_N), dtype=bool)
        chosen: list[int] = []
        for size in range(1, count + 1):
            costs_N = (2 * sum_N + own_N) / size - 2 * self.mean_N
            best = int(np.where(free_N, costs_N, np.inf).argmin())
            chosen.append(best)
            free_N[best] = False
            sum_N += self.kernel_NN[best]
        return np.array(chosen, dtype=np.int64)

    @staticmethod
    def resample(weights_N: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns `count` different pool texts, drawn by weights; texts of weight 0 fill up where there are too few others."""
        order_N = np.argsort(rng.exponential(size=len(weights_N)) / np.maximum(weights_N, 1e-300), kind="stable")
        return order_N[:count]


def choose_aligned(
    pool_ND: Floats,
    labels_N: NDArray[np.int64],
    real_ND: Floats,
    real_labels_N: NDArray[np.int64],
    *,
    per_class: int,
    reduce: Reduce,
    ctx: Context,
) -> NDArray[np.int64]:
    """Chooses texts of a pool, class by class, and notes how far the pool, its best weights and the chosen texts are from the real ones.

    Args:
        pool_ND: Features of the pool.
        labels_N: Its classes, in order.
        real_ND: Features of the real texts; at most 2,000 of a class are looked at.
        real_labels_N: Their classes.
        per_class: Texts of a class.
        reduce: `herding`; `resample` draws from the weights; `kmeans` takes medoids; `none` the first ones.
        ctx: Seeds and diagnostics: `mmd2_pool`, `mmd2_weighted`, `mmd2_kept` and `effective_size`, means over classes; with `resample`
            also `effective_ratio`, the least effective size of a class over `per_class`: below 2 the row says so.

    Returns:
        Positions in the pool, class after class.
    """
    others = _by_pool_alone(pool_ND, labels_N, per_class, reduce, ctx)
    kept, notes = [], []
    for place, label in enumerate(np.unique(labels_N)):
        own = np.flatnonzero(labels_N == label)
        rows = np.flatnonzero(real_labels_N == label)
        rows = rows[np.sort(ctx.rng(f"real {label}").permutation(len(rows))[:MOST_REAL])]
        real_RD = real_ND[rows].astype(np.float64)
        target = Target.of(Kernel.around(real_RD), pool_ND[own].astype(np.float64), real_RD)
        weights_N = target.weights()
        if others is not None:
            chosen = np.searchsorted(own, others[place])
        elif reduce == "herding":
            chosen = target.herd(per_class)
        else:
            chosen = target.resample(weights_N, per_class, ctx.rng(f"resample {label}"))
        kept.append(own[chosen])
        even = target.squared_mmd(np.full(len(own), 1 / len(own)))
        notes.append((even, target.squared_mmd(weights_N), target.squared_mmd_of(chosen), effective_size(weights_N)))
    names = ("mmd2_pool", "mmd2_weighted", "mmd2_kept", "effective_size")
    ctx.diagnostics.update(zip(names, map(float, np.mean(notes, axis=0)), strict=True))
    if reduce == "resample":
        ctx.diagnostics["effective_ratio"] = min(size for *_, size in notes) / per_class
    return np.concatenate(kept)


def _by_pool_alone(
    pool_ND: Floats, labels_N: NDArray[np.int64], per_class: int, reduce: Reduce, ctx: Context
) -> NDArray[np.int64] | None:
    """Returns the (C, n) positions of medoids or first texts, which real texts have no say in; None for what they have."""
    from tdbench.bench.matching.samples import first_of_classes, medoids_of

    if reduce == "none":
        return first_of_classes(labels_N, per_class).reshape(-1, per_class)
    if reduce == "kmeans":
        return medoids_of(pool_ND.astype(np.float32), labels_N, per_class, ctx).reshape(-1, per_class)
    return None


def effective_size(weights_N: Floats) -> float:
    """Returns the number of equally weighted texts that are worth as much, 1 / sum of squares (Kish, 1965)."""
    return float(1 / np.square(weights_N).sum())


def _root(gram_NN: Floats) -> Floats:
    """Returns B with B'B the Gram matrix, whose least eigenvalues may have been lost to round-off."""
    jitter = _ROUND_OFF * max(float(np.trace(gram_NN)) / len(gram_NN), np.finfo(float).tiny)
    try:
        return cholesky(gram_NN + jitter * np.eye(len(gram_NN)))
    except LinAlgError:
        values_N, vectors_NN = np.linalg.eigh(gram_NN)
        return np.sqrt(np.maximum(values_N, 0.0))[:, None] * vectors_NN.T
