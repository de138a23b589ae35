"""Samples of a language model, with DiLM's selection or without any: what generation gives before any matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from tdbench.api import Method, MethodCard, MethodConfig

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText


class LMSamples(Method):
    """Samples a class-conditional language model of the train split and keeps the K-means medoids of the samples' features.

    DiLM's "vanilla LM" baseline (Maekawa et al., 2024, sections 3.4 and 4.3), with the task's own small decoder.
    """

    name = "lm-samples"
    card = MethodCard(
        summary="K-means medoids of a task language model's samples.",
        family="language model",
        paper="Maekawa et al., 2024, DiLM (its baseline without gradient matching)",
        output="text",
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
        counts_texts=True,
    )

    class Config(MethodConfig):
        """DiLM's values."""

        pool: PositiveInt = 100
        """Samples for each text wanted."""
        select: Literal["kmeans", "none"] = "kmeans"
        """K-means medoids of each class's samples, or the first samples."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from."""

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Samples, and selects."""
        from tdbench.api import DistilledSet
        from tdbench.api.matching import sample_medoids

        assert budget.per_class is not None
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
        pool = self.config.pool if self.config.select == "kmeans" else 1
        made = sample_medoids(
            lm.writer(len(real.fields), self.config.top_p),
            source,
            list(real.fields),
            real.n_classes,
            per_class=budget.per_class,
            pool=pool,
            ctx=ctx,
        )
        return DistilledSet.from_texts(*made)
