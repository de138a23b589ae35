"""Base of learners that the engine trains: a tokenizer and a module are all they add."""

from __future__ import annotations

import logging
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.errors import UsageError
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.training.batches import Encoded, Tokenize
    from tdbench.bench.training.recipe import Recipe

_LOG = logging.getLogger(__name__)


def _encode(tokenize: Tokenize, train: TrainingSet, module: nn.Module, max_length: int) -> Encoded:
    """Tokenises a training set, or puts the special tokens around its token vectors."""
    if train.soft is None:
        return tokenize(train.text.fields, max_length)
    from tdbench.bench.training.modules import Tokenizer
    from tdbench.bench.training.prepared import token_table
    from tdbench.bench.training.special_tokens import special_tokens_of

    found = token_table(module)
    if found is None or not isinstance(tokenize, Tokenizer):
        raise UsageError("this learner cannot read token vectors: it has no pretrained token table of its own.")
    encoded = special_tokens_of(tokenize, len(train.text.fields)).around_vectors(train.soft, found[2].num_embeddings)
    if encoded.lengths_N.max() > max_length:
        raise UsageError(
            f"a text of {encoded.lengths_N.max()} token vectors, special tokens included, is longer than the {max_length} tokens "
            "of the recipe; shorten it."
        )
    return encoded


def fork_rng(device: str) -> AbstractContextManager[None]:
    """Leaves torch's generators, the processor's and the device's own, as they were."""
    import torch

    return torch.random.fork_rng(devices=[] if device == "cpu" else [torch.cuda.current_device()])


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

        from tdbench.bench.training import engine
        from tdbench.bench.training.cached_body import predict_with_cached_body
        from tdbench.bench.training.prepared import Prepared
        from tdbench.bench.training.schedule import run_schedule

        tokenize = self.tokenizer(train)
        with fork_rng(ctx.device):
            torch.manual_seed(ctx.seed)
            with ctx.cost.phase("build"):
                module = self.module(train.targets_MC.shape[1], ctx.notes)
                encoded = _encode(tokenize, train, module, recipe.max_length)
            with ctx.cost.phase("train"):
                if train.schedule is not None:
                    run_schedule(module, encoded, train, ctx)
                ready = Prepared(module, ctx.device)
                if train.schedule is None:
                    engine.train(ready, encoded, train, recipe, ctx)
        with ctx.cost.phase("tokenize"):
            encoded_test = engine.encode_test(tokenize, test, recipe.max_length)
        if train.schedule is not None and train.schedule.head_only:
            return predict_with_cached_body(ready, encoded_test, ctx).numpy()
        with ctx.cost.phase("predict"):
            return engine.predict(ready, encoded_test, ctx.cost, ctx.tick).numpy()

    def fit_predict_stack(
        self, trains: list[TrainingSet], test: LabelledText, recipe: Recipe, contexts: list[TrainContext]
    ) -> list[NDArray[np.float32]] | None:
        """Trains S modules as one and returns their (N, C) logits; halves the stack while it does not fit into memory."""
        import torch

        from tdbench.bench.training.stacked import NotStackable

        if len(trains) < 2:
            return None
        known = [list(context.notes) for context in contexts]
        try:
            return self._stacked(trains, test, recipe, contexts)
        except NotStackable as reason:
            _LOG.warning("%s trains its %d models one by one: %s", self.name, len(trains), reason)
            full = False
        except torch.OutOfMemoryError:
            full = True
        for context, notes in zip(contexts, known, strict=True):
            context.notes[:] = [*notes, f"out of memory: no stack of {len(trains)}"] if full else notes
        if not full:
            return None
        torch.cuda.empty_cache()
        half = len(trains) // 2
        _LOG.warning("%s: a stack of %d models does not fit into memory, trying %d", self.name, len(trains), half)
        made = []
        for part in (slice(0, half), slice(half, None)):
            own = self.fit_predict_stack(trains[part], test, recipe, contexts[part])
            made += own or [
                self.fit_predict(trains[i], test, recipe, contexts[i]) for i in range(*part.indices(len(trains)))
            ]
        return made

    def _stacked(
        self, trains: list[TrainingSet], test: LabelledText, recipe: Recipe, contexts: list[TrainContext]
    ) -> list[NDArray[np.float32]]:
        import torch

        from tdbench.bench.training import engine
        from tdbench.bench.training.prepared import Prepared
        from tdbench.bench.training.stacked import NotStackable, train_stack

        if any(train.soft is not None for train in trains):
            raise NotStackable("token vectors are trained one set at a time")
        cost, device = contexts[0].cost, contexts[0].device
        tokenizers, members, encoded = [], [], []
        with fork_rng(device):
            for train, context in zip(trains, contexts, strict=True):
                with cost.phase("build"):
                    torch.manual_seed(context.seed)
                    tokenizers.append(self.tokenizer(train))
                    if getattr(tokenizers[-1], "identity", None) is None:
                        raise NotStackable("every set has a vocabulary of its own")
                    module = self.module(train.targets_MC.shape[1], context.notes)
                    members.append(Prepared(module, device, packed=False))
                    encoded.append(_encode(tokenizers[-1], train, module, recipe.max_length))
            with cost.phase("train"):
                train_stack(members, encoded, trains, recipe, contexts)
        made = []
        for tokenize, member in zip(tokenizers, members, strict=True):
            with cost.phase("tokenize"):
                encoded_test = engine.encode_test(tokenize, test, recipe.max_length)
            with cost.phase("predict"):
                made.append(engine.predict(member, encoded_test, cost).numpy())
        for context in contexts:
            context.notes.append(f"trained in a stack of {len(trains)}")
        return made
