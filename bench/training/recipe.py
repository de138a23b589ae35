"""The training recipe: the same for all methods."""

from __future__ import annotations

import math
from dataclasses import dataclass

ENGINE_NUMERICS = 2
"""Part of every train id; raised whenever the engine's numbers change."""


@dataclass(frozen=True)
class Recipe:
    """How a target model is trained.

    Args:
        max_length: Maximum length in tokens, special tokens included.
        steps: Optimiser steps.
        batch_size: Largest batch; smaller sets train full-batch.
        lr: Peak learning rate, or None for learners without one.
        weight_decay: AdamW weight decay, on matrices only.
        clip_norm: Largest gradient norm.
        warmup_frac: Share of the steps with a linearly rising rate; a cosine to 0 follows.
    """

    max_length: int
    steps: int
    batch_size: int
    lr: float | None
    weight_decay: float
    clip_norm: float
    warmup_frac: float

    def lr_at(self, step: int) -> float:
        """Returns the learning rate of a step (0-based)."""
        assert self.lr is not None
        warmup = self.warmup_frac * self.steps
        if step < warmup:
            return self.lr * (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1.0, self.steps - warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * progress))

    def decay_factor(self) -> float:
        """Returns what a whole run leaves of a weight that never has a gradient: the product of 1 - rate x weight decay."""
        return math.prod(1.0 - self.lr_at(step) * self.weight_decay for step in range(self.steps))
