"""Fits token vectors to a loss on the head's inputs. Shapes: M texts, S vectors, E width, D head inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from bench.matching.admm import AdmmOptions, AdmmTrace, admm
from bench.soft import SoftInputs

if TYPE_CHECKING:
    from bench.matching.source import SourceModel


def fit_vectors(
    source: SourceModel,
    start: SoftInputs,
    loss: Callable[[torch.Tensor], torch.Tensor],
    project: Callable[[torch.Tensor], torch.Tensor],
    options: AdmmOptions,
    *,
    noise: float,
    seed: int,
    tick: Callable[[float], None] = lambda _: None,
) -> tuple[SoftInputs, AdmmTrace]:
    """Minimises a loss of the (M, D) head inputs over the token vectors, by ADMM where `options.rho` is positive.

    Args:
        source: The frozen learner.
        start: Where the vectors start.
        loss: Differentiable, of the head inputs.
        project: Maps vectors to words; not called where rho is 0.
        options: How long and how hard.
        noise: Standard deviation of normal noise on the vectors in every step. Without it the fit finds directions that only this very
            model reads, and that training then forgets.
        seed: Of the noise.
        tick: Receives the finished fraction.
    """
    encoded = source.frame.around_vectors(start, len(source.table_VE))
    generator = torch.Generator().manual_seed(seed % 2**63)

    def of_vectors(x_SE: torch.Tensor) -> torch.Tensor:
        if noise:
            x_SE = x_SE + noise * torch.randn(x_SE.shape, generator=generator).to(x_SE.device)
        return loss(source.soft_features(encoded, x_SE))

    x_SE = torch.from_numpy(start.vectors_SD).to(source.device)
    last_SE, trace = admm(x_SE, of_vectors, project, options, tick)
    return SoftInputs(last_SE.cpu().numpy(), start.lengths_MF, start.learner), trace
