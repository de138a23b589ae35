"""More than one encoder at a time: the source learner with other weights below the head, as further points to match at.

What is fitted to one frozen model serves that model; other random weights (Zhao and Bilen, 2023) or partly trained ones (the checkpoints of
GRADMM and DiLM) ask for what all of them read. Shapes: N real texts, S slots, D head inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tdbench.bench.matching.clusters import Groups
from tdbench.bench.matching.problem import MatchingProblem, Objective
from tdbench.bench.training import engine
from tdbench.bench.training.prepared import Prepared, token_table
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.torch_learner import fork_rng
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.fit import Reading
    from tdbench.bench.matching.options import EncodersConfig, SynthesisConfig
    from tdbench.bench.matching.source import SourceModel

REAL_PER_GROUP = 64
"""Real texts of a group that a further encoder reads."""
BATCH, LR = 32, 1e-4


def encoder_ensemble(
    problem: MatchingProblem, config: SynthesisConfig, ctx: Context, make: Callable[[MatchingProblem], Objective]
) -> Objective:
    """Builds an objective on every encoder that the options ask for; the first is the source learner as it is.

    Args:
        problem: Of the source learner.
        config: `encoders`, `encoder_kind`, `encoder_steps`.
        ctx: Seeds and cost meter.
        make: Builds a method's objective for a problem.
    """
    made = [make(problem)]
    rows = _drawn(problem.groups.groups_N, ctx.rng("texts of further encoders")) if config.encoders > 1 else None
    for number in range(1, config.encoders):
        seed = ctx.torch_seed(f"encoder {number}")
        source = perturbed_encoder(problem.source, config, problem.real, seed, ctx)
        made.append(make(_on(source, problem, rows)))
    return made[0] if len(made) == 1 else _EncoderEnsemble(made)


def perturbed_encoder(
    source: SourceModel, config: EncodersConfig, real: LabelledText, seed: int, ctx: Context
) -> SourceModel:
    """Returns the source learner with other weights; its token table stays, because token vectors live in it."""
    module = source.new_module()
    if config.encoder_kind == "random":
        _redraw(module, seed)
        ready = Prepared(module, source.device)
    else:
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(real))[: config.encoder_steps * BATCH]
        text = real.take(np.sort(rows))
        targets_NC = np.eye(real.n_classes, dtype=np.float32)[text.labels_N]
        data = TrainingSet(text, targets_NC, np.ones(len(text), dtype=np.float32))
        recipe = Recipe(source.max_length, config.encoder_steps, BATCH, LR, 0.01, 1.0, 0.1)
        with fork_rng(source.device):
            torch.manual_seed(seed % 2**63)
            ready = Prepared(module, source.device)
            engine.train(ready, source.tokenise(text), data, recipe, TrainContext(seed, source.device, ctx.cost))
    found = token_table(ready.module)
    assert found is not None
    with torch.no_grad():
        found[2].weight.copy_(source.table_VE)
    return source.on(ready.module)


def _redraw(module: nn.Module, seed: int) -> None:
    """Draws all weights but the token table's as BERT does: matrices from N(0, 0.02), offsets 0, norms 1."""
    found = token_table(module)
    generator = torch.Generator().manual_seed(seed % 2**63)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.LayerNorm):
                part.reset_parameters()
            elif found is None or part is not found[2]:
                for name, weight in part.named_parameters(recurse=False):
                    if weight.ndim > 1:
                        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
                    else:
                        weight.fill_(1.0 if name == "weight" else 0.0)  # a norm's scale, or an offset


def _drawn(groups_N: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    order = rng.permutation(len(groups_N))
    return np.concatenate([order[groups_N[order] == g][:REAL_PER_GROUP] for g in range(int(groups_N.max()) + 1)])


def _on(source: SourceModel, problem: MatchingProblem, rows: NDArray[np.int64] | None) -> MatchingProblem:
    """Returns the problem on a draw of the real texts, as another encoder reads them."""
    assert rows is not None
    real, groups = problem.real.take(rows), problem.groups
    medoids = np.array([np.flatnonzero(groups.groups_N[rows] == g)[0] for g in range(len(groups))])
    h_ND = source.features(source.tokenise(real)).cpu().numpy()
    return MatchingProblem(real, source, h_ND, Groups(groups.groups_N[rows], medoids, groups.labels_G), problem.group_S)


class _EncoderEnsemble:
    """The mean of an objective over encoders; texts that stand alone are judged by the first, the source learner."""

    def __init__(self, parts: list[Objective]) -> None:
        self._parts = parts

    @property
    def problem(self) -> MatchingProblem:
        """The source learner's own."""
        return self._parts[0].problem

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean over encoders."""
        losses = [self._parts[0].loss(read, copies)]
        losses += [part.loss(replace(read, source=part.problem.source), copies) for part in self._parts[1:]]
        return torch.stack(losses).mean()

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: NDArray[np.int64]) -> torch.Tensor:
        """Returns what the source learner says."""
        return self._parts[0].per_sample_loss(h_ND, labels_N)

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the mean over encoders."""
        return float(np.mean([part.split_half_baseline(rng) for part in self._parts]))
