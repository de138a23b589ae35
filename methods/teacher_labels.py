"""Real rows with a teacher's class shares: the references of the text+soft track."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from tdbench.api import DistilledSet, Method, MethodCard, MethodConfig, Skip

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, LabelledText, Task


class TeacherLabels(Method):
    """Random rows, or K-means medoids, that say how sure a teacher is of every class.

    The teacher is a linear head, trained on the source learner's features of the whole train split. What soft labels alone are worth: any
    method with soft labels must beat it. Rows are those of `random`, or of `kmeans`, with the same seed.
    """

    name = "teacher-labels"
    card = MethodCard(
        summary="Random rows, or K-means medoids, with class shares by a linear teacher of the train split.",
        family="reference",
        reads=("encoder", "source"),
        role="soft-labels",
    )

    class Config(MethodConfig):
        """Not tuned."""

        select: Literal["random", "kmeans"] = "random"
        """Which rows."""
        teacher_steps: PositiveInt = 500
        """Adam steps of the teacher."""

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - any task will do
        """K-means needs to know the number of clusters beforehand."""
        if self.config.select == "kmeans" and budget.per_class is None:
            return Skip("K-means needs a budget in texts per class")
        return None

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Selects rows, and asks the teacher."""
        import torch

        from tdbench.api import kmeans_rows
        from tdbench.api.matching import train_head

        source = ctx.source(real)
        h_ND = source.real_features(real)
        with ctx.cost.phase("teach"):
            h = torch.from_numpy(h_ND).to(ctx.device)
            one_hot_NC = torch.eye(real.n_classes, device=ctx.device)[torch.tensor(real.labels_N, device=ctx.device)]
            head = train_head(h, one_hot_NC, self.config.teacher_steps, ctx.rng("teacher"))
        with ctx.cost.phase("select"):
            rng, texts = ctx.rng("selection"), real.joined()
            if self.config.select == "random":
                pools = [rng.permutation(real.positions_of_class(label)) for label in range(real.n_classes)]
                chosen = [row for pool in pools for row in budget.fill(pool, texts)]
            else:
                chosen = kmeans_rows(ctx.encoder().embed(real), real, budget, rng)
            with torch.no_grad():
                shares_MC = torch.softmax(h[chosen] @ head.weight_CD.t() + head.bias_C, dim=1)
        soft_MC = shares_MC.cpu().numpy().astype(np.float32)
        return dataclasses.replace(DistilledSet.from_rows(real, chosen), soft_labels_MC=soft_MC)
