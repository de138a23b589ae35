"""DP-SGD (Abadi et al., 2016) on opacus: gradients of rows are clipped, summed over a Poisson sample, and noise is added. B rows."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tdbench.bench.errors import UsageError
from tdbench.bench.training.prepared import compute_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.privacy.accounting import Mechanism

Batch = dict[str, torch.Tensor]


class RowModel(ABC):
    """A model that is trained on rows one by one: nothing that one row contributes may depend on another.

    Attributes:
        module: What is trained, in place; no batch normalisation, no dropout, frozen weights where gradients of rows cannot be told apart.
    """

    module: nn.Module

    @abstractmethod
    def encode(self, rows: LabelledText) -> Batch:
        """Turns N rows into tensors of N entries, each from its own row alone, by public means."""

    def draw(self, batch: Batch, generator: torch.Generator) -> Batch:  # noqa: ARG002 - by default nothing is drawn
        """Draws what the loss needs by chance, row by row, such as masks or noise; returned together with the batch."""
        return batch

    @abstractmethod
    def losses(self, batch: Batch) -> torch.Tensor:
        """Returns the (B,) losses of rows, each the mean or sum over its own tokens; nothing by chance."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained.

    Args:
        lr: Learning rate of AdamW.
        clip: L2 norm that a row's gradient is clipped to.
        physical: Rows whose gradients are held at once.
        ghost: Find the norms without the gradients (Li et al., 2022), in two passes: less memory where all of a large model is trained.
        warmup: Steps over which the rate rises.
        decay: Whether it falls to 0 afterwards, by the same amount in every step; else it is constant.
        average: Decay of a moving average of the weights over steps, which is then what training returns; 0 for the last weights.
    """

    lr: float
    clip: float = 1.0
    physical: int = 64
    ghost: bool = False
    warmup: int = 0
    decay: bool = False
    average: float = 0.0

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of a step, counted from 0, of so many."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * (steps - step) / (steps - self.warmup) if self.decay else self.lr


def train_rows(
    model: RowModel,
    rows: LabelledText,
    options: TrainingOptions,
    *,
    mechanism: Mechanism,
    noise: np.random.Generator,
    noise_only: bool = False,
    tick: Callable[[float], None] = lambda _: None,
) -> None:
    """Trains a model with differential privacy. A copy meets the rows; the weights that it has trained are all that comes back.

    Args:
        model: Its trained weights are replaced.
        rows: The N private rows.
        options: Rate, clipping.
        mechanism: Noise over the clipping norm (0: ordinary training on the same samples, without clipping), probability with which each
            row is in a step's sample, and steps. An empty sample is a step of noise alone.
        noise: Draws samples, what the loss needs by chance, and noise.
        noise_only: Whether every step is the noise alone; everything else is done as it would be.
        tick: Receives the finished fraction.
    """
    worker = copy.deepcopy(model)
    module = worker.module.train()
    device = next(module.parameters()).device
    dtype = compute_dtype(device.type)
    chance = torch.Generator().manual_seed(int(noise.integers(2**63)))
    data = worker.encode(rows)
    engine = _Engine(worker, options, mechanism.noise, mechanism.rate * len(rows), noise)
    try:
        for step in range(mechanism.steps):
            taken = torch.from_numpy(np.flatnonzero(noise.random(len(rows)) < mechanism.rate))
            for chunk in taken.split(options.physical) if len(taken) else ():
                batch = worker.draw({name: column[chunk] for name, column in data.items()}, chance)
                # Rounded products make gradients a little less exact; what is clipped and summed is what was computed, so the bound holds.
                with torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32):
                    engine.add({name: column.to(device) for name, column in batch.items()}, counted=not noise_only)
            engine.step(options.rate(step, mechanism.steps))
            tick((step + 1) / mechanism.steps)
    finally:
        engine.close()
    mine = [weight for weight in model.module.parameters() if weight.requires_grad]
    with torch.no_grad():
        for weight, trained in zip(mine, engine.result(), strict=True):
            weight.copy_(trained)
    model.module.eval()


class _Engine:
    """Sums clipped gradients and takes noisy steps."""

    def __init__(
        self, model: RowModel, options: TrainingOptions, multiplier: float, expected: float, noise: np.random.Generator
    ) -> None:
        self._model, self._options, self._expected, self._noise = model, options, expected, noise
        self._spread = multiplier * options.clip
        self._weights = [weight for weight in model.module.parameters() if weight.requires_grad]
        self._sums = [torch.zeros_like(weight) for weight in self._weights]
        self._means = [weight.detach().clone() for weight in self._weights] if options.average else []
        self._optimiser = torch.optim.AdamW(self._weights, lr=options.lr, betas=(0.9, 0.99), weight_decay=0.0)
        self._hooks = None if multiplier == 0 else hooks_for(model.module, options.clip, options.ghost)

    def add(self, batch: Batch, counted: bool) -> None:
        """Adds the clipped gradients of some rows."""
        if self._hooks is None:
            self._model.losses(batch).sum().backward()
            grads = [weight.grad for weight in self._weights]
        else:
            grads = clipped_sums(self._model, batch, self._weights, self._hooks, self._options)
        for total, grad in zip(self._sums, grads, strict=True):
            if grad is not None and counted:
                total.add_(grad)
        forget(self._weights)

    def step(self, lr: float) -> None:
        """Adds noise, divides by the expected number of rows, and moves the weights."""
        for weight, total in zip(self._weights, self._sums, strict=True):
            if self._spread:
                drawn = torch.from_numpy(self._noise.standard_normal(tuple(weight.shape), dtype=np.float32))
                total.add_(drawn.to(total), alpha=self._spread)
            weight.grad = total / self._expected
            total.zero_()
        self._optimiser.param_groups[0]["lr"] = lr
        self._optimiser.step()
        forget(self._weights)
        if self._means:
            for mean, weight in zip(self._means, self._weights, strict=True):
                mean.lerp_(weight.detach(), 1 - self._options.average)

    def result(self) -> list[torch.Tensor]:
        """Returns the trained weights, or their moving averages."""
        return self._means or [weight.detach() for weight in self._weights]

    def close(self) -> None:
        """Takes the hooks off."""
        if self._hooks is not None:
            self._hooks.cleanup()


def forget(weights: list[nn.Parameter]) -> None:
    """Clears gradients."""
    for weight in weights:
        weight.grad = None
        weight.grad_sample = None  # type: ignore[attr-defined] - set by opacus


def hooks_for(module: nn.Module, clip: float, ghost: bool) -> Any:
    """Returns opacus' hooks on a module, which stays what it is.

    Raises:
        UsageError: The module has a layer whose per-row gradients do not exist, such as batch normalisation.
    """
    from opacus.grad_sample import GradSampleHooks, GradSampleHooksFastGradientClipping

    try:
        if ghost:
            return GradSampleHooksFastGradientClipping(
                module,
                loss_reduction="sum",
                max_grad_norm=clip,  # type: ignore[arg-type] - annotated as a whole number
                use_ghost_clipping=True,
                strict=False,
            )
        return GradSampleHooks(module, loss_reduction="sum", strict=False)
    except NotImplementedError as error:
        raise UsageError(f"opacus cannot take the gradients of rows apart: {str(error).splitlines()[0]}") from None


def clipped_sums(
    model: RowModel, batch: Batch, weights: list[nn.Parameter], hooks: Any, options: TrainingOptions
) -> list[torch.Tensor | None]:
    """Returns the sums over rows of gradients, each row's clipped over all weights together."""
    with quiet():
        return _clipped_sums(model, batch, weights, hooks, options)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what torch says of layers whose inputs need no gradient, such as the first: their hooks see all they need."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
        yield


def _clipped_sums(
    model: RowModel, batch: Batch, weights: list[nn.Parameter], hooks: Any, options: TrainingOptions
) -> list[torch.Tensor | None]:
    losses_B = model.losses(batch)
    if options.ghost:
        losses_B.sum().backward(retain_graph=True)
        scale_B = hooks.get_clipping_coef().detach()
        forget(weights)
        sound_B = torch.isfinite(scale_B) & (scale_B > 0)
        if not sound_B.all():
            # A row whose gradient is no number counts as a gradient of 0, and must not reach the others.
            kept = {name: column[sound_B.cpu()] for name, column in batch.items()}
            return _clipped_sums(model, kept, weights, hooks, options) if sound_B.any() else [None] * len(weights)
        hooks.disable_hooks()
        (scale_B * losses_B).sum().backward()
        hooks.enable_hooks()
        return [weight.grad for weight in weights]
    losses_B.sum().backward()
    rows = [rows_of(weight, len(losses_B)) for weight in weights]
    squares_B = torch.stack([row.flatten(1).square().sum(1) for row in rows if row is not None]).sum(0)
    sound_B = torch.isfinite(squares_B)
    scale_B = torch.where(sound_B, (options.clip / (squares_B.sqrt() + 1e-6)).clamp(max=1.0), 0.0)
    return [None if row is None else torch.einsum("b,b...->...", scale_B, _sound(row, sound_B)) for row in rows]


def _sound(row: torch.Tensor, sound_B: torch.Tensor) -> torch.Tensor:
    """Puts 0 in the place of gradients that are no numbers: 0 times infinity would not be 0."""
    return row if sound_B.all() else torch.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0)


def rows_of(weight: nn.Parameter, n_rows: int) -> torch.Tensor | None:
    """Returns a weight's gradients by row; uses of a weight in several places are summed. None where the loss does not reach it."""
    found: Any = getattr(weight, "grad_sample", None)
    if found is None:
        return None
    row = sum(found[1:], found[0]) if isinstance(found, list) else found
    if len(row) != n_rows:
        raise UsageError(
            f"a weight of shape {tuple(weight.shape)} has gradients of {len(row)} rows, the batch has {n_rows}."
        )
    return row.to(weight.dtype)
