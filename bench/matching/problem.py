"""What a synthesis works with, and what it works towards.

A slot is one text that is wanted. Shapes: S slots, N real or sampled texts, M fitted texts, D width of the head's input, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.clusters import cluster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.matching.clusters import Groups
    from tdbench.bench.matching.fit import Reading
    from tdbench.bench.matching.source import SourceModel


class Objective(Protocol):
    """What synthetic texts are fitted to."""

    @property
    def problem(self) -> MatchingProblem:
        """What it was built for."""
        ...

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean loss of `copies` sets of S texts, slot after slot."""
        ...

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: NDArray[np.int64]) -> torch.Tensor:
        """Returns (N, S): how badly each text would serve each slot if it were alone there."""
        ...

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the loss of one random half of the real texts towards the other: nothing nearer than that means anything."""
        ...


@dataclass(frozen=True, eq=False)
class MatchingProblem:
    """What a synthesis works with.

    Args:
        real: The real texts in use.
        source: The frozen source learner.
        h_ND: The real texts' head inputs.
        groups: Clusters of every class.
        group_S: Group of every slot.
    """

    real: LabelledText
    source: SourceModel
    h_ND: NDArray[np.float32]
    groups: Groups
    group_S: NDArray[np.int64]

    @property
    def labels_S(self) -> NDArray[np.int64]:  # noqa: N802 - a shape suffix
        """Class of every slot."""
        return self.groups.labels_G[self.group_S]

    def one_hot(self, labels_N: NDArray[np.int64]) -> torch.Tensor:
        """Returns (N, C) class shares of hard labels, on the source's device."""
        labels = torch.tensor(labels_N, device=self.source.device)
        return torch.nn.functional.one_hot(labels, self.real.n_classes).float()

    @property
    def h(self) -> torch.Tensor:
        """The real head inputs on the source's device."""
        return torch.from_numpy(self.h_ND).to(self.source.device)


def subsample(real: LabelledText, per_class: int | None, ctx: Context) -> LabelledText:
    """Draws the real texts of the low-resource setting."""
    if per_class is None:
        return real
    rng = ctx.rng("low resource")
    rows = [rng.permutation(real.positions_of_class(label))[:per_class] for label in range(real.n_classes)]
    return real.take(np.sort(np.concatenate(rows)))


def make_problem(
    real: LabelledText, per_class: int, group_size: int, ctx: Context, source: SourceModel | None = None
) -> MatchingProblem:
    """Encodes the real texts and cuts every class into as many clusters as there are groups of slots.

    Args:
        real: Real texts.
        per_class: Slots of a class.
        group_size: Slots of a group.
        ctx: Seeds, cost meter, source learner.
        source: In the source learner's place.

    Raises:
        UsageError: The source learner has no token table, or a class has fewer texts than groups.
    """
    counts = np.bincount(real.labels_N, minlength=real.n_classes)
    if counts.min() == 0:
        raise UsageError(
            f"class '{real.label_names[int(counts.argmin())]}' has no real text; matching needs texts of every class."
        )
    source = source or ctx.source(real)
    h_ND = source.real_features(real)
    with ctx.cost.phase("cluster"):
        of_class = -(-per_class // group_size)
        groups = cluster(h_ND, real.labels_N, of_class, ctx.torch_seed("clusters"))
    dealt = np.sort(np.arange(per_class) % of_class)
    group_S = np.concatenate([dealt + label * of_class for label in range(real.n_classes)])
    return MatchingProblem(real, source, h_ND, groups, group_S)


def best_distinct(costs_NS: NDArray[np.float64], copies: int) -> NDArray[np.int64]:
    """Gives every slot, `copies` times, the cheapest text that is still free; the cheapest pairs are served first.

    Args:
        costs_NS: Cost of each text for each slot, infinite where it must not stand; enough texts for every slot and copy.
        copies: Texts a slot.

    Returns:
        (copies x S) texts, all slots of one copy after another.
    """
    left_NS = costs_NS.copy()
    chosen = np.full((copies, left_NS.shape[1]), -1, dtype=np.int64)
    for copy in range(copies):
        now_NS = left_NS.copy()
        for _ in range(left_NS.shape[1]):
            text, slot = np.unravel_index(np.argmin(now_NS), now_NS.shape)
            if not np.isfinite(now_NS[text, slot]):
                raise UsageError("there are fewer samples than texts to choose; raise method.pool.")
            chosen[copy, slot] = text
            now_NS[text, :] = now_NS[:, slot] = left_NS[text, :] = np.inf
    return chosen.reshape(-1)
