"""What the harness hands to a method: seeds, cost meter, device, scratch folder, encoder, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.canonical import seed_from
from bench.cost import CostMeter
from bench.data.text import LabelledText
from bench.models.encoder import Encoder


@dataclass(frozen=True)
class Features:
    """An encoder bound to one run's cost meter and progress line."""

    encoder: Encoder
    cost: CostMeter
    tick: Callable[[float], None]

    def embed(self, text: LabelledText) -> np.ndarray:
        """Returns (N, D) float32 features of N texts, each of L2 norm 1; cached by the rows."""
        return self.encoder.embed(text, self.cost, self.tick)


@dataclass(frozen=True)
class Context:
    """Everything a method may use besides the train split.

    Args:
        seed: Seed of this distilled set; the same for all methods, so that sets are paired.
        device: `cpu` or `cuda`.
        cost: Cost meter; `with ctx.cost.phase("select"):` names a phase.
        scratch: Empty folder, deleted afterwards.
        make_encoder: Builds the protocol's source encoder.
        progress: Receives the finished fraction of the distillation, 0 to 1.
    """

    seed: int
    device: str
    cost: CostMeter
    scratch: Path
    make_encoder: Callable[[], Encoder]
    progress: Callable[[float], None] = field(default=lambda _: None)

    def rng(self, axis: str) -> np.random.Generator:
        """Returns the random stream of an axis, such as `selection`; the same axis always starts anew."""
        return np.random.default_rng(self.torch_seed(axis))

    def torch_seed(self, axis: str) -> int:
        """Returns a seed for libraries that want an integer (63 bits)."""
        return seed_from(self.seed, axis)

    def encoder(self) -> Features:
        """Returns the encoder of the protocol's source learner."""
        return Features(self.make_encoder(), self.cost, self.progress)
