"""Trajectory matching: steps on the synthetic set lead where training on the real texts leads (Cazenavette et al., 2022, for images)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt, model_validator

from tdbench.api import Method, MethodCard
from tdbench.api.options import ExpertsConfig

if TYPE_CHECKING:
    import torch

    from tdbench.api import Budget, Context, DistilledSet, LabelledText, Skip, Task
    from tdbench.api.matching import SourceModel, Unrolled
    from tdbench.api.training import InnerModel

LORA_SEED = 0
"""Of the adapters' random halves: experts and all that imitate them share these."""


class Trajectory(Method):
    """Learns token vectors, labels and step sizes such that a few steps of SGD lead from an expert's weights to its later ones.

    Experts are trained by plain SGD on the real texts, and their weights kept. An update draws an expert and a start, takes the training's
    steps from there, and lowers the squared distance to where the expert went, in units of how far it went.
    """

    name = "trajectory"
    card = MethodCard(
        summary="Token vectors, labels and step sizes whose training passes through the weights of training on the real texts.",
        family="trajectory matching",
        paper="Cazenavette et al., 2022, MTT; Cui et al., 2023, TESLA; Guo et al., 2024, DATM (all for images)",
        output=None,
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
    )

    class Config(ExpertsConfig):
        """Guesses, but for `span`; docs/notes/matching-measurements.md says what was compared on the development task."""

        attention: Literal["none", "first", "all"] = "none"
        """Learned attention of the first token, or of all tokens, in every layer and head, as further labels."""
        space: Literal["head", "lora", "all"] = "head"
        """Weights that are trained and matched: the head's; adapters on the query and value maps and the head's; or all but the token
        table."""
        rate: PositiveFloat = 0.01
        """Step size of the weights below the head, at first."""
        steps: PositiveInt = 5
        """Steps of SGD that imitate `span` epochs of an expert."""
        updates: PositiveInt = 1000
        """Updates of the training; never more than there are real texts."""
        gradient: Literal["exact", "tesla"] = "exact"
        """Through all steps, or with each step's start held and one step's graph in memory (Cui et al.); space=head is always exact."""
        distance: Literal["whole", "parts"] = "whole"
        """Normalised over all weights together, or the mean over head and body."""
        span: PositiveInt = 10
        """Epochs of an expert that the steps imitate."""
        window: PositiveInt | None = None
        """Epochs at which a training may start, at most; null for 1 at one text a class and one more whenever that doubles. Begins at 1 and
        grows over the first half of the updates (DATM)."""
        repeats: PositiveInt = 1
        """Times that the harness takes the steps."""

        @model_validator(mode="after")
        def _span_is_a_part(self) -> Trajectory.Config:
            if self.span > self.epochs:
                raise ValueError(f"span is {self.span}, more than the {self.epochs} epochs of an expert")
            if self.head == "fixed":
                raise ValueError("every expert starts from a head of its own: give head=random")
            if self.space == "head" and self.attention != "none":
                raise ValueError("attention trains weights below the head: give space=lora or all, or attention=none")
            return self

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - any task will do
        """Needs to know the number of texts beforehand."""
        return self.config.skip(budget)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Trains experts, and learns a training that imitates them."""
        from tdbench.api.matching import as_text

        assert budget.per_class is not None
        config, source = self.config, ctx.source(real)
        matching = _Matching(config, source, real, budget.per_class, ctx)
        with ctx.cost.phase("match"):
            matching.run()
        made = matching.made()
        return made if config.output == "embedding" else as_text(made, source, real, config, ctx)


class _Matching:
    """The parts of one run. Shapes: N real texts, C classes, D head inputs."""

    def __init__(
        self, config: Trajectory.Config, source: SourceModel, real: LabelledText, per_class: int, ctx: Context
    ) -> None:
        from tdbench.api.matching import ExpertBuffer, LearnedTraining, head_expert, whole_expert

        self._config, self._source, self._ctx = config, source, ctx
        with ctx.cost.phase("start"):
            lora = LORA_SEED if config.space == "lora" else None
            self._learned = LearnedTraining.begun(
                source, real, per_class, config, ctx, body=config.space != "head", lora=lora
            )
        self._window = config.window or 1 + int(np.log2(per_class))
        self._updates = min(config.updates, len(real))
        self._buffer = ExpertBuffer(
            head_expert(source, self._inner, real)
            if config.space == "head"
            else whole_expert(source, self._inner, real, ctx.cost),
            config,
            ctx.make_source().cache / "experts",
            {"rows": real.fingerprint, "source": source.identity, "space": config.space},
        )
        ctx.diagnostics["expert_buffer_gb"] = self._buffer.size_gb
        accuracies = self._buffer.fill(ctx.cost, ctx.progress)
        ctx.curves["expert_accuracy"] = np.mean(accuracies, axis=0).tolist()

    @property
    def _inner(self) -> InnerModel:
        return self._learned.inner

    def run(self) -> None:
        """Takes all updates."""
        config, rng, losses = self._config, self._ctx.rng("trajectories"), []
        last = min(self._window, config.epochs - config.span + 1)
        self._learned.begin(self._updates)
        for update in range(self._updates):
            open_epochs = 1 + int((last - 1) * min(1.0, 2 * update / self._updates) + 0.5)
            number, epoch = int(rng.integers(config.experts)), int(rng.integers(open_epochs))
            start, goal = self._buffer.state(number, epoch), self._buffer.state(number, epoch + config.span)
            found = self._towards(start, goal)
            self._learned.update(found)
            losses.append(found.loss)
            self._ctx.progress((update + 1) / self._updates)
        self._ctx.curves["distance"] = losses

    def _towards(self, start: dict[str, torch.Tensor], goal: dict[str, torch.Tensor]) -> Unrolled:
        from tdbench.api.matching import Back, unroll, unroll_head

        loop, weight_of = self._learned.inner_loop(noisy=True), self._weight_of(start, goal)
        if self._config.space == "head":
            aim, scale = self._inner.head_of(goal), next(iter(weight_of.values()))
            return unroll_head(
                lambda x_SE: self._source.soft_features(self._inner.encoded, x_SE),
                self._inner.head_of(start),
                loop,
                lambda weight_CD, bias_C: scale * (((weight_CD - aim[0]) ** 2).sum() + ((bias_C - aim[1]) ** 2).sum()),
            )

        def outer(weights: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
            gaps = {name: weights[name] - goal[name] for name in weights}
            loss = sum(weight_of[name] * float((gap**2).sum()) for name, gap in gaps.items())
            return loss, {name: 2 * weight_of[name] * gap for name, gap in gaps.items()}

        exact = self._config.gradient == "exact"
        back = Back(across=exact, keep=exact and not self._config.checkpoint)
        return unroll(self._inner, start, loop, outer, back=back, cost=self._ctx.cost)

    def _weight_of(self, start: dict[str, torch.Tensor], goal: dict[str, torch.Tensor]) -> dict[str, float]:
        """Returns what a squared difference of every weight counts: one over the squared distance that the expert went."""
        from tdbench.api import UsageError

        far = {name: float(((start[name] - goal[name]) ** 2).sum()) for name in start}
        if not sum(far.values()):
            raise UsageError("an expert did not move: raise method.expert_lr or method.expert_head_lr.")
        if self._config.distance == "whole":
            return dict.fromkeys(far, 1 / sum(far.values()))
        parts = [sum(far[name] for name in far if self._inner.group_of(name) == group) for group in (0, 1)]
        used = sum(part > 0 for part in parts)
        weight_of = [1 / (used * part) if part else 0.0 for part in parts]
        return {name: weight_of[self._inner.group_of(name)] for name in far}

    def made(self) -> DistilledSet:
        """Returns what was learned."""
        self._learned.note(self._ctx)
        return self._learned.made(repeats=self._config.repeats)
