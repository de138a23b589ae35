"""Trains a module on a distilled set by the recipe, and runs a module over many texts.

Weights and optimiser state stay float32; matrix products run in the device's compute type. Shapes: B batch, L tokens, C classes, N texts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from tdbench.bench.canonical import seed_from
from tdbench.bench.cost import CostMeter
from tdbench.bench.training import flops
from tdbench.bench.training.batches import Encoded, training_batches
from tdbench.bench.training.optimiser import MasterAdamW
from tdbench.bench.training.prepared import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.training.batches import Tokenize
    from tdbench.bench.training.recipe import Recipe
    from tdbench.bench.training.training_set import TrainContext, TrainingSet

_LOG = logging.getLogger(__name__)

TRAIN_TOKENS = {"cpu": 8_192, "cuda": 131_072}
"""Largest micro-batch; the batch of the recipe is never cut, only computed in parts."""
PREDICT_TOKENS = {"cpu": 4_096, "cuda": 65_536}

_OUT_OF_MEMORY = "out of memory:"

_TEST_CACHE: dict[tuple[str, int, str], Encoded] = {}
_TEST_CACHE_SIZE = 4


def train(ready: Prepared, encoded: Encoded, data: TrainingSet, recipe: Recipe, ctx: TrainContext) -> None:
    """Runs the recipe's optimiser steps in place. The last step's weights are the result.

    Args:
        ready: The module. On a GPU its dropout draws from torch's global generator, which the caller seeds.
        encoded: The training texts, tokenised.
        data: Targets and weights of the same texts.
        recipe: Hyper-parameters.
        ctx: Seed of batch order and dropout, cost meter.
    """
    loop = _Loop(ready, encoded, data, ctx)
    ready.draw_dropout_from(seed_from(ctx.seed, "dropout"))
    narrow = ready.narrow_table(encoded)
    optimiser = MasterAdamW(ready.module.parameters(), recipe)
    rng = np.random.default_rng(seed_from(ctx.seed, "batches"))
    ready.module.train()
    try:
        for step, rows in enumerate(training_batches(len(encoded), recipe.batch_size, recipe.steps, rng)):
            loop.gradients(rows)
            optimiser.step(step)
            ctx.tick((step + 1) / recipe.steps)
    finally:
        if narrow is not None:
            narrow.widen(recipe.decay_factor())


class _Loop:
    """Computes a batch's gradients in micro-batches, smaller ones after running out of memory."""

    def __init__(self, ready: Prepared, encoded: Encoded, data: TrainingSet, ctx: TrainContext) -> None:
        self._ready, self._encoded, self._ctx = ready, encoded, ctx
        self._targets_MC = torch.from_numpy(data.targets_MC).to(ready.device)
        self._weights_M = torch.from_numpy(data.weights_M).to(ready.device)
        self._max_tokens = TRAIN_TOKENS[ready.device.split(":", maxsplit=1)[0]]

    def gradients(self, rows: NDArray[np.int64]) -> None:
        """Leaves the gradient of the batch's mean loss in the parameters."""
        while True:
            try:
                for chunk in self._ready.chunks(self._encoded.lengths_N[rows], self._max_tokens):
                    self._backward(rows[chunk], len(rows))
                return
            except torch.OutOfMemoryError:
                self._shrink(self._encoded.lengths_N[rows])

    def _backward(self, rows: NDArray[np.int64], batch_size: int) -> None:
        index = torch.from_numpy(rows).to(self._ready.device)
        with self._ready.autocast():
            logits_BC = self._ready.module(**self._ready.inputs(self._encoded, rows))
        log_p_BC = torch.log_softmax(logits_BC.float(), dim=1)
        loss = -((self._targets_MC[index] * log_p_BC).sum(dim=1) * self._weights_M[index]).sum() / batch_size
        loss.backward()
        count = 3 * self._ready.flops.forward(self._ready.widths(self._encoded.lengths_N[rows]))
        self._ctx.cost.add_flops(count, flops.METHOD, flops.GAPS)

    def _shrink(self, lengths: NDArray[np.int64]) -> None:
        """Halves the micro-batch; the batch of the recipe stays as it is.

        Raises:
            OutOfMemoryError: A single text does not fit.
        """
        tokens = min(self._max_tokens, int(self._ready.widths(lengths).sum()))
        if tokens <= lengths.min():  # every text is alone already
            raise torch.OutOfMemoryError("one text at a time does not fit into the device's memory.")
        self._max_tokens = tokens // 2
        for parameter in self._ready.module.parameters():
            parameter.grad = None
        torch.cuda.empty_cache()
        notes = self._ctx.notes
        notes[:] = [note for note in notes if not note.startswith(_OUT_OF_MEMORY)]
        notes.append(f"{_OUT_OF_MEMORY} micro-batches of at most {self._max_tokens} tokens")
        _LOG.warning(notes[-1])


@torch.inference_mode()
def predict(
    ready: Prepared, encoded: Encoded, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
) -> torch.Tensor:
    """Runs a module in evaluation mode over N texts in length-sorted batches.

    Returns:
        The outputs in the order of the texts, float32, on the CPU.

    Raises:
        ValueError: There are no texts.
    """
    if not len(encoded):
        raise ValueError("predict got no texts; expected at least one.")
    module = ready.module.eval()
    max_tokens = PREDICT_TOKENS[ready.device.split(":", maxsplit=1)[0]]
    waiting = ready.chunks(encoded.lengths_N, max_tokens)[::-1]
    outputs: torch.Tensor | None = None
    done = 0
    while waiting:
        rows = waiting.pop()
        try:
            with ready.autocast():
                result = module(**ready.inputs(encoded, rows)).float().cpu()
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            torch.cuda.empty_cache()
            waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            continue
        if outputs is None:
            outputs = torch.empty(len(encoded), *result.shape[1:])
        outputs[torch.from_numpy(rows)] = result
        cost.add_flops(ready.flops.forward(ready.widths(encoded.lengths_N[rows])), flops.METHOD, flops.GAPS)
        done += len(rows)
        tick(done / len(encoded))
    assert outputs is not None
    return outputs


def encode_test(tokenize: Tokenize, test: LabelledText, max_length: int) -> Encoded:
    """Tokenises a test split once for every tokenizer and length; the last few are kept in memory."""
    tokenizer_id = getattr(tokenize, "identity", None)
    if tokenizer_id is None:
        return tokenize(test.fields, max_length)
    key = (test.fingerprint, max_length, tokenizer_id)
    if key not in _TEST_CACHE:
        while len(_TEST_CACHE) >= _TEST_CACHE_SIZE:
            _TEST_CACHE.pop(next(iter(_TEST_CACHE)))
        _TEST_CACHE[key] = tokenize(test.fields, max_length)
    return _TEST_CACHE[key]
