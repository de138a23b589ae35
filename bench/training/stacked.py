"""Trains S models of one architecture as one: every parameter holds those of all members along its first axis.

The seeds and sets of one cell differ in their numbers only, so on a GPU one launch can serve all of them. Shapes: S members, M texts of a
member's set, B batch, L tokens, C classes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from tdbench.bench.canonical import seed_from
from tdbench.bench.training import flops
from tdbench.bench.training.batches import Encoded, training_batches
from tdbench.bench.training.optimiser import MasterAdamW

if TYPE_CHECKING:
    from tdbench.bench.training.prepared import Prepared
    from tdbench.bench.training.recipe import Recipe
    from tdbench.bench.training.training_set import TrainContext, TrainingSet

_LOG = logging.getLogger(__name__)

CHECK_TOLERANCE = 1e-3
"""Largest difference, in float32 logits, between a member alone and in the stack for a model to be stacked."""
_WIDTH_STEP = 8
_EAGER_STEPS = 3
"""Steps before a CUDA graph is captured; they are real steps."""


class NotStackable(Exception):  # noqa: N818 - a reason, not an error
    """These models or sets cannot be trained as one; the message says why."""


def train_stack(
    members: list[Prepared],
    encoded: list[Encoded],
    data: list[TrainingSet],
    recipe: Recipe,
    contexts: list[TrainContext],
) -> None:
    """Runs the recipe on all members at once; their modules hold the trained weights afterwards.

    Members begin as they would alone and see the same batches; dropout comes from one stream for the whole stack.

    Args:
        members: S modules of one architecture, not packed, on one device.
        encoded: The training texts of every member; all sets have the same number of texts.
        data: Their targets and weights.
        recipe: Hyper-parameters.
        contexts: Seeds of the batch order; the first one's cost meter and progress are used.

    Raises:
        NotStackable: The sets differ in size, or a member's logits in the stack are not those it has alone.
        OutOfMemoryError: The stack does not fit; a smaller one may.
    """
    if len({len(texts) for texts in encoded}) > 1:
        raise NotStackable("the sets differ in size")
    everything = Encoded([row for texts in encoded for row in texts.ids], encoded[0].pad_id)
    tables = [member.narrow_table(everything) for member in members]
    decay_factor = 1.0
    try:
        with _math_attention(members[0].module):
            _Stack(members, encoded, data, recipe, contexts).run()
        decay_factor = recipe.decay_factor()
    finally:
        for table in tables:
            if table is not None:
                table.widen(decay_factor)


class _Stack:
    """The stacked parameters and the stacked data of one run."""

    def __init__(
        self,
        members: list[Prepared],
        encoded: list[Encoded],
        data: list[TrainingSet],
        recipe: Recipe,
        contexts: list[TrainContext],
    ) -> None:
        self._members, self._recipe, self._contexts = members, recipe, contexts
        self._device = members[0].device
        self._whole = members[0].module
        self._causal = _causal(self._whole)
        self._inputs = {name: part.to(self._device) for name, part in _pad(encoded).items()}
        self._targets_SMC = torch.from_numpy(np.stack([one.targets_MC for one in data])).to(self._device)
        self._weights_SM = torch.from_numpy(np.stack([one.weights_M for one in data])).to(self._device)
        for member in members:
            member.module.eval()
        self._check(encoded)
        for member in members:
            member.module.train()
        self._parameters, self._buffers = stack_module_state([member.module for member in members])
        self._optimiser = MasterAdamW(self._parameters.values(), recipe, members=len(members))  # type: ignore[arg-type]
        self._batches = self._draw_batches(len(encoded[0]))

    def run(self) -> None:
        """Trains, and writes every member's weights back into its module."""
        step = self._graphed() if self._device.startswith("cuda") else self._eager
        lengths = np.full(self._batches.shape[2], self._inputs["input_ids"].shape[-1])
        count = 3 * len(self._members) * self._members[0].flops.forward(lengths)
        for index in range(self._recipe.steps):
            step(index)
            self._contexts[0].cost.add_flops(count, flops.METHOD, flops.GAPS)
            self._contexts[0].tick((index + 1) / self._recipe.steps)
        with torch.no_grad():
            for place, member in enumerate(self._members):
                own = {**dict(member.module.named_parameters()), **dict(member.module.named_buffers())}
                for name, stacked in {**self._parameters, **self._buffers}.items():
                    own[name].copy_(stacked[place])

    def _eager(self, step: int) -> None:
        rows_SB = self._batches[step]
        self._backward(rows_SB)
        self._optimiser.step(step)

    def _graphed(self) -> Any:
        """Returns a step function that captures the launches of one step as a CUDA graph and replays them."""
        rows_SB = torch.zeros_like(self._batches[0])
        graph: torch.cuda.CUDAGraph | None = None
        broken = False

        def step(index: int) -> None:
            nonlocal graph, broken
            if graph is None and index >= _EAGER_STEPS and not broken:
                try:
                    graph = self._capture(rows_SB)
                except RuntimeError as error:
                    broken = True
                    for parameter in self._parameters.values():
                        parameter.grad = None  # memory of the failed graph, never computed
                    _LOG.warning("no CUDA graph (%s); every launch is made anew", str(error).splitlines()[0])
            if graph is None:
                self._eager(index)
                return
            rows_SB.copy_(self._batches[index])
            self._optimiser.set_rate(index)
            graph.replay()

        return step

    def _capture(self, rows_SB: torch.Tensor) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            self._backward(rows_SB)
            self._optimiser.apply()
        return graph

    def _backward(self, rows_SB: torch.Tensor) -> None:
        places_S1 = torch.arange(len(rows_SB), device=rows_SB.device).unsqueeze(1)
        batch = self._take(places_S1, rows_SB)
        with self._members[0].autocast():
            logits_SBC = vmap(self._call, randomness="different")(self._parameters, self._buffers, batch)
        log_p_SBC = torch.log_softmax(logits_SBC.float(), dim=-1)
        losses_SB = (
            -(self._targets_SMC[places_S1, rows_SB] * log_p_SBC).sum(dim=-1) * self._weights_SM[places_S1, rows_SB]
        )
        losses_SB.mean(dim=1).sum().backward()

    def _call(self, parameters: Any, buffers: Any, batch: Any) -> torch.Tensor:
        return functional_call(self._whole, (parameters, buffers), kwargs=batch)  # type: ignore[no-any-return]

    def _draw_batches(self, n_rows: int) -> torch.Tensor:
        """Returns (steps, S, B) rows: every member's own order."""
        size, steps = self._recipe.batch_size, self._recipe.steps
        orders = [
            np.stack(list(training_batches(n_rows, size, steps, np.random.default_rng(seed_from(one.seed, "batches")))))
            for one in self._contexts
        ]
        return torch.from_numpy(np.stack(orders, axis=1)).to(self._device)

    def _take(self, members: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns rows of members' inputs; transformers get their attention mask over pairs of tokens, (..., 1, L, L), 0 or -inf."""
        batch = {name: part[members, rows] for name, part in self._inputs.items()}
        if self._causal is None:
            return batch
        width = batch["attention_mask"].shape[-1]
        seen = (
            batch["attention_mask"]
            .bool()[..., None, None, :]
            .expand(*batch["attention_mask"].shape[:-1], 1, width, width)
        )
        if self._causal:
            seen = seen & torch.ones(width, width, dtype=torch.bool, device=seen.device).tril()
        nothing = torch.zeros(seen.shape, device=seen.device)
        return {**batch, "attention_mask": nothing.masked_fill_(~seen, -torch.inf)}

    @torch.no_grad()
    def _check(self, encoded: list[Encoded]) -> None:
        """Compares the first two members' logits in a stack with those they give alone, on a few texts of each."""
        pair = self._members[:2]
        rows = [np.argsort(texts.lengths_N)[[0, -1]] for texts in encoded[:2]]
        alone = [
            member.module(**texts.collate(own, self._device))
            for member, texts, own in zip(pair, encoded, rows, strict=False)
        ]
        parameters, buffers = stack_module_state([member.module for member in pair])
        members_S1 = torch.arange(len(pair), device=self._device).unsqueeze(1)
        batch = self._take(members_S1, torch.from_numpy(np.stack(rows)).to(self._device))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop")
                stacked_SBC = vmap(self._call, randomness="different")(parameters, buffers, batch)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            raise NotStackable(str(error).splitlines()[0][:200]) from None
        difference = max(float((s - a).abs().max()) for s, a in zip(stacked_SBC, alone, strict=True))
        if not difference < CHECK_TOLERANCE:
            raise NotStackable(f"its logits in a stack differ by {difference:.2g} from those alone")


def _pad(encoded: list[Encoded]) -> dict[str, torch.Tensor]:
    """Pads all sets to one length: (S, M, L) tensors."""
    longest = max(int(texts.lengths_N.max()) for texts in encoded)
    width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
    parts = [texts.collate(np.arange(len(texts)), "cpu") for texts in encoded]
    fills = {"input_ids": encoded[0].pad_id, "attention_mask": 0, "token_type_ids": 0}
    return {
        name: torch.stack([nn.functional.pad(p[name], (0, width - p[name].shape[1]), value=fills[name]) for p in parts])
        for name in parts[0]
    }


def _causal(module: nn.Module) -> bool | None:
    """Tells whether a token attends only to those before it; None for models without attention."""
    config = getattr(module, "config", None)
    if not hasattr(config, "num_attention_heads"):
        return None
    return any(getattr(part, "is_causal", False) is True for part in module.modules())


@contextmanager
def _math_attention(module: nn.Module) -> Iterator[None]:
    """Lets a transformers model write attention out while it is stacked: fused kernels and their mask shortcuts do not vmap."""
    config: Any = getattr(module, "config", None)
    before = getattr(config, "_attn_implementation", None)
    if before is None:
        yield
        return
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = before
