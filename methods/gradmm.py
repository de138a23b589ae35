"""GRADMM: synthetic texts whose gradients match those of the real texts, kept readable by ADMM (Nguyen et al., 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import PositiveInt

from bench.api import Method, MethodCard, Skip, SynthesisConfig

if TYPE_CHECKING:
    import torch

    from bench.api import Budget, Context, DistilledSet, HeadGradients, Heads, LabelledText, Stage, Task


class GradMM(Method):
    """Matches gradients of linear heads on the frozen source learner.

    The real texts of a class are cut into clusters; each group of `group_size` synthetic texts is fitted to the mean gradient of one
    cluster, at heads that are trained for different numbers of steps. Token vectors are what is optimised; for text, ADMM ties them to
    words that a language model picks among the nearest tokens.
    """

    name = "gradmm"
    card = MethodCard(
        summary="Texts whose head gradients match those of clusters of real texts; ADMM keeps them readable.",
        family="gradient matching",
        paper="Nguyen et al., 2025, Synthetic text generation for training large language models via gradient matching (GRADMM)",
        output=None,
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
    )

    class Config(SynthesisConfig):
        """Looked for on the development task (rotten_tomatoes); docs/matching.md says what was compared."""

        target: Literal["class", "permuted", "random"] = "class"
        """Controls: `permuted` takes the next class's texts with this class's label, `random` texts that are noise with the real mean and
        covariance."""
        group_size: PositiveInt = 1
        """Synthetic texts whose mean gradient is matched; as large as the budget, it is the published matching of whole classes."""
        heads: PositiveInt = 4
        """Heads at which gradients are matched; the first is untrained."""
        head_steps: PositiveInt = 200
        """Longest training of a head."""
        distance: Literal["cosine", "whole", "l2"] = "cosine"
        """1 - cosine of each tensor, of all in one, or the squared distance."""

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - any task will do
        """Needs to know the number of groups beforehand."""
        return Skip("gradmm needs a budget in texts per class") if budget.per_class is None else None

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Takes the real gradients, and fits texts to them."""
        from bench.api import few, make_stage, synthesise

        assert budget.per_class is not None
        real = few(real, self.config.real_per_class, ctx)
        stage = make_stage(real, budget.per_class, self.config.group_size, ctx)
        with ctx.cost.phase("target"):
            goal = self._goal(stage, ctx)
        return synthesise(stage, goal, self.config, ctx)

    def _goal(self, stage: Stage, ctx: Context) -> _Gradients:
        """Trains the heads and takes the gradients to be matched."""
        import torch

        from bench.api import head_gradients, random_texts, trained_heads

        groups, config = stage.groups, self.config
        targets_NC = stage.one_hot(stage.real.labels_N)
        heads = trained_heads(stage.h, targets_NC, config.heads, config.head_steps, ctx.rng("heads"))
        groups_N = torch.from_numpy(groups.groups_N).to(ctx.device)
        h_ND = random_texts(stage.h, ctx.torch_seed("target")) if config.target == "random" else stage.h
        if config.target == "permuted":  # the next class's texts, but this class's label
            targets_NC, shift = targets_NC.roll(-1, dims=1), len(groups) // stage.real.n_classes
            groups_N = (groups_N - shift) % len(groups)
        own = head_gradients(heads, h_ND, targets_NC, groups_N, len(groups))
        return _Gradients(stage, heads, own, config)


class _Gradients:
    """The objective: distance of mean gradients, group by group."""

    def __init__(self, stage: Stage, heads: Heads, gradients: HeadGradients, config: Any):
        self._stage, self._heads, self._gradients = stage, heads, gradients
        self._distance = config.distance

    def loss(self, h_MD: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns the mean distance over heads, groups and copies."""
        import torch

        from bench.api import distances

        stage, n_groups = self._stage, len(self._stage.groups)
        group_M = np.concatenate([stage.group_S + copy * n_groups for copy in range(copies)])
        targets_MC = stage.one_hot(np.tile(stage.labels_S, copies))
        goal = self._gradients.take(torch.arange(n_groups).repeat(copies))
        return distances(
            goal, self._heads, h_MD, targets_MC, torch.from_numpy(group_M).to(h_MD.device), distance=self._distance
        ).mean()

    def alone(self, h_ND: torch.Tensor, labels_N: np.ndarray) -> np.ndarray:
        """Returns the (N, S) distances of each text's own gradient to that of each slot's group."""
        from bench.api import every_distance

        far_NG = every_distance(
            self._gradients, self._heads, h_ND, self._stage.one_hot(labels_N), distance=self._distance
        )
        return far_NG.cpu().numpy().astype(np.float64)[:, self._stage.group_S]
