"""K-means medoids: the rows nearest to the centroids of each class (called K-centers by DiLM, Maekawa et al., 2024)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard, Skip, Task


class KMeansMedoids(Method):
    """K-means++, one start per class, in the source encoder's feature space; then the nearest row of each centroid."""

    name = "kmeans"
    card = MethodCard(
        summary="Rows nearest to the K-means centroids of each class.",
        family="coreset",
        paper="Maekawa et al., 2024, DiLM (there called K-centers)",
        reads=("encoder",),
    )

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - any task will do
        """Needs to know the number of clusters beforehand."""
        return Skip("kmeans needs a budget in texts per class") if budget.per_class is None else None

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Clusters each class; a row serves one centroid only, the nearest pairs being served first."""
        from sklearn.cluster import KMeans

        features_ND = ctx.encoder().embed(real)
        rng, texts = ctx.rng("selection"), real.joined()
        chosen: list[int] = []
        with ctx.cost.phase("select"):
            for label in range(real.n_classes):
                rows = real.positions_of_class(label)
                assert budget.per_class is not None
                model: Any = KMeans(budget.per_class, n_init=1, random_state=int(rng.integers(2**31)))  # pyright: ignore
                distances_NK = model.fit_transform(features_ND[rows])
                medoids = rows[_distinct_nearest(distances_NK)]
                largest_first = np.argsort(-np.bincount(model.labels_, minlength=len(medoids)), kind="stable")
                chosen += budget.fill(medoids[largest_first], texts)
        return DistilledSet.from_rows(real, chosen)


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
