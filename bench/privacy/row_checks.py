"""Checks that rows do not depend on one another in what is trained by DP-SGD, whose privacy rests on their independence. Shapes: B rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from tdbench.bench.errors import UsageError
from tdbench.bench.privacy.training import forget, hooks_for, quiet, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.privacy.training import Batch, RowModel, TrainingOptions

_TOLERANCE, _NOTHING = 1e-4, 1e-5
"""Relative error up to which per-row gradients in float32 count as equal; share of the whole gradient below which an error is rounding."""
_STIR = 0.01
"""Noise on the copy's weights: where some start at zero, as half of an adapter's do, the gradients of others are zero and show nothing."""


def check_rows(model: RowModel, public: LabelledText, options: TrainingOptions) -> None:
    """Looks, on public rows and before anything private is touched, for rows that depend on one another.

    Args:
        model: A copy is looked at; it stays as it is.
        public: A few public rows.
        options: Whether the norms are found without the gradients.

    Raises:
        UsageError: What is encoded or drawn for a row depends on the others; a buffer changes; per-row gradients, or their norms, are not
            those of batches of one row; names what it is.
    """
    model = copy.deepcopy(model)
    batch = model.encode(public)
    for row in range(len(public)):
        _same(model.encode(public.take([row])), {n: c[row : row + 1] for n, c in batch.items()}, "encode(rows)")
    others = {name: column[[0] + [1] * (len(column) - 1)] for name, column in batch.items()}
    drawn, other = (model.draw(one, torch.Generator().manual_seed(0)) for one in (batch, others))
    _same({n: c[:1] for n, c in drawn.items()}, {n: c[:1] for n, c in other.items()}, "draw(batch)")
    device = next(model.module.parameters()).device
    drawn = {name: column.to(device) for name, column in drawn.items()}
    named = [(name, weight) for name, weight in model.module.named_parameters() if weight.requires_grad]
    stir = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, weight in named:
            weight.add_(torch.randn(weight.shape, generator=stir).to(weight), alpha=_STIR)
    model.module.train()
    buffers = {name: buffer.clone() for name, buffer in model.module.named_buffers()}
    alone = list(_alone(model, drawn, [weight for _, weight in named]))
    _check_gradients(model, drawn, named, alone)
    if options.ghost:
        _check_norms(model, drawn, [weight for _, weight in named], alone)
    for name, buffer in model.module.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise UsageError(
                f"the buffer '{name}' changes when rows are read, without noise; use no layer that keeps statistics."
            )


def _same(given: Batch, expected: Batch, what: str) -> None:
    for name, column in expected.items():
        if given[name].shape != column.shape or not torch.equal(given[name], column):
            raise UsageError(
                f"{what}: '{name}' of a row depends on the rows beside it; pad to a fixed length, draw row by row."
            )


def _check_gradients(
    model: RowModel, batch: Batch, named: list[tuple[str, nn.Parameter]], alone: list[list[torch.Tensor]]
) -> None:
    hooks = hooks_for(model.module, 1.0, ghost=False)
    try:
        with quiet():
            losses_B = model.losses(batch)
            losses_B.sum().backward()
        whole = float(torch.stack([grad.norm() for one in alone for grad in one]).norm())
        for place, (name, weight) in enumerate(named):
            rows = rows_of(weight, len(losses_B))
            expected = torch.stack([one[place] for one in alone])
            given = torch.zeros_like(expected) if rows is None else rows
            off = float((given - expected).norm())
            error = off / max(float(expected.norm()), 1e-12)
            if error > _TOLERANCE and off > _NOTHING * whole:
                raise UsageError(
                    f"the gradients of rows with respect to '{name}' are wrong by {error:.1%}: in a batch they are not what each row gives "
                    "by itself. Switch dropout off, freeze the weight, or give every row inputs of its own, such as position ids."
                )
    finally:
        hooks.cleanup()
        forget([weight for _, weight in named])


def _check_norms(model: RowModel, batch: Batch, weights: list[nn.Parameter], alone: list[list[torch.Tensor]]) -> None:
    hooks = hooks_for(model.module, 1.0, ghost=True)
    try:
        with quiet():
            model.losses(batch).sum().backward()
        given_B = hooks.get_norm_sample()
    except NotImplementedError as error:
        raise UsageError(f"ghost clipping cannot do this model ({error}); train it with ghost=False.") from None
    finally:
        hooks.cleanup()
        forget(weights)
    expected_B = torch.stack([torch.stack([grad.norm() for grad in one]).norm() for one in alone])
    if not torch.allclose(given_B, expected_B, rtol=_TOLERANCE, atol=1e-7):
        raise UsageError(
            "ghost clipping finds other norms than those of rows by themselves; train this model with ghost=False."
        )


def _alone(model: RowModel, batch: Batch, weights: list[nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    """Yields the gradients of every row in a batch of its own."""
    for row in range(len(next(iter(batch.values())))):
        loss = model.losses({name: column[row : row + 1] for name, column in batch.items()}).sum()
        grads = torch.autograd.grad(loss, weights, allow_unused=True)
        yield [torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads, strict=True)]
