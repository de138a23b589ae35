"""Meta-model matching: a training that is learned by differentiating through it (Maekawa et al., 2023; Sucholutsky and Schonlau, 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tdbench.api import Method, MethodCard, Skip
from tdbench.api.options import LearnedTrainingConfig

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tdbench.api import Budget, Context, DistilledSet, LabelledText, Task
    from tdbench.api.matching import SourceModel, Unrolled
    from tdbench.api.training import InnerLoop, InnerModel


MOST_TEXTS = 10
"""Texts of a class beyond which updates do not become fewer."""
MOST_EPOCHS = 10
"""Times that all real texts are read while all weights move, at most."""
HEAD_SHARE = 0.1
"""Of the progress line: the first updates take so much of the time."""


class Meta(Method):
    """Learns token vectors, labels and step sizes such that a few steps of SGD on them lead to a low loss on real texts.

    Every update draws a new head, takes the training's steps, reads a batch of real texts with the weights that they lead to, and walks
    back through the steps. First only the head is trained: the real texts are then read once, and an update costs a fifteenth.
    Evaluation runs the same steps from heads that were never seen.
    """

    name = "meta"
    card = MethodCard(
        summary="Token vectors, labels and step sizes learned by differentiating through the training on them.",
        family="meta-model matching",
        paper="Maekawa et al., 2023, Dataset distillation with attention labels; Sucholutsky and Schonlau, 2021",
        output=None,
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
    )

    class Config(LearnedTrainingConfig):
        """Looked for on the development task (rotten_tomatoes); docs/notes/matching-measurements.md says what was compared."""

        head_updates: NonNegativeInt = 300
        """Updates of the training while it moves the head alone."""
        head_batch: PositiveInt = 1024
        """Real texts that a head is judged by."""
        updates: NonNegativeInt = 600
        """Updates while it moves all weights but the token table, with one text a class; fewer in proportion where there are more, but a
        tenth at least; and never more than read the real texts ten times."""
        batch: PositiveInt = 32
        """Real texts that all weights are judged by."""
        updates_lr: PositiveFloat = 0.1
        """Share of the learning rates, but that of step sizes, in these updates."""
        last: PositiveInt | None = None
        """Steps that are walked back through; null for all (truncation)."""

        @model_validator(mode="after")
        def _last_is_a_part(self) -> Meta.Config:
            if self.last is not None and self.last > self.steps:
                raise ValueError(f"last is {self.last}, more than the {self.steps} steps of a training")
            if self.head_updates + self.updates == 0:
                raise ValueError("nothing is learned without an update: give head_updates or updates")
            if self.updates == 0 and self.attention != "none":
                raise ValueError("attention trains weights below the head: give updates, or attention=none")
            return self

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - any task will do
        """Needs to know the number of texts beforehand."""
        return self.config.skip(budget)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Learns a training."""
        from tdbench.api.matching import as_text

        assert budget.per_class is not None
        config, source = self.config, ctx.source(real)
        learning = _Learning(config, source, real, budget.per_class, ctx)
        with ctx.cost.phase("head"):
            if config.head_updates:
                learning.head()
        with ctx.cost.phase("unroll"):
            if config.updates:
                learning.everything()
        made = learning.made()
        return made if config.output == "embedding" else as_text(made, source, real, config, ctx)


class _Learning:
    """The parts of one run. Shapes: N real texts, B of a batch, C classes, D head inputs."""

    def __init__(
        self, config: Meta.Config, source: SourceModel, real: LabelledText, per_class: int, ctx: Context
    ) -> None:
        import torch

        from tdbench.api.matching import LearnedTraining, NewHeads

        self._config, self._source, self._real, self._ctx = config, source, real, ctx
        share = -(-config.updates // min(per_class, MOST_TEXTS))
        self._updates = min(share, -(-MOST_EPOCHS * len(real) // config.batch))
        with ctx.cost.phase("start"):
            self._learned = LearnedTraining.begun(source, real, per_class, config, ctx, body=config.updates > 0)
            self._heads = NewHeads(self._inner, ctx.torch_seed("heads"), fixed=config.head == "fixed")
        self._h_ND = torch.from_numpy(source.real_features(real)).to(ctx.device)
        self._labels_N = torch.tensor(real.labels_N, device=ctx.device)

    @property
    def _inner(self) -> InnerModel:
        return self._learned.inner

    def head(self) -> None:
        """Updates while weights below the head stay."""
        config, ctx, rng, losses = self._config, self._ctx, self._ctx.rng("head batches"), []
        self._learned.begin(config.head_updates)
        for update in range(config.head_updates):
            rows = rng.integers(0, len(self._real), config.head_batch)
            found = self._of_head(self._heads.draw(), self._learned.inner_loop(noisy=True), rows)
            self._learned.update(found)
            losses.append(found.loss)
            ctx.progress(HEAD_SHARE * (update + 1) / config.head_updates)
        ctx.curves["head_loss"] = losses

    def everything(self) -> None:
        """Updates while all weights move.

        A batch is small here, because it is read anew every time. What it says of the training of the head alone is taken off again, and
        what a large batch says of that is put in its place: the derivatives' mean stays, their variance falls (a control variate).
        """
        from tdbench.api.matching import Back, RealLoss, unroll

        config, ctx, source, rng, losses = self._config, self._ctx, self._source, self._ctx.rng("batches"), []
        tokens = source.tokenise(self._real)
        loss = RealLoss(source.new_module(), tokens, self._real.labels_N, ctx.device, ctx.cost)
        self._learned.begin(self._updates, config.updates_lr)
        for update in range(self._updates):
            rows, weights = rng.integers(0, len(tokens), config.batch), self._heads.draw()
            loop = self._learned.inner_loop(noisy=True)
            found = unroll(
                self._inner,
                weights,
                loop,
                lambda trained, rows=rows: loss(trained, rows),
                back=Back(config.last, keep=not config.checkpoint),
                cost=ctx.cost,
            )
            if config.head_batch > config.batch:
                found = found.plus(self._of_head(weights, loop, rng.integers(0, len(tokens), config.head_batch), rows))
            self._learned.update(found)
            losses.append(found.loss)
            ctx.progress(HEAD_SHARE + (1 - HEAD_SHARE) * (update + 1) / self._updates)
        ctx.curves["unroll_loss"] = losses

    def _of_head(
        self,
        weights: dict[str, torch.Tensor],
        loop: InnerLoop,
        rows: NDArray[np.int64],
        less: NDArray[np.int64] | None = None,
    ) -> Unrolled:
        """Unrolls the training of the head alone; its loss is that on some real texts, less that on others."""
        from tdbench.api.matching import unroll_head

        def loss_on(rows: NDArray[np.int64], weight_CD: torch.Tensor, bias_C: torch.Tensor) -> torch.Tensor:
            import torch

            index = torch.from_numpy(rows).to(self._h_ND.device)
            scores_BC = self._h_ND[index] @ weight_CD.t() + bias_C
            return torch.nn.functional.cross_entropy(scores_BC, self._labels_N[index])

        return unroll_head(
            lambda x_SE: self._source.soft_features(self._inner.encoded, x_SE),
            self._inner.head_of(weights),
            loop,
            lambda *head: loss_on(rows, *head) - (loss_on(less, *head) if less is not None else 0),
        )

    def made(self) -> DistilledSet:
        """Returns what was learned."""
        self._learned.note(self._ctx)
        return self._learned.made(self._heads.kept())
