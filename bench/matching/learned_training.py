"""Trainings that are learned: token vectors, labels, step sizes and attention as the parameters of one optimiser.

Shapes: M texts, S token vectors, E width of the token table, C classes, T steps, H heads of all layers, L tokens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import one_hot, softplus

from tdbench.bench.distilled import DistilledSet, Schedule, SoftInputs
from tdbench.bench.errors import PluginError
from tdbench.bench.matching.initialisation import (
    mean_vectors,
    nearest_words,
    random_words,
    resized,
    text_of,
    vectors_of,
    words_of,
)
from tdbench.bench.matching.projection import Projection
from tdbench.bench.matching.synthesis import NEARNESS
from tdbench.bench.training.inner import InnerLoop, InnerModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.options import LearnedTrainingConfig
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.matching.unroll import Unrolled
    from tdbench.bench.training.inner import Weights

SURE = 4.0
"""Logit of a text's own class where shares are learned, at first: 0.95 of four classes."""

NEXT_TO_NOTHING = 1e-3
"""Share of its size with which the first step's size below the head starts."""

COLLAPSED = 1e-3
"""Share of its first size below which a step size counts as lost."""

WARMUP_FRAC, CLIP_NORM, HEAD_STD = 0.1, 1.0, 0.02


class LearnedTraining:
    """A training whose parts are learned by Adam.

    Args:
        inner: The learner.
        soft: Vectors to start from.
        labels_M: Classes.
        n_classes: C.
        config: What is learned, and how fast.
        seed: Of the noise.
    """

    def __init__(
        self,
        inner: InnerModel,
        soft: SoftInputs,
        labels_M: NDArray[np.int64],
        n_classes: int,
        *,
        config: LearnedTrainingConfig,
        seed: int,
    ) -> None:
        self.inner = inner
        self._soft, self._labels_M, self._config = soft, labels_M, config
        device = inner.device
        own_MC = one_hot(torch.from_numpy(labels_M), n_classes).float().to(device)
        self._x_SE = torch.from_numpy(soft.vectors_SD.copy()).to(device).requires_grad_(config.inputs == "learned")
        scale = SURE if config.labels == "soft" else 1.0
        self._y_MC = (scale * own_MC).requires_grad_(config.labels != "hard")
        self._first_T2 = torch.tensor([[config.rate, config.head_rate]] * config.steps, device=device)
        if config.head_first and config.steps > 1:
            self._first_T2[0, 0] *= NEXT_TO_NOTHING
        inverse_T2 = self._first_T2 + (-(-self._first_T2).expm1()).log()  # of softplus
        self._rho_T2 = inverse_T2.requires_grad_(True)
        self._wanted: list[torch.Tensor] = []
        if config.attention != "none":
            seen = [own.clamp(min=1e-6).log() for own in inner.attention(inner.weights(), self._x_SE.detach())]
            self._wanted = [(a[:, 0].clone() if config.attention == "first" else a).requires_grad_(True) for a in seen]
        self._generator = torch.Generator().manual_seed(seed % 2**63)
        self._rows_of = Schedule(np.zeros((config.steps, 2), np.float32), config.parts).rows_of(labels_M)

    def begin(self, updates: int, share: float = 1.0) -> None:
        """Begins a run of updates, with a warm-up and a linear decay of all learning rates.

        Args:
            updates: Updates that there will be.
            share: Of the rates in the options, but that of step sizes.
        """
        config = self._config
        rates = [config.rate_lr, *(share * r for r in (config.lr, config.label_lr))]
        rates += [share * config.attention_lr] * len(self._wanted)
        learned = [self._rho_T2, self._x_SE, self._y_MC, *self._wanted]
        groups = [{"params": [p], "lr": rate} for p, rate in zip(learned, rates, strict=True) if p.requires_grad]
        self._learned = [p for p in learned if p.requires_grad]
        self._optimiser = torch.optim.Adam(groups)
        self._plan = torch.optim.lr_scheduler.LambdaLR(self._optimiser, lambda step: _share_of_rate(step, updates))

    def inner_loop(self, *, noisy: bool = False) -> InnerLoop:
        """Returns the training as it is now; its tensors are leaves of a graph of their own."""
        x_SE = self._x_SE.detach()
        if noisy and self._config.noise:
            x_SE = x_SE + self._config.noise * torch.randn(x_SE.shape, generator=self._generator).to(x_SE.device)
        with torch.no_grad():
            values = [self.rates_T2, x_SE.clone(), *(value.clone() for value in self._values()[2:])]
        origins = [self._rho_T2, self._x_SE, self._y_MC, *self._wanted]
        leaves = [value.requires_grad_(origin.requires_grad) for value, origin in zip(values, origins, strict=True)]
        return InnerLoop(leaves[0], leaves[1], leaves[2], self._rows_of, leaves[3:] or None)

    def _values(self) -> list[torch.Tensor]:
        """Returns what the parameters stand for, in the order of `InnerLoop.leaves`."""
        targets_MC = torch.softmax(self._y_MC, dim=1) if self._config.labels == "soft" else self._y_MC * 1
        return [
            softplus(self._rho_T2),
            self._x_SE * 1,
            targets_MC,
            *(torch.softmax(logits, dim=-1) for logits in self._wanted),
        ]

    @classmethod
    def begun(
        cls,
        source: SourceModel,
        real: LabelledText,
        per_class: int,
        config: LearnedTrainingConfig,
        ctx: Context,
        *,
        body: bool = True,
        lora: int | None = None,
    ) -> LearnedTraining:
        """Starts a training as the options say, on a fresh copy of the source learner.

        Args:
            source: The source learner.
            real: Real texts.
            per_class: Texts of a class.
            config: What is learned, and how fast.
            ctx: Seeds.
            body: Whether weights below the head are to move.
            lora: Seed of adapters that are trained in their place; None to train all weights.
        """
        soft = starting_vectors(source, real, per_class, config, ctx)
        labels_M = np.repeat(np.arange(real.n_classes), per_class)
        encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
        inner = InnerModel(source.new_module(), encoded, ctx.device, lora=lora, body=body)
        return cls(inner, soft, labels_M, real.n_classes, config=config, seed=ctx.torch_seed("noise"))

    @property
    def rates_T2(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """Step sizes as they are now."""
        return softplus(self._rho_T2.detach())

    def update(self, found: Unrolled) -> None:
        """Takes one step of Adam.

        Raises:
            PluginError: The loss is not finite, or a step size has shrunk to next to nothing.
        """
        if not math.isfinite(found.loss):
            raise PluginError(
                "the learned training diverged: its loss is not finite; lower method.lr, method.rate or method.head_rate."
            )
        self._optimiser.zero_grad()
        pairs = [(a, b) for a, b in zip(self._values(), found.leaves, strict=True) if a.requires_grad]
        torch.autograd.backward([a for a, _ in pairs], [b for _, b in pairs])
        norm = torch.nn.utils.clip_grad_norm_(self._learned, CLIP_NORM)
        if not bool(norm.isfinite()):
            raise PluginError(
                "the learned training diverged: a gradient is not finite; lower method.lr, method.rate or method.head_rate."
            )
        self._optimiser.step()
        self._plan.step()
        lost = self.rates_T2 < COLLAPSED * self._first_T2
        if bool(lost.any()):
            step, group = (int(i) for i in lost.nonzero()[0])
            what = "head_rate" if group else "rate"
            raise PluginError(
                f"the step size of step {step + 1} ({'head' if group else 'body'}) has shrunk below {COLLAPSED:g} of method.{what}: that "
                f"part of the training does nothing. Start with a smaller method.{what}, or lower method.rate_lr."
            )

    def note(self, ctx: Context) -> None:
        """Leaves the learned step sizes on the record, step after step."""
        body_T, head_T = self.rates_T2.t().tolist()
        ctx.curves["learned_head_rate"] = head_T
        if self.inner.body:
            ctx.curves["learned_rate"] = body_T

    def made(self, head_CX: NDArray[np.float32] | None = None, *, repeats: int = 1) -> DistilledSet:
        """Returns the training as a distilled set of token vectors.

        Args:
            head_CX: The head that it starts from, weights and offsets; None for a new one with every seed.
            repeats: Times that its steps are to be taken.
        """
        soft = SoftInputs(self._x_SE.detach().cpu().numpy(), self._soft.lengths_MF, self._soft.learner)
        extras = {}
        if self._config.labels != "hard":
            extras["soft_labels_MC"] = self._values()[2].detach().cpu().numpy()
        if self._config.schedule:
            attention_XH = None
            if self._wanted:
                flat = [torch.softmax(logits.detach(), dim=-1).flatten(1).t() for logits in self._wanted]
                attention_XH = torch.cat(flat).cpu().numpy().astype(np.float32)
            rates_T2 = self.rates_T2.cpu().numpy().astype(np.float32) * np.array([self.inner.body, True], np.float32)
            rates_T2 = np.tile(rates_T2, (repeats, 1))
            extras["schedule"] = Schedule(rates_T2, self._config.parts, attention_XH, head_CX, self.inner.lora)
        return DistilledSet.from_vectors(soft, self._labels_M, **extras)


def _share_of_rate(step: int, updates: int) -> float:
    warmup = max(1.0, WARMUP_FRAC * updates)
    return min((step + 1) / warmup, max(0.0, updates - step) / max(1.0, updates - warmup))


def as_text(
    made: DistilledSet, source: SourceModel, real: LabelledText, config: LearnedTrainingConfig, ctx: Context
) -> DistilledSet:
    """Turns token vectors into the words that they are nearest to, or that the task's language model picks among the nearest."""
    soft = made.soft
    assert soft is not None
    if config.uses_task_lm:
        lm = ctx.task_lm(real, source)
        project = Projection(source, lm, soft.lengths_MF, made.labels_M, config.top_k, nearness=NEARNESS)
        words = project.words(torch.from_numpy(soft.vectors_SD).to(source.device))
    else:
        words = nearest_words(source, soft, words_of(source, real))
    return DistilledSet.from_texts(text_of(source, list(real.fields), words), made.labels_M)


class NewHeads:
    """Draws what every training draws anew: the learner's linear head, N(0, 0.02) and no offsets, as learners here do.

    Args:
        inner: The learner.
        seed: Of the draws.
        fixed: Draws the same head every time.
    """

    def __init__(self, inner: InnerModel, seed: int, *, fixed: bool) -> None:
        self._inner, self._own, self._fixed, self._seed = inner, inner.weights(), fixed, seed % 2**63
        self._head = [name for name in inner.trained if inner.group_of(name)]
        self._generator = torch.Generator().manual_seed(self._seed)

    def draw(self) -> Weights:
        """Returns all weights, with a new head."""
        if self._fixed:
            self._generator.manual_seed(self._seed)
        new = {}
        for name in self._head:
            own = self._own[name]
            new[name] = (
                torch.randn(own.shape, generator=self._generator).to(own) * HEAD_STD if own.ndim > 1 else own * 0
            )
        return {**self._own, **new}

    def kept(self) -> NDArray[np.float32] | None:
        """Returns the fixed head as a set keeps it, or None where heads are drawn."""
        if not self._fixed:
            return None
        weight_CD, bias_C = self._inner.head_of(self.draw())
        return torch.cat([weight_CD, bias_C.unsqueeze(1)], dim=1).cpu().numpy()


def starting_vectors(
    source: SourceModel, real: LabelledText, per_class: int, config: LearnedTrainingConfig, ctx: Context
) -> SoftInputs:
    """Returns the vectors to start from, class after class.

    A real text that is shorter than the length asked for is repeated, a longer one is cut; of a pair, each field has its share.
    """
    rng = ctx.rng("start")
    room = source.max_length - source.special_tokens.n_special
    length = None if config.length is None else min(config.length, room)
    parts = [
        part
        for label in range(real.n_classes)
        for part in np.array_split(rng.permutation(real.positions_of_class(label)), per_class)
    ]
    texts = [resized(text, length) for text in words_of(source, real.take(np.array([part[0] for part in parts])))]
    if config.start == "words":
        texts = random_words(np.array([[len(field) for field in text] for text in texts]), words_of(source, real), rng)
    soft = vectors_of(source, texts)
    if config.start == "noise":
        drawn = rng.standard_normal(soft.vectors_SD.shape) * float(source.table_VE.std())
        return SoftInputs(drawn.astype(np.float32), soft.lengths_MF, soft.learner)
    if config.start == "class-mean":
        table_VE, words = source.table_VE.cpu().numpy(), words_of(source, real)
        means = [
            mean_vectors(table_VE, [words[row][field] for row in part], int(size))
            for part, sizes in zip(parts, soft.lengths_MF, strict=True)
            for field, size in enumerate(sizes)
        ]
        return SoftInputs(np.concatenate(means).astype(np.float32), soft.lengths_MF, soft.learner)
    return soft
