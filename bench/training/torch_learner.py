"""Base of learners that the engine trains: a tokenizer and a module are all they add."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from bench.training.learner import Learner, TrainContext, TrainingSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import nn

    from bench.data.text import LabelledText
    from bench.training.batches import Encoded
    from bench.training.recipe import Recipe

    Tokenize = Callable[[dict[str, list[str]], int], Encoded]


class TorchLearner(Learner):
    """A learner made of a tokenizer and a torch module that maps a batch to (B, C) logits."""

    @abstractmethod
    def tokenizer(self, train: TrainingSet) -> Tokenize:
        """Returns a function (text fields, maximum length) -> `Encoded`."""

    @abstractmethod
    def module(self, n_classes: int, notes: list[str]) -> nn.Module:
        """Builds the untrained module; called with torch's random state already seeded."""

    def fit_predict(
        self, train: TrainingSet, test: LabelledText, recipe: Recipe, ctx: TrainContext
    ) -> NDArray[np.float32]:
        """Trains the module by the recipe and returns (N, C) logits."""
        import torch

        from bench.training import engine

        tokenize = self.tokenizer(train)
        with torch.random.fork_rng():
            torch.manual_seed(ctx.seed)
            with ctx.cost.phase("build"):
                module = self.module(train.targets_MC.shape[1], ctx.notes).to(ctx.device)
                encoded = tokenize(train.text.fields, recipe.max_length)
            with ctx.cost.phase("train"):
                engine.train(module, encoded, train, recipe, ctx)
        with ctx.cost.phase("tokenize"):
            encoded_test = engine.encode_test(tokenize, test, recipe.max_length)
        with ctx.cost.phase("predict"):
            return engine.run_batches(module, encoded_test, ctx.device, ctx.cost, ctx.tick).numpy()
