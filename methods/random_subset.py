"""Random: class-balanced random rows, the reference that every method must beat."""

from __future__ import annotations

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard


class RandomSubset(Method):
    """Rows drawn uniformly without replacement within each class."""

    name = "random"
    card = MethodCard(summary="Class-balanced random rows.", family="coreset", role="random")

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Fills the budget of each class in random order."""
        rng, texts = ctx.rng("selection"), real.joined()
        chosen: list[int] = []
        for label in range(real.n_classes):
            chosen += budget.fill(rng.permutation(real.positions_of_class(label)), texts)
        return DistilledSet.from_rows(real, chosen)
