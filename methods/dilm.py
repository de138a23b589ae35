"""DiLM: a language model whose samples' gradients match those of the real texts (Maekawa et al., 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from tdbench.api import Method, MethodCard, MethodConfig

if TYPE_CHECKING:
    import torch

    from tdbench.api import Budget, Context, DistilledSet, LabelledText
    from tdbench.api.matching import Head, SourceModel
    from tdbench.api.training import TaskLM

HEAD_STEPS = 20
ROWS_OF_A_TEACHER = 5_000


class DiLM(Method):
    """Tunes the task's language model by gradient matching, samples it, and keeps K-means medoids of the samples.

    Stage 1 is the task's language model as it is. In stage 2 a head of the frozen source learner is trained on real features for some steps
    at a time; at every stop its gradient over samples, weighted by how likely the model finds each, is to match its gradient over a
    coreset of real texts. The samples are constants; what changes is how likely they are. Stages as in sections 3.2 to 3.4, on a smaller
    scale: a linear head instead of a whole BERT is trained between the stops.
    """

    name = "dilm"
    card = MethodCard(
        summary="K-means medoids of samples of a language model that was tuned by gradient matching.",
        family="gradient matching",
        paper="Maekawa et al., 2024, DiLM: distilling dataset into language model for text-level dataset distillation",
        output="text",
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
        counts_texts=True,
    )

    class Config(MethodConfig):
        """DiLM's values where no other reason is given; the sum of the learning rates is about the paper's."""

        loops: NonNegativeInt = 5
        """Heads that are trained, one after another (paper: 2,000); 0 is the method without gradient matching. Small tasks stop when as
        many samples were matched as there are real texts."""
        stops: PositiveInt = 10
        """Moments of each head's training at which gradients are matched, 20 steps apart."""
        lr: PositiveFloat = 1e-4
        """Learning rate of AdamW, cosine, 5 % warm-up (paper: 3e-7, for 400 times as many steps)."""
        batch: PositiveInt = 64
        """Samples of a class in a step."""
        batches: PositiveInt = 10
        """Batches drawn from one pool of samples (paper: 200), which is about as large as the class at most; each takes one sample from
        every cluster of the pool."""
        refresh: PositiveInt = 5
        """Loops after which a new pool is sampled (paper: 20)."""
        temperature: PositiveFloat = 1.0
        """Of the samples' weights."""
        teachers: PositiveInt = 10
        """Coresets of the real texts, of which each step uses one."""
        teacher_size: PositiveInt = 200
        """Their texts per class, or as many as there are."""
        pool: PositiveInt = 100
        """Samples for each text wanted at the end."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from."""

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Tunes, samples, and selects."""
        from tdbench.api import DistilledSet
        from tdbench.api.matching import sample_medoids

        assert budget.per_class is not None
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
        if self.config.loops:
            lm = _Tuning(self.config, real, source, lm, ctx).run()
        made = sample_medoids(
            lm.writer(len(real.fields), self.config.top_p),
            source,
            list(real.fields),
            real.n_classes,
            per_class=budget.per_class,
            pool=self.config.pool,
            ctx=ctx,
        )
        return DistilledSet.from_texts(*made)


class _Tuning:
    """Stage 2. Shapes: B samples of a class, L tokens, C classes, D head inputs."""

    def __init__(self, config: DiLM.Config, real: LabelledText, source: SourceModel, lm: TaskLM, ctx: Context) -> None:
        self._config, self._real, self._source, self._ctx = config, real, source, ctx
        self._lm = lm.copy()
        with ctx.cost.phase("teachers"):
            self._real_ND = source.real_features(real)
            self._teachers = [self._teacher(ctx.rng(f"teacher {i}")) for i in range(config.teachers)]

    def run(self) -> TaskLM:
        """Returns the tuned model."""
        import torch

        from tdbench.api.matching import head_path

        config, n_classes = self._config, self._real.n_classes
        device = self._source.device
        h_ND = torch.tensor(self._real_ND, device=device)
        one_hot_NC = torch.nn.functional.one_hot(torch.tensor(self._real.labels_N), n_classes).float().to(device)
        optimiser = torch.optim.AdamW(self._lm.model.parameters(), lr=config.lr, weight_decay=0.01)
        # Small tasks get fewer steps: no more samples are matched than there are real texts.
        steps = min(config.loops * config.stops, max(1, len(self._real) // (config.batch * n_classes)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _cosine(step, steps))
        rng, losses, pools, heads = self._ctx.rng("tuning"), [], [], []
        with self._ctx.cost.phase("match"):
            for step in range(steps):
                loop, stop = divmod(step, config.stops)
                if stop == 0:
                    heads = head_path(h_ND, one_hot_NC, [HEAD_STEPS * j for j in range(config.stops)], rng)
                    if loop % config.refresh == 0:
                        pools = [self._pool(label, loop) for label in range(n_classes)]
                teacher_CND = self._teachers[step % len(self._teachers)]
                losses.append(
                    sum(self._match(heads[stop], teacher_CND[c], pools[c], c, step) for c in range(n_classes))
                )
                torch.nn.utils.clip_grad_norm_(self._lm.model.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad()
                schedule.step()
                self._ctx.progress((step + 1) / steps)
        self._ctx.curves["match_loss"] = [loss / n_classes for loss in losses]
        return self._lm

    def _teacher(self, rng: np.random.Generator) -> list[torch.Tensor]:
        """Returns, for every class, the head inputs of a coreset: K-means medoids of a draw of rows."""
        import torch

        from tdbench.api.matching import cluster

        made = []
        for label in range(self._real.n_classes):
            rows = rng.permutation(self._real.positions_of_class(label))[:ROWS_OF_A_TEACHER]
            own_ND = np.unique(self._real_ND[rows], axis=0)  # repeated texts make no further cluster
            size = min(self._config.teacher_size, len(own_ND))
            rows = rows[: len(own_ND)]
            medoids = cluster(own_ND, np.zeros(len(rows), dtype=np.int64), size, int(rng.integers(2**31))).medoids_G
            made.append(torch.from_numpy(own_ND[medoids]).to(self._source.device))
        return made

    def _pool(self, label: int, loop: int) -> _Pool:
        """Samples a class, and cuts the samples into as many clusters as a batch has texts."""
        from tdbench.api.matching import cluster

        config, ctx = self._config, self._ctx
        n_real = len(self._real.positions_of_class(label))
        labels = np.full(config.batch * min(config.batches, -(-n_real // config.batch)), label)
        texts = self._lm.sample(
            labels, len(self._real.fields), ctx.torch_seed(f"pool {label} {loop}"), top_p=config.top_p
        )
        h_ND = self._source.features(self._source.special_tokens.around(texts))
        size = min(config.batch, len(np.unique(h_ND.cpu().numpy(), axis=0)))
        groups = cluster(h_ND.cpu().numpy(), labels * 0, size, ctx.torch_seed(f"clusters {label} {loop}"))
        rng = ctx.rng(f"order {label} {loop}")
        return _Pool(texts, h_ND, [rng.permutation(np.flatnonzero(groups.groups_N == g)) for g in range(size)])

    def _match(self, head: Head, teacher_ND: torch.Tensor, pool: _Pool, label: int, step: int) -> float:
        """Adds one class's part of the generator's gradient (section 3.2); returns its distance."""
        import torch

        rows = [members[step % len(members)] for members in pool.clusters]
        labels = np.full(len(rows), label)
        losses_BL, _ = self._lm.losses([pool.texts[i] for i in rows], labels)
        # As published: the sum over tokens divided by the longest text's length, so that short texts weigh more.
        weight_B = torch.softmax(-losses_BL.mean(1) / self._config.temperature, dim=0)
        made = _gradient(head, pool.h_ND[rows], weight_B, label)
        even_N = torch.full((len(teacher_ND),), 1 / len(teacher_ND), device=teacher_ND.device)
        goal = _gradient(head, teacher_ND, even_N, label)
        distance = 1 - torch.nn.functional.cosine_similarity(made, goal, dim=0)
        (distance / self._real.n_classes).backward()
        return float(distance.detach())


class _Pool:
    """Samples of one class with their head inputs, and the samples of every cluster."""

    def __init__(self, texts: list[tuple[np.ndarray, ...]], h_ND: torch.Tensor, clusters: list[np.ndarray]) -> None:
        self.texts, self.h_ND, self.clusters = texts, h_ND, clusters


def _gradient(head: Head, h_ND: torch.Tensor, weight_N: torch.Tensor, label: int) -> torch.Tensor:
    """Returns the flat gradient of a weighted cross-entropy with respect to one head's weights and offsets."""
    import torch

    errors_NC = torch.softmax(h_ND @ head.weight_CD.t() + head.bias_C, dim=1)
    errors_NC[:, label] -= 1
    errors_NC = errors_NC * weight_N.unsqueeze(1)
    return torch.cat([(errors_NC.t() @ h_ND).flatten(), errors_NC.sum(0)])


def _cosine(step: int, steps: int) -> float:
    warmup = max(1, round(0.05 * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + float(np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))
