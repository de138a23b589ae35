"""Fits token vectors to a loss. Shapes: M texts, S vectors, E width of the token table, D head inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from tdbench.bench.distilled import SoftInputs
from tdbench.bench.matching.admm import AdmmOptions, AdmmTrace, admm

if TYPE_CHECKING:
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.training.batches import Encoded


@dataclass(frozen=True, eq=False)
class Reading:
    """Texts of token vectors, and what the source learner makes of them.

    Args:
        source: The frozen learner.
        encoded: The texts, as `Frame.around_vectors` makes them.
        x_SE: Their vectors.
    """

    source: SourceModel
    encoded: Encoded
    x_SE: torch.Tensor

    @classmethod
    def of(cls, source: SourceModel, soft: SoftInputs) -> Reading:
        """Reads soft inputs as they are."""
        encoded = source.frame.around_vectors(soft, len(source.table_VE))
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
