"""Greedy k-center: farthest-first traversal (Gonzalez, 1985; Sener and Savarese, 2018)."""

from __future__ import annotations

import numpy as np

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard


class KCenterGreedy(Method):
    """Farthest-point sampling of each class (scikit-matter), started at the row nearest to the class mean."""

    name = "kcenter"
    card = MethodCard(
        summary="Greedy farthest-first selection.",
        family="coreset",
        paper="Sener and Savarese, 2018",
        deterministic=True,
        reads=("encoder",),
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Fills the budget of each class in farthest-first order."""
        features_ND = ctx.encoder().embed(real)
        texts = real.joined()
        chosen: list[int] = []
        with ctx.cost.phase("select"):
            for label in range(real.n_classes):
                rows = budget.affordable(real.positions_of_class(label), texts)
                chosen += budget.fill(rows[farthest_first(features_ND[rows], budget.most_texts(len(rows)))], texts)
        return DistilledSet.from_rows(real, chosen)


def farthest_first(features_ND: np.ndarray, n_picks: int) -> np.ndarray:
    """Returns the first `n_picks` positions of the farthest-first traversal.

    Args:
        features_ND: (N, D) features.
        n_picks: At most N.
    """
    from skmatter.sample_selection import FPS

    features = features_ND.astype(np.float64)
    start = int(np.argmin(((features - features.mean(axis=0)) ** 2).sum(axis=1)))
    if n_picks == 1:  # FPS asks for at least one pick beyond the start
        return np.array([start])
    return np.asarray(FPS(n_to_select=n_picks, initialize=start).fit(features).selected_idx_, dtype=np.int64)
