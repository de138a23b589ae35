"""Trains a module on a distilled set by the recipe, and runs a module over many texts.

Weights and optimiser state stay float32; matrix products run in the device's compute type. Shapes: B batch, L tokens, C classes, N texts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench.canonical import seed_from
from bench.cost import CostMeter
from bench.training.batches import Encoded, length_sorted_batches, training_batches
from bench.training.precision import compute_dtype

if TYPE_CHECKING:
    from bench.data.text import LabelledText
    from bench.training.learner import TrainContext, TrainingSet
    from bench.training.recipe import Recipe
    from bench.training.torch_learner import Tokenize

MAX_TOKENS = 4_096
FLOPS_METHOD = "analytic: matrix products on padded tokens, backward = 2 x forward"
FLOPS_GAPS = ("embedding look-ups, normalisation, activations, softmax, optimiser",)

_TEST_CACHE: dict[tuple[str, int, str], Encoded] = {}
_TEST_CACHE_SIZE = 4


def train(module: nn.Module, encoded: Encoded, data: TrainingSet, recipe: Recipe, ctx: TrainContext) -> None:
    """Runs the recipe's optimiser steps in place. The last step's weights are the result.

    Args:
        module: Maps a batch to (B, C) logits; dropout draws from torch's global generator, which the caller seeds.
        encoded: The training texts, tokenised.
        data: Targets and weights of the same texts.
        recipe: Hyper-parameters.
        ctx: Seed (of the batch order), device, cost meter.
    """
    targets_MC = torch.from_numpy(data.targets_MC).to(ctx.device)
    weights_M = torch.from_numpy(data.weights_M).to(ctx.device)
    optimiser = _adamw(module, recipe)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    rng = np.random.default_rng(seed_from(ctx.seed, "batches"))
    module.train()
    for step, rows in enumerate(training_batches(len(encoded), recipe.batch_size, recipe.steps, rng)):
        batch = encoded.collate(rows, ctx.device)
        index = torch.from_numpy(rows).to(ctx.device)
        with _autocast(module, ctx.device):
            logits_BC = module(**batch)
        log_p_BC = torch.log_softmax(logits_BC.float(), dim=1)
        loss = -((targets_MC[index] * log_p_BC).sum(dim=1) * weights_M[index]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = recipe.lr_at(step)
        optimiser.step()
        ctx.cost.add_flops(3 * forward_flops(module, *batch["input_ids"].shape), FLOPS_METHOD, FLOPS_GAPS)
        ctx.tick((step + 1) / recipe.steps)


def _adamw(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.lr_at(0), fused=True)


@torch.inference_mode()
def run_batches(
    module: nn.Module, encoded: Encoded, device: str, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
) -> torch.Tensor:
    """Runs a module in evaluation mode over N texts in length-sorted batches.

    A copy of the module in the device's compute type does the work, which saves the casts that autocast makes in every layer.

    Returns:
        The outputs in the order of the texts, float32, on the CPU.
    """
    if not getattr(module, "float32_only", False):
        module = copy.deepcopy(module).to(compute_dtype(device))
    module.eval()
    outputs: torch.Tensor | None = None
    done = 0
    for rows in length_sorted_batches(encoded, MAX_TOKENS):
        batch = encoded.collate(rows, device)
        result = module(**batch).float().cpu()
        if outputs is None:
            outputs = torch.empty(len(encoded), *result.shape[1:])
        outputs[torch.from_numpy(rows)] = result
        cost.add_flops(forward_flops(module, *batch["input_ids"].shape), FLOPS_METHOD, FLOPS_GAPS)
        done += len(rows)
        tick(done / len(encoded))
    if outputs is None:
        raise ValueError("run_batches got no texts; expected at least one.")
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


def forward_flops(module: nn.Module, n_texts: int, length: int) -> float:
    """Counts the operations of a forward pass over a padded (B, L) batch: matrix products and attention."""
    tokens = n_texts * length
    total = 0.0
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv1d):
            total += 2.0 * part.weight.numel() * tokens
        elif isinstance(part, nn.LSTM) or type(part).__name__ == "Conv1D":
            total += 2.0 * sum(w.numel() for w in part.parameters() if w.ndim == 2) * tokens
    config = getattr(module, "config", None)
    layers, width = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if layers and width:
        total += 4.0 * layers * width * length * tokens
    return total


def _autocast(module: nn.Module, device: str) -> AbstractContextManager[object]:
    dtype = compute_dtype(device)
    if dtype is torch.float32 or getattr(module, "float32_only", False):
        return nullcontext()
    return torch.autocast(device.split(":", maxsplit=1)[0], dtype=dtype)
