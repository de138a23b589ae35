"""Turns a protocol into the recipe of one learner."""

from __future__ import annotations

import math

from tdbench.bench.settings import Protocol
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.recipe import Recipe


def recipe_for(protocol: Protocol, task: str, name: str, learner: Learner, full_data: bool) -> Recipe | None:
    """Returns a learner's recipe on a task, or None where it depends on the number of rows (see `recipe_in_epochs`)."""
    if full_data and protocol.full is not None and protocol.full.epochs is not None:
        return None
    steps = protocol.full.steps if full_data and protocol.full is not None else protocol.steps
    assert steps is not None
    return Recipe(
        max_length=protocol.length_for(task),
        steps=steps,
        batch_size=protocol.batch_size,
        lr=protocol.lr.get(name, protocol.default_lr) if learner.uses_lr else None,
        weight_decay=protocol.weight_decay,
        clip_norm=protocol.clip_norm,
        warmup_frac=protocol.warmup_frac,
    )


def recipe_in_epochs(protocol: Protocol, task: str, name: str, learner: Learner, n_rows: int) -> Recipe:
    """Returns the recipe for training on all `n_rows` rows by a protocol that counts epochs."""
    assert protocol.full is not None
    assert protocol.full.epochs is not None
    steps = protocol.full.epochs * math.ceil(n_rows / protocol.batch_size)
    recipe = recipe_for(protocol.model_copy(update={"steps": steps}), task, name, learner, full_data=False)
    assert recipe is not None
    return recipe
