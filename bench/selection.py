"""Selections of rows that several plug-ins share. Shapes: N real texts, D features, K centroids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.budget import Budget
    from tdbench.bench.data.text import LabelledText


def kmeans_rows(
    features_ND: NDArray[np.floating], real: LabelledText, budget: Budget, rng: np.random.Generator
) -> list[int]:
    """Returns the rows nearest to the centroids of every class (K-means++, one start a class), as many as the budget holds.

    A row serves one centroid only, the nearest pairs being served first. Larger clusters come first.
    """
    from sklearn.cluster import KMeans

    assert budget.per_class is not None
    texts, chosen = real.joined(), []
    for label in range(real.n_classes):
        rows = real.positions_of_class(label)
        model: Any = KMeans(budget.per_class, n_init=1, random_state=int(rng.integers(2**31)))  # pyright: ignore
        distances_NK = model.fit_transform(features_ND[rows])
        medoids = rows[_distinct_nearest(distances_NK)]
        largest_first = np.argsort(-np.bincount(model.labels_, minlength=len(medoids)), kind="stable")
        chosen += budget.fill(medoids[largest_first], texts)
    return chosen


def _distinct_nearest(distances_NK: np.ndarray) -> np.ndarray:
    """Gives every centroid its nearest row that no other centroid has taken; returns K positions."""
    left_NK = distances_NK.copy()
    nearest_K = np.full(distances_NK.shape[1], -1)
    for _ in range(len(nearest_K)):
        row, centroid = np.unravel_index(np.argmin(left_NK), left_NK.shape)
        nearest_K[centroid] = row
        left_NK[row, :] = np.inf
        left_NK[:, centroid] = np.inf
    return nearest_K
