"""Herding: rows whose running mean follows the class mean (Welling, 2009; Rebuffi et al., 2017, iCaRL, algorithm 4)."""

from __future__ import annotations

import numpy as np

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard


class Herding(Method):
    """Greedy mean matching within each class in the source encoder's feature space."""

    name = "herding"
    card = MethodCard(
        summary="Greedy selection whose mean follows the class mean.",
        family="coreset",
        paper="Welling, 2009; Rebuffi et al., 2017",
        deterministic=True,
        reads=("encoder",),
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Fills the budget of each class in herding order."""
        features_ND = ctx.encoder().embed(real)
        texts = real.joined()
        chosen: list[int] = []
        with ctx.cost.phase("select"):
            for label in range(real.n_classes):
                rows = budget.affordable(real.positions_of_class(label), texts)
                chosen += budget.fill(rows[herding_order(features_ND[rows], budget.most_texts(len(rows)))], texts)
        return DistilledSet.from_rows(real, chosen)


def herding_order(features_ND: np.ndarray, n_picks: int) -> np.ndarray:
    """Returns the first `n_picks` positions of the herding sequence.

    Pick t minimises || mean - (sum of picks so far + x) / t ||, which is the largest x . (t mean - sum) - |x|^2 / 2.

    Args:
        features_ND: (N, D) features.
        n_picks: At most N.
    """
    features = features_ND.astype(np.float64)
    mean_D, half_square_N = features.mean(axis=0), (features**2).sum(axis=1) / 2
    sum_D = np.zeros_like(mean_D)
    free_N = np.ones(len(features), dtype=bool)
    picks = np.empty(n_picks, dtype=np.int64)
    for step in range(n_picks):
        gain_N = features @ ((step + 1) * mean_D - sum_D) - half_square_N
        picks[step] = np.argmax(np.where(free_N, gain_N, -np.inf))
        free_N[picks[step]] = False
        sum_D += features[picks[step]]
    return picks
