"""Chooses texts one after the other where a Gaussian process knows least (SynAlign, Ren et al., 2025, step 1).

The process has a Gaussian kernel and no trend, so its variance depends on where it was observed and not on what was seen there:
s2(x) = k(x, x) - k(x, S) (k(S, S) + a I)^-1 k(S, x). Shapes: N texts, D features, T chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

JITTER = 1e-6
MOST_POINTS = 2_000
"""Points whose distances give the length scale."""


class Explorer:
    """Posterior variances at N points, updated in O(N T) for every point that is observed: pivoted Cholesky decomposition.

    Args:
        points_ND: Features.
        length: Length scale of the kernel. One far below the points' distances leaves all variances at 1 and every choice to the order of
            rows, which is what the published value of 0.1 does for sentence embeddings.
        jitter: Variance of the observations' noise.
    """

    def __init__(self, points_ND: NDArray[np.floating], length: float, jitter: float = JITTER) -> None:
        self._points_ND = np.asarray(points_ND, dtype=np.float64)
        self._squares_N = np.square(self._points_ND).sum(1)
        self._length, self._jitter = length, jitter
        self._columns: list[NDArray[np.float64]] = []
        self.variance_N = np.ones(len(points_ND))
        """Posterior variance at every point; 1 before anything is observed."""

    def observe(self, place: int) -> None:
        """Takes a point in."""
        point_D = self._points_ND[place]
        squares_N = self._squares_N + self._squares_N[place] - 2 * self._points_ND @ point_D
        column_N = np.exp(np.maximum(squares_N, 0.0) / (-2 * self._length**2))
        for known_N in self._columns:
            column_N -= known_N[place] * known_N
        column_N /= np.sqrt(self.variance_N[place] + self._jitter)
        self._columns.append(column_N)
        self.variance_N = np.maximum(self.variance_N - column_N**2, 0.0)

    def explore(self, count: int, first: int, n_neighbours: int = 0) -> list[list[int]]:
        """Chooses `count` points, the most uncertain each time, with their nearest points that were not used before.

        Args:
            count: Groups; fewer come back where points run out.
            first: The first point.
            n_neighbours: Nearest points that join each chosen one and are used up with it (SynAlign: 1). They are taken in too.

        Returns:
            Groups of positions, the chosen point first.
        """
        free_N = np.ones(len(self._points_ND), dtype=bool)
        groups: list[list[int]] = []
        place = first
        while len(groups) < count and free_N.any():
            if groups:
                place = int(np.where(free_N, self.variance_N, -1.0).argmax())
            group = [place]
            free_N[place] = False
            if n_neighbours:
                near_N = self._squares_N - 2 * self._points_ND @ self._points_ND[place]
                nearest = np.argsort(np.where(free_N, near_N, np.inf), kind="stable")[:n_neighbours]
                group += [int(i) for i in nearest if free_N[i]]
            for member in group:
                free_N[member] = False
                self.observe(member)
            groups.append(group)
        return groups


def length_scale(points_ND: NDArray[np.floating], multiple: float, rng: np.random.Generator) -> float:
    """Returns a length scale: a multiple of the median distance among at most 2,000 of the points.

    Raises:
        DataError: All points are the same.
    """
    from tdbench.api.matching import median_distance

    rows = rng.permutation(len(points_ND))[:MOST_POINTS]
    return multiple * median_distance(np.asarray(points_ND, dtype=np.float64)[rows])
