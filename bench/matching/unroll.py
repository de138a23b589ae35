"""Derivatives of what a few steps of SGD lead to: of any loss of the trained weights, for all that the steps were made of.

theta' = theta - rate g(theta), g the gradient of the inner loss. With v = d loss / d theta', one step back is

    d loss / d rate = -<g, v>;   d loss / d inputs = -rate d<g, v> / d inputs;   d loss / d theta = v - rate d<g, v> / d theta

so steps are walked back one at a time, each by the graph of one gradient. These graphs are kept from the way there, or made again on the
way back (`keep=False`): memory then does not grow with the number of steps, but for the weights at every step. Leaving out the last
term (`across=False`) is TESLA (Cui et al., 2023, equation 9): weights then do not depend on the inputs of earlier steps.

Shapes: T steps, S token vectors, E width, M texts, C classes, D head inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tdbench.bench.training import flops
from tdbench.bench.training.inner import stepped

if TYPE_CHECKING:
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.training.inner import InnerLoop, InnerModel, Weights

Outer = Callable[["Weights"], tuple[float, "Weights"]]
"""Maps trained weights to a loss and its gradient for them."""


@dataclass(frozen=True, eq=False)
class Unrolled:
    """A loss and its derivatives.

    Args:
        loss: What the outer loss said.
        leaves: Derivatives for the loop's tensors, in the order of `InnerLoop.leaves`; zeros where a tensor has no part.
    """

    loss: float
    leaves: list[torch.Tensor]

    def plus(self, other: Unrolled) -> Unrolled:
        """Adds another loss of the same loop."""
        return Unrolled(self.loss + other.loss, [a + b for a, b in zip(self.leaves, other.leaves, strict=True)])


@dataclass(frozen=True)
class Back:
    """How steps are walked back.

    Args:
        last: So many steps only (truncation); None for all.
        across: Whether weights depend on the inputs of earlier steps (exact), or not (TESLA).
        keep: Whether the graphs of all steps are kept from the way there, or made again on the way back, which needs less memory.
    """

    last: int | None = None
    across: bool = True
    keep: bool = True


def descend(inner: InnerModel, start: Weights, loop: InnerLoop) -> list[Weights]:
    """Takes all steps and returns the weights before each of them and after the last, without a graph."""
    path = [start]
    for rates_2, rows in zip(loop.rates_T2.detach(), loop.rows_of, strict=True):
        path.append(stepped(inner, path[-1], rates_2, inner.gradients(path[-1], loop, rows)))
    return path


def unroll(
    inner: InnerModel,
    start: Weights,
    loop: InnerLoop,
    outer: Outer,
    *,
    back: Back = Back(),
    cost: CostMeter | None = None,
) -> Unrolled:
    """Takes all steps, asks for a loss of where they lead, and walks back.

    Args:
        inner: The learner.
        start: Its weights before the first step.
        loop: What the steps are made of; leaves may require a gradient.
        outer: The loss at the end.
        back: How.
        cost: Counts operations; a step back takes as many as two gradients.
    """
    n_steps = len(loop.rows_of)
    first = max(0, n_steps - (back.last or n_steps))
    path, taken = [start], []
    for step, rows in enumerate(loop.rows_of):
        again = back.keep and step >= first
        weights = _leaves(path[-1])
        grads = inner.gradients(weights, loop, rows, again=again)
        taken.append((weights, grads) if again else None)
        path.append(stepped(inner, path[-1], loop.rates_T2[step].detach(), grads))
        if cost is not None:
            gradients = 1 + (step >= first) * (2 + (not back.keep))
            cost.add_flops(3 * inner.flops(rows) * gradients, flops.METHOD, flops.GAPS)
    loss, slope = outer(path[-1])
    total = [torch.zeros_like(leaf) for leaf in loop.leaves()]
    for step in range(n_steps - 1, first - 1, -1):
        kept = taken.pop()
        weights = _leaves(path[step]) if kept is None else kept[0]
        grads = inner.gradients(weights, loop, loop.rows_of[step], again=True) if kept is None else kept[1]
        onward = back.across and step > first
        slope = _step_back(inner, loop, step, weights, grads, slope=slope, total=total, onward=onward)
    return Unrolled(loss, total)


def _step_back(
    inner: InnerModel,
    loop: InnerLoop,
    step: int,
    weights: Weights,
    grads: tuple[torch.Tensor, ...],
    *,
    slope: Weights,
    total: list[torch.Tensor],
    onward: bool,
) -> Weights:
    """Adds a step's part to the derivatives, and returns the loss's gradient for the weights before it."""
    leaves, rates_2 = loop.leaves(), loop.rates_T2[step].detach()
    products = [torch.zeros((), device=inner.device, dtype=rates_2.dtype) for _ in rates_2]
    for name, grad in zip(inner.trained, grads, strict=True):
        group = inner.group_of(name)
        products[group] = products[group] + (grad * slope[name]).sum()
    total[0][step] -= torch.stack(products).detach()
    inputs = [leaf for leaf in leaves[1:] if leaf.requires_grad]
    wanted = inputs + ([weights[name] for name in inner.trained] if onward else [])
    if not wanted:
        return slope
    along = -(rates_2 * torch.stack(products)).sum()
    found = list(torch.autograd.grad(along, wanted, allow_unused=True))
    for place, leaf in enumerate(leaves[1:], start=1):
        if leaf.requires_grad and (grad := found.pop(0)) is not None:
            total[place] += grad
    if not onward:
        return slope
    pairs = zip(inner.trained, found, strict=True)
    return {name: slope[name] if grad is None else slope[name] + grad for name, grad in pairs}


def _leaves(weights: Weights) -> Weights:
    return {name: weight.detach().requires_grad_(True) for name, weight in weights.items()}


def unroll_head(
    read: Callable[[torch.Tensor], torch.Tensor],
    start: tuple[torch.Tensor, torch.Tensor],
    loop: InnerLoop,
    outer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Unrolled:
    """The same where the head alone is trained: token vectors are read once, and no second derivative is taken.

    Args:
        read: Maps token vectors to the (M, D) inputs of the head.
        start: The head's weights (C, D) and offsets (C) before the first step.
        loop: What the steps are made of; attention, and step sizes of the body, have no part.
        outer: The loss of a head at the end.
    """
    h_MD = read(loop.x_SE)
    alone_MD = h_MD.detach().requires_grad_(True)
    rates_T = loop.rates_T2[:, 1].detach().requires_grad_(True)
    weight_CD, bias_C = start
    for rate, rows in zip(rates_T, loop.rows_of, strict=True):
        index = torch.from_numpy(rows).to(h_MD.device)
        h_BD, y_BC = alone_MD[index], loop.targets_MC[index]
        shares_BC = torch.softmax(h_BD @ weight_CD.t() + bias_C, dim=1)
        errors_BC = (y_BC.sum(1, keepdim=True) * shares_BC - y_BC) / len(rows)
        weight_CD, bias_C = weight_CD - rate * errors_BC.t() @ h_BD, bias_C - rate * errors_BC.sum(0)
    loss = outer(weight_CD, bias_C)
    free = [leaf for leaf in (loop.targets_MC,) if leaf.requires_grad]
    by_rate, by_h, *by_free = torch.autograd.grad(loss, [rates_T, alone_MD, *free])
    total = [torch.zeros_like(leaf) for leaf in loop.leaves()]
    total[0][:, 1] = by_rate
    if loop.x_SE.requires_grad:
        (total[1],) = torch.autograd.grad(h_MD, loop.x_SE, by_h)
    if free:
        (total[2],) = by_free
    return Unrolled(float(loss.detach()), total)
