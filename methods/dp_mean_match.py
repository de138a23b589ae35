"""Mean matching under differential privacy: one noisy sum of features a class, then public texts whose mean comes close to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tdbench.api import DistilledSet, MethodCard, PrivateConfig, PrivateMethod, Query, UsageError

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, PrivateOracle

QUESTION = "class sums"


class DPMeanMatch(PrivateMethod):
    """Asks once for the sums of every class's features and herds public texts towards the means (Harder et al., 2021; Welling, 2009).

    Public texts come from elsewhere: they differ from the private ones in more than classes do. So what is matched is a class's
    distance to the mean of all classes, laid off from the mean of the public texts.
    """

    name = "dp_mean_match"
    card = MethodCard(
        summary="Public texts, herded towards noisy class means.",
        family="private",
        paper="Harder et al., 2021, DP-MERF (the noisy mean embedding); Welling, 2009, Herding dynamical weights to learn",
        output="text",
        reads=("encoder", "public"),
        private=True,
        tags=("public-pool",),
        counts_texts=True,
    )

    class Config(PrivateConfig):
        """Options."""

        candidates: int = Field(default=20_000, ge=1)
        """Public texts to choose from, drawn at random."""
        strength: float = Field(default=5.0, gt=0)
        """How many times the distance between a class's mean and that of all classes is laid off."""
        count_weight: float = Field(default=0.3, gt=0)
        """Further coordinate of every row, by which the sizes of classes are learnt; it raises the noise by sqrt(1 + w^2)."""

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Asks, and herds."""
        assert budget.per_class is not None
        pool, rng = ctx.public(), ctx.rng("candidates")
        drawn = rng.permutation(len(pool.texts))[: self.config.candidates]
        labels = np.repeat(np.arange(oracle.n_classes), budget.per_class)
        if len(drawn) < len(labels):
            raise UsageError(
                f"{len(labels)} texts are wanted and {len(drawn)} are candidates; raise method.candidates."
            )
        if oracle.zero_budget:
            chosen = drawn[: len(labels)]
        else:
            chosen = drawn[self._chosen(oracle, oracle.embed(pool.rows(oracle.field_names, drawn)), budget.per_class)]
        return DistilledSet.from_texts(pool.rows(oracle.field_names, chosen).fields, labels)

    def _chosen(self, oracle: PrivateOracle, candidates_MD: np.ndarray, per_class: int) -> list[int]:
        """Returns the positions of the chosen candidates, class after class; none is chosen twice."""
        oracle.allocate(Query(QUESTION))
        sums_CD, counts_C = oracle.class_sums(QUESTION, self.config.count_weight)
        means_CD = sums_CD / np.maximum(counts_C, 1.0)[:, None]
        means_CD = candidates_MD.mean(0) + self.config.strength * (means_CD - means_CD.mean(0))
        taken: list[int] = []
        free_M = np.ones(len(candidates_MD), dtype=bool)
        for mean_D in means_CD:
            for position in herd(candidates_MD, mean_D, per_class, free_M):
                free_M[position] = False
                taken.append(position)
        return taken


def herd(candidates_MD: np.ndarray, mean_D: np.ndarray, count: int, free_M: np.ndarray) -> list[int]:
    """Chooses candidates greedily, each so that the mean of all so far comes nearest to a given mean.

    Args:
        candidates_MD: Features.
        mean_D: The mean to be matched.
        count: How many.
        free_M: Which may be chosen.
    """
    chosen: list[int] = []
    sum_D = np.zeros_like(mean_D)
    square_M = np.einsum("md,md->m", candidates_MD, candidates_MD)
    open_M = free_M.copy()
    for n in range(1, count + 1):
        gap_D = n * mean_D - sum_D  # ||gap - x||^2 without what all candidates share
        miss_M = np.where(open_M, square_M - 2 * (candidates_MD @ gap_D), np.inf)
        best = int(miss_M.argmin())
        open_M[best] = False
        sum_D = sum_D + candidates_MD[best]
        chosen.append(best)
    return chosen
