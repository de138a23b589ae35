"""Training set of a learner, and what the harness hands it for one training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.distilled import Schedule, SoftInputs


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a learner trains on.

    Args:
        text: M texts with their hard labels; empty texts where the set holds token vectors.
        targets_MC: Class probabilities: soft labels, or hard labels as one-hot rows. With a schedule they may be any numbers.
        weights_M: Loss weights with mean 1.
        soft: Token vectors in place of the texts, for sets bound to this learner; only such learners are given them.
        schedule: Training that takes the recipe's place; only with token vectors.
    """

    text: LabelledText
    targets_MC: NDArray[np.float32]
    weights_M: NDArray[np.float32]
    soft: SoftInputs | None = None
    schedule: Schedule | None = None

    @classmethod
    def of(cls, made: DistilledSet, real: LabelledText) -> TrainingSet:
        """Resolves a distilled set against the train split it was made from."""
        text = made.resolve(real)
        hard = np.eye(real.n_classes, dtype=np.float32)[made.labels_M]
        targets = hard if made.soft_labels_MC is None else made.soft_labels_MC.astype(np.float32)
        weights = np.ones(len(made), np.float32) if made.weights_M is None else made.weights_M.astype(np.float32)
        return cls(text, targets, weights / weights.mean(), made.soft, made.schedule)

    def with_real(self, real: LabelledText) -> TrainingSet:
        """Returns a mixture with real texts under hard labels, each of weight 1 before weights are brought to a mean of 1 again."""
        assert self.soft is None
        fields = {name: [*self.text.fields[name], *column] for name, column in real.fields.items()}
        labels = np.concatenate([self.text.labels_N, real.labels_N])
        text = LabelledText(fields, labels, real.label_names, np.arange(len(labels)))
        targets = np.concatenate([self.targets_MC, np.eye(real.n_classes, dtype=np.float32)[real.labels_N]])
        weights = np.concatenate([self.weights_M, np.ones(len(real), np.float32)])
        return TrainingSet(text, targets, weights / weights.mean())

    @property
    def only_class(self) -> int | None:
        """The single class of a set that has no other, else None."""
        if self.schedule is not None:
            return None
        classes = np.flatnonzero(self.targets_MC.max(axis=0) > 0)
        return int(classes[0]) if len(classes) == 1 else None


@dataclass(frozen=True)
class TrainContext:
    """What the harness hands to a learner.

    Args:
        seed: Seed of initialisation, batch order and dropout.
        device: `cpu`, `cuda` or `cuda:<number>`.
        cost: Cost meter.
        tick: Receives the finished fraction.
        notes: The learner may append remarks that belong on the row.
    """

    seed: int
    device: str
    cost: CostMeter
    tick: Callable[[float], None] = field(default=lambda _: None)
    notes: list[str] = field(default_factory=list)
