"""The base class of learners: target models that are trained on a distilled set by the fixed recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.distilled import Schedule, SoftInputs
    from tdbench.bench.models.encoder import Encoder
    from tdbench.bench.training.recipe import Recipe


class LearnerConfig(BaseModel):
    """Options of a learner; a learner with options subclasses it as its nested `Config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class Learner(ABC):
    """A target model: fits a training set by the recipe and predicts the test texts.

    Raise `version` when the same inputs give other predictions than before.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    uses_lr: ClassVar[bool] = True
    """False for learners whose fit has no learning rate."""
    mflop_per_token: ClassVar[float] = 0.01
    """Rough forward cost in millions of operations, for predicting run times only."""

    has_token_table: ClassVar[bool] = False
    """True for learners that read token vectors in place of words: a pretrained table of their own, and a linear head."""

    Config: ClassVar[type[LearnerConfig]] = LearnerConfig
    """The learner's options; replace it by a nested class that subclasses LearnerConfig."""

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    def available(self) -> str | None:
        """Returns why the learner cannot run here and how to change that, or None when it can."""
        return None

    def identity(self) -> dict[str, Any]:
        """Returns everything that decides the learner's numbers besides data, recipe and seed."""
        return {"learner": self.name, "version": self.version, **self.config.model_dump(mode="json")}

    def pretrained(self) -> str | None:
        """Returns the name of the pretrained model whose weights or vectors it starts from, or None."""
        return None

    def encoder(self, max_length: int, device: str) -> Encoder:  # noqa: ARG002 - transformers use both
        """Returns the features that methods use when this learner is the protocol's source."""
        from tdbench.bench.models.encoder import TfidfEncoder

        return TfidfEncoder()

    @abstractmethod
    def fit_predict(
        self, train: TrainingSet, test: LabelledText, recipe: Recipe, ctx: TrainContext
    ) -> NDArray[np.float32]:
        """Trains on `train` and scores the test texts once, after the last step.

        Args:
            train: M distilled texts with at least two classes.
            test: N test texts; their labels must not be used.
            recipe: Hyper-parameters.
            ctx: Seed, device, cost meter.

        Returns:
            (N, C) scores; the largest is the prediction.
        """

    def fit_predict_stack(
        self,
        trains: list[TrainingSet],  # noqa: ARG002 - a learner that stacks uses all of these
        test: LabelledText,  # noqa: ARG002
        recipe: Recipe,  # noqa: ARG002
        contexts: list[TrainContext],  # noqa: ARG002
    ) -> list[NDArray[np.float32]] | None:
        """Trains S models at once, for devices where one launch can serve all of them.

        Args:
            trains: S sets.
            test: N test texts; their labels must not be used.
            recipe: Hyper-parameters.
            contexts: Seeds and notes; all share one device and one cost meter.

        Returns:
            (N, C) scores of every member, or None where these models must be trained one by one.
        """
        return None

    @classmethod
    def check_class(cls) -> str | None:
        """Returns what is wrong with this class, or None."""
        if not issubclass(cls.Config, LearnerConfig):
            return "the nested class 'Config' is no LearnerConfig; subclass LearnerConfig."
        return None
