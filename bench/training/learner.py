"""The base class of learners: target models that are trained on a distilled set by the fixed recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from tdbench.bench.data.text import LabelledText
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.models.encoder import Encoder
    from tdbench.bench.training.recipe import Recipe


class LearnerConfig(BaseModel):
    """Options of a learner; a learner with options subclasses it as its nested `Config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
