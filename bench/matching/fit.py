"""Fit of token vectors to a loss by the alternating direction method of multipliers (ADMM), which keeps them near words.

Minimises f(x) subject to x in Z (Boyd et al., 2011, sections 3.1.1 and 9.1; GRADMM, section 4), with the scaled dual u:
    z <- project(x + u);   x <- argmin f(x) + rho/2 |x - z + u|^2 (a few Adam steps);   u <- u + x - z.
Z may be non-convex, as token tables are: then the method is a heuristic, and the residuals say how far it got.
Shapes: M texts, S vectors, E width of the token table, D head inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch

from tdbench.bench.distilled import SoftInputs

if TYPE_CHECKING:
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.training.batches import Encoded

BALANCE, FACTOR = 10.0, 2.0
"""Residual balancing: how unlike the residuals must be, and what rho is then multiplied or divided by (Boyd et al., section 3.4.1)."""


@dataclass(frozen=True)
class AdmmOptions:
    """How long and how hard.

    Args:
        outer: Updates of z and of the dual.
        inner: Adam steps on x for each of them.
        lr: Their learning rate.
        rho: Weight of the constraint; 0 leaves the loss alone.
        balance: `fixed` keeps rho; `residual` balances the residuals.
        clip_norm: Largest norm of the gradient of x.
    """

    outer: int
    inner: int
    lr: float
    rho: float
    balance: Literal["fixed", "residual"] = "fixed"
    clip_norm: float = 1.0


@dataclass
class AdmmTrace:
    """One entry for each outer step."""

    loss: list[float] = field(default_factory=list)
    primal: list[float] = field(default_factory=list)
    """|x - z|."""
    dual: list[float] = field(default_factory=list)
    """rho |z - previous z|."""
    rho: list[float] = field(default_factory=list)


def admm(
    x_SE: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    project: Callable[[torch.Tensor], torch.Tensor],
    options: AdmmOptions,
    tick: Callable[[float], None] = lambda _: None,
) -> tuple[torch.Tensor, AdmmTrace]:
    """Runs the method.

    Args:
        x_SE: Start; left as it is.
        loss: f, differentiable.
        project: Maps vectors to the nearest, in whatever sense, of Z.
        options: How long and how hard.
        tick: Receives the finished fraction.

    Returns:
        The last x, and the trace. (GRADMM's code keeps the x of the lowest whole objective; that objective grows with the dual, so that
        the first x tends to win.)
    """
    x = x_SE.detach().clone().requires_grad_(True)
    dual = torch.zeros_like(x_SE)
    optimiser = torch.optim.Adam([x], lr=options.lr)
    trace, rho = AdmmTrace(), options.rho
    previous = None
    for outer in range(options.outer):
        z = project((x + dual).detach()) if rho > 0 else x.detach().clone()
        part = torch.zeros(())
        for inner in range(options.inner):
            optimiser.zero_grad()
            part = loss(x)
            total = part + rho / 2 * ((x - z + dual) ** 2).sum() if rho > 0 else part
            total.backward()
            torch.nn.utils.clip_grad_norm_([x], options.clip_norm)
            optimiser.step()
            tick((outer + (inner + 1) / options.inner) / options.outer)
        with torch.no_grad():
            dual += x - z
            primal = float((x - z).norm())
            moved = rho * float((z - previous).norm()) if previous is not None else rho * float(z.norm())
        previous = z
        for values, value in zip(
            (trace.loss, trace.primal, trace.dual, trace.rho), (float(part.detach()), primal, moved, rho), strict=True
        ):
            values.append(value)
        if options.balance == "residual" and outer:
            rho, dual = _balanced(rho, dual, primal, moved)
    return x.detach(), trace


def _balanced(rho: float, dual: torch.Tensor, primal: float, moved: float) -> tuple[float, torch.Tensor]:
    """Raises rho while the constraint is violated most, lowers it while z moves most; the scaled dual follows."""
    if primal > BALANCE * moved:
        return rho * FACTOR, dual / FACTOR
    if moved > BALANCE * primal:
        return rho / FACTOR, dual * FACTOR
    return rho, dual


@dataclass(frozen=True, eq=False)
class Reading:
    """Texts of token vectors, and what the source learner makes of them.

    Args:
        source: The frozen learner.
        encoded: The texts, as `SpecialTokens.around_vectors` makes them.
        x_SE: Their vectors.
    """

    source: SourceModel
    encoded: Encoded
    x_SE: torch.Tensor

    @classmethod
    def of(cls, source: SourceModel, soft: SoftInputs) -> Reading:
        """Reads soft inputs as they are."""
        encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
        return cls(source, encoded, torch.from_numpy(soft.vectors_SD).to(source.device))

    @cached_property
    def h_MD(self) -> torch.Tensor:  # noqa: N802 - a shape suffix
        """The head inputs, with the graph that leads to the vectors."""
        return self.source.soft_features(self.encoded, self.x_SE)


def fit_vectors(
    source: SourceModel,
    start: SoftInputs,
    loss: Callable[[Reading], torch.Tensor],
    project: Callable[[torch.Tensor], torch.Tensor],
    options: AdmmOptions,
    *,
    noise: float,
    seed: int,
    tick: Callable[[float], None] = lambda _: None,
) -> tuple[SoftInputs, AdmmTrace]:
    """Minimises a loss over the token vectors, by ADMM where `options.rho` is positive.

    Args:
        source: The frozen learner.
        start: Where the vectors start.
        loss: Differentiable.
        project: Maps vectors to words; not called where rho is 0.
        options: How long and how hard.
        noise: Standard deviation of normal noise on the vectors in every step. Without it the fit finds directions that only this very
            model reads, and that training then forgets.
        seed: Of the noise.
        tick: Receives the finished fraction.
    """
    begun = Reading.of(source, start)
    generator = torch.Generator().manual_seed(seed % 2**63)

    def of_vectors(x_SE: torch.Tensor) -> torch.Tensor:
        if noise:
            x_SE = x_SE + noise * torch.randn(x_SE.shape, generator=generator).to(x_SE.device)
        return loss(Reading(source, begun.encoded, x_SE))

    last_SE, trace = admm(begun.x_SE, of_vectors, project, options, tick)
    return SoftInputs(last_SE.cpu().numpy(), start.lengths_MF, start.learner), trace
