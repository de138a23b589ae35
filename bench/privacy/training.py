"""DP-SGD (Abadi et al., 2016) on opacus: gradients of rows are clipped, summed over a Poisson sample, and noise is added. B rows."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from bench.data.text import LabelledText

Batch = dict[str, torch.Tensor]
_TOLERANCE = 1e-4
"""Relative error up to which per-row gradients in float32 count as equal."""


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
        lr: Learning rate of AdamW, constant.
        clip: L2 norm that a row's gradient is clipped to.
        physical: Rows whose gradients are held at once.
        ghost: Find the norms without the gradients (Li et al., 2022), in two passes: less memory where all of a large model is trained.
        warmup: Steps over which the rate rises.
    """

    lr: float
    clip: float = 1.0
    physical: int = 64
    ghost: bool = False
    warmup: int = 0


def train_rows(
    model: RowModel,
    data: Batch | None,
    options: TrainingOptions,
    *,
    n_rows: int,
    noise: float,
    rate: float,
    steps: int,
    seed: int,
    tick: Callable[[float], None] = lambda _: None,
) -> None:
    """Trains a model with differential privacy.

    Args:
        model: Trained in place.
        data: Of all N rows; None for steps of noise alone.
        options: Rate, clipping.
        n_rows: N.
        noise: Standard deviation over the clipping norm; 0 for ordinary training on the same samples, without clipping.
        rate: Probability with which each row is in a step's sample.
        steps: Steps; each takes a new sample. An empty one is a step of noise alone.
        seed: Of samples and noise.
        tick: Receives the finished fraction.
    """
    device = next(model.module.parameters()).device
    sampling, chance, noising = (torch.Generator().manual_seed(seed + i) for i in range(3))
    model.module.train()
    engine = _Engine(model, options, noise, rate * n_rows, noising)
    try:
        for step in range(steps):
            taken = torch.nonzero(torch.rand(n_rows, generator=sampling) < rate).flatten()
            for chunk in taken.split(options.physical) if len(taken) else ():
                if data is None:
                    break
                batch = model.draw({name: column[chunk] for name, column in data.items()}, chance)
                engine.add({name: column.to(device) for name, column in batch.items()})
            engine.step(min(1.0, (step + 1) / max(1, options.warmup)))
            tick((step + 1) / steps)
    finally:
        engine.close()
    model.module.eval()


class _Engine:
    """Sums clipped gradients and takes noisy steps."""

    def __init__(
        self, model: RowModel, options: TrainingOptions, noise: float, expected: float, generator: torch.Generator
    ) -> None:
        self._model, self._options, self._noise, self._expected = model, options, noise, expected
        self._generator = generator
        self._weights = [weight for weight in model.module.parameters() if weight.requires_grad]
        self._sums = [torch.zeros_like(weight) for weight in self._weights]
        self._optimiser = torch.optim.AdamW(self._weights, lr=options.lr, betas=(0.9, 0.99), weight_decay=0.0)
        self._hooks = None if noise == 0 else hooks_for(model.module, options.clip, options.ghost)

    def add(self, batch: Batch) -> None:
        """Adds the clipped gradients of some rows."""
        if self._hooks is None:
            self._model.losses(batch).sum().backward()
            grads = [weight.grad for weight in self._weights]
        else:
            grads = clipped_sums(self._model, batch, self._weights, self._hooks, self._options)
        for total, grad in zip(self._sums, grads, strict=True):
            if grad is not None:
                total.add_(grad)
        self._clear()

    def step(self, warm: float) -> None:
        """Adds noise, divides by the expected number of rows, and moves the weights."""
        spread = self._noise * self._options.clip
        for weight, total in zip(self._weights, self._sums, strict=True):
            drawn = torch.randn(weight.shape, generator=self._generator).to(weight) * spread if spread else 0.0
            weight.grad = (total + drawn) / self._expected
            total.zero_()
        self._optimiser.param_groups[0]["lr"] = self._options.lr * warm
        self._optimiser.step()
        self._clear()

    def _clear(self) -> None:
        for weight in self._weights:
            weight.grad = None
            weight.grad_sample = None  # type: ignore[attr-defined] - set by opacus

    def close(self) -> None:
        """Takes the hooks off."""
        if self._hooks is not None:
            self._hooks.cleanup()


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
    with _quiet():
        return _clipped_sums(model, batch, weights, hooks, options)


@contextmanager
def _quiet() -> Iterator[None]:
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
        for weight in weights:
            weight.grad = None
        hooks.disable_hooks()
        (scale_B * losses_B).sum().backward()
        hooks.enable_hooks()
        return [weight.grad for weight in weights]
    losses_B.sum().backward()
    rows = [_rows_of(weight, len(losses_B)) for weight in weights]
    squares_B = torch.stack([row.flatten(1).square().sum(1) for row in rows if row is not None]).sum(0)
    scale_B = (options.clip / (squares_B.sqrt() + 1e-6)).clamp(max=1.0)
    return [None if row is None else torch.einsum("b,b...->...", scale_B, row) for row in rows]


def _rows_of(weight: nn.Parameter, n_rows: int) -> torch.Tensor | None:
    """Returns a weight's gradients by row; uses of a weight in several places are summed. None where the loss does not reach it."""
    found: Any = getattr(weight, "grad_sample", None)
    if found is None:
        return None
    row = sum(found[1:], found[0]) if isinstance(found, list) else found
    if len(row) != n_rows:
        raise UsageError(
            f"a weight of shape {tuple(weight.shape)} has gradients of {len(row)} rows, the batch has {n_rows}."
        )
    return row


def check_rows(model: RowModel, batch: Batch, seed: int) -> None:
    """Compares per-row gradients with those of batches of one row, on public rows, before anything private is touched.

    Args:
        model: Its weights stay as they are.
        batch: Encoded public rows.
        seed: Of what the loss draws.

    Raises:
        UsageError: They differ, or a weight is trained whose gradients cannot be taken apart; names the weight.
    """
    drawn = model.draw(batch, torch.Generator().manual_seed(seed))
    names = [name for name, weight in model.module.named_parameters() if weight.requires_grad]
    weights = [weight for weight in model.module.parameters() if weight.requires_grad]
    model.module.train()
    alone = list(_alone(model, drawn, weights))
    hooks = hooks_for(model.module, 1.0, ghost=False)
    try:
        with _quiet():
            losses_B = model.losses(drawn)
            losses_B.sum().backward()
        for place, (name, weight) in enumerate(zip(names, weights, strict=True)):
            rows = _rows_of(weight, len(losses_B))
            expected = torch.stack([one[place] for one in alone])
            given = torch.zeros_like(expected) if rows is None else rows
            error = float((given - expected).norm() / expected.norm().clamp(min=1e-12))
            if error > _TOLERANCE and float((given - expected).abs().max()) > 1e-7:
                raise UsageError(
                    f"the gradients of rows with respect to '{name}' are wrong by {error:.1%}: in a batch they are not what each row gives "
                    "by itself. Freeze it, or give the model inputs of its own for every row, such as position ids."
                )
    finally:
        hooks.cleanup()
        for weight in weights:
            weight.grad = None
            weight.grad_sample = None  # type: ignore[attr-defined]


def _alone(model: RowModel, batch: Batch, weights: list[nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    """Yields the gradients of every row in a batch of its own."""
    for row in range(len(next(iter(batch.values())))):
        loss = model.losses({name: column[row : row + 1] for name, column in batch.items()}).sum()
        grads = torch.autograd.grad(loss, weights, allow_unused=True)
        yield [torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads, strict=True)]
