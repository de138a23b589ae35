"""Runs training that was learned with a set of token vectors. Shapes: H attention heads of all layers, L tokens of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tdbench.bench.errors import PluginError
from tdbench.bench.training import flops
from tdbench.bench.training.inner import InnerLoop, InnerModel, stepped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tdbench.bench.distilled import Schedule
    from tdbench.bench.training.batches import Encoded
    from tdbench.bench.training.training_set import TrainContext, TrainingSet


def run_schedule(module: nn.Module, encoded: Encoded, train: TrainingSet, ctx: TrainContext) -> None:
    """Takes the schedule's steps in place.

    Args:
        module: The learner's module with the head of this seed.
        encoded: The token vectors between special tokens.
        train: Targets and schedule.
        ctx: Device and cost meter.

    Raises:
        PluginError: The schedule does not fit the learner, or training diverged.
    """
    schedule = train.schedule
    assert schedule is not None
    inner = InnerModel(module, encoded, ctx.device, lora=schedule.lora, body=not schedule.head_only)
    loop = _inner_loop(schedule, encoded, train, inner)
    weights = inner.weights()
    if schedule.head_CX is not None:
        expected, got = inner.head_of(weights)[0].shape[1] + 1, schedule.head_CX.shape[1]
        if got != expected:
            raise PluginError(f"the schedule's head has {got} columns, offsets included; the learner's has {expected}.")
        weights |= inner.head(torch.from_numpy(schedule.head_CX).to(ctx.device))
    n_steps = len(loop.rows_of)
    for step, (rates_2, rows) in enumerate(zip(loop.rates_T2, loop.rows_of, strict=True)):
        weights = stepped(inner, weights, rates_2, inner.gradients(weights, loop, rows))
        if not all(bool(weight.isfinite().all()) for weight in weights.values()):
            raise PluginError(f"the learned schedule diverged at step {step + 1} of {n_steps}: weights are not finite.")
        passes = 1 if schedule.head_only else 3
        ctx.cost.add_flops(passes * inner.flops(rows), flops.METHOD, flops.GAPS)
        ctx.tick((step + 1) / n_steps)
    inner.release(weights)
    head = "the set's own head" if schedule.head_CX is not None else "a new head"
    ctx.notes.append(f"learned schedule: {n_steps} steps of SGD from {head}, in place of the recipe")


def _inner_loop(schedule: Schedule, encoded: Encoded, train: TrainingSet, inner: InnerModel) -> InnerLoop:
    assert encoded.soft_SD is not None
    device, attention_XH = inner.device, schedule.attention_XH
    wanted = None if attention_XH is None else attention_of(attention_XH, encoded.lengths_N)
    if wanted is not None:
        n_heads = len(inner.attention(inner.weights(), torch.from_numpy(encoded.soft_SD).to(device))[0])
        if len(wanted[0]) != n_heads:
            raise PluginError(
                f"the schedule's attention is for {len(wanted[0])} heads, all layers together; the learner has {n_heads}."
            )
    return InnerLoop(
        rates_T2=torch.from_numpy(schedule.rates_T2).to(device),
        x_SE=torch.from_numpy(encoded.soft_SD).to(device),
        targets_MC=torch.from_numpy(train.targets_MC).to(device),
        rows_of=schedule.rows_of(train.text.labels_N),
        attention=None if wanted is None else [labels.to(device) for labels in wanted],
    )


def attention_of(attention_XH: NDArray[np.float32], lengths_M: NDArray[np.int64]) -> list[torch.Tensor]:
    """Cuts a schedule's attention into (H, L), or (H, L, L), of every text.

    Raises:
        PluginError: There are neither as many rows as tokens, nor as pairs of tokens.
    """
    rows = torch.from_numpy(attention_XH)
    if len(rows) == lengths_M.sum():
        return [part.t() for part in rows.split(lengths_M.tolist())]
    if len(rows) == (lengths_M**2).sum():
        parts = rows.split((lengths_M**2).tolist())
        return [part.t().view(-1, length, length) for part, length in zip(parts, lengths_M.tolist(), strict=True)]
    raise PluginError(
        f"a schedule's attention has {len(rows)} rows; expected {lengths_M.sum()}, one for each token, or {(lengths_M**2).sum()}, one for "
        "each pair of tokens of a text."
    )
