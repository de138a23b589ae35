"""Training on token vectors by plain SGD, as a function that can be differentiated.

The harness runs a learned schedule with the very loss that methods unroll, so what was optimised is what is measured: float32, no
dropout, attention step by step (the fused kernels of a CPU have no second derivative). Shapes: M texts, B texts of a step, S token
vectors, E width of the token table, C classes, L tokens, H heads of all layers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from tdbench.bench.errors import UsageError
from tdbench.bench.training.modules import Float32Linear
from tdbench.bench.training.prepared import NarrowTable, Prepared, token_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.batches import Encoded

Weights = dict[str, torch.Tensor]
"""Parameter name -> value."""
LORA_RANK = 8
LORA_PLACES = re.compile(r"(^|\.)(query|value|q_proj|v_proj|q_lin|v_lin)\.weight$")
"""Where LoRA's authors put adapters: the query and value maps (Hu et al., 2022, section 4.2)."""


def lora_matrix(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draws the random half of an adapter, (rank, inputs) of a map of (outputs, inputs); the other half starts at zero."""
    return (torch.randn(LORA_RANK, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5).to(weight)


@dataclass(frozen=True, eq=False)
class InnerLoop:
    """What T steps of a training are made of.

    Args:
        rates_T2: Step sizes of the weights below the head, and of the head's.
        x_SE: Token vectors.
        targets_MC: Class shares, or any numbers.
        rows_of: Texts of every step.
        attention: For every text the attention that is wanted of it: (H, L) of the first token, or (H, L, L); None for no wish.
    """

    rates_T2: torch.Tensor
    x_SE: torch.Tensor
    targets_MC: torch.Tensor
    rows_of: list[NDArray[np.int64]]
    attention: list[torch.Tensor] | None = None

    def leaves(self) -> list[torch.Tensor]:
        """Returns all tensors: step sizes, vectors, targets, attention of every text."""
        return [self.rates_T2, self.x_SE, self.targets_MC, *(self.attention or [])]


class InnerModel:
    """A learner, head and all, as a function of its weights and of token vectors.

    Args:
        module: The learner's module; it is changed in place.
        encoded: The texts, as `SpecialTokens.around_vectors` makes them.
        device: `cpu` or `cuda`.
        dtype: Of the whole computation.
        lora: Seed of adapters on the query and value maps, which are then trained with the head; None to train all weights.
        body: Whether anything below the head is trained.

    Raises:
        UsageError: The module has no token table of its own, more of a head than one linear layer with offsets, or no map of a known name
            for adapters.
    """

    def __init__(
        self,
        module: nn.Module,
        encoded: Encoded,
        device: str,
        dtype: torch.dtype = torch.float32,
        *,
        lora: int | None = None,
        body: bool = True,
    ) -> None:
        found = token_table(module)
        if found is None or encoded.soft_SD is None:
            raise UsageError("a learned schedule needs token vectors, and a learner with a token table of its own.")
        for part in module.modules():
            if isinstance(part, PreTrainedModel):
                part.set_attn_implementation("eager")
        self._head = f"{linear_head(module)}."
        new = [name for name in _outside_backbone(module) if not name.startswith(self._head)]
        if new:
            raise UsageError(
                f"the learner's head has layers before its last ({', '.join(new[:3])}) that every seed draws anew; a learned schedule "
                "draws the last one alone. Use a learner with a linear head."
            )
        self.encoded, self.device, self.lora, self.body = encoded, device, lora, body
        self._ready = Prepared(module, device, torch.float32, packed=False)
        self.module = module.to(dtype)
        ids = np.unique(np.concatenate([*encoded.ids, np.array([encoded.pad_id])]))
        used = torch.from_numpy(ids[ids < found[2].num_embeddings]).to(device)
        x_SE = torch.from_numpy(encoded.soft_SD).to(device, dtype)
        self._narrow = NarrowTable(*found, used, x_SE)
        module.eval().requires_grad_(False)
        self._attention: list[torch.Tensor] = []
        self._catch_attention()
        self._adapters = {} if lora is None else self._drawn_adapters(lora)
        heads = [name for name, _ in module.named_parameters() if name.startswith(self._head)]
        self.trained = self._with_effect() if body and lora is None else (*self._adapters, *heads)

    def _drawn_adapters(self, seed: int) -> Weights:
        generator = torch.Generator().manual_seed(seed % 2**63)
        places = {name: weight for name, weight in self.module.named_parameters() if LORA_PLACES.search(name)}
        if not places:
            raise UsageError("the source learner has no query or value map of a known name; use method.space=all.")
        return {name: lora_matrix(weight, generator) for name, weight in places.items()}

    def whole(self, weights: Weights) -> Weights:
        """Returns the module's own weights for trained ones: with adapters, the maps that they add up to."""
        if not self._adapters:
            return weights
        every = dict(self.module.named_parameters())
        return {
            name: every[name] + weight @ self._adapters[name] if name in self._adapters else weight
            for name, weight in weights.items()
        }

    def of_whole(self, slope: Weights) -> Weights:
        """Turns a gradient for the module's own weights into one for trained weights."""
        return {
            name: slope[name] @ self._adapters[name].t() if name in self._adapters else slope[name]
            for name in self.trained
        }

    def _catch_attention(self) -> None:
        def keep(_: nn.Module, __: Any, out: Any) -> None:
            seen = out[1] if isinstance(out, tuple) and len(out) > 1 else None
            if isinstance(seen, torch.Tensor) and seen.ndim == 4 and all(seen is not one for one in self._attention):
                self._attention.append(seen)

        self._hooks = [part.register_forward_hook(keep) for part in self.module.modules()]

    def _with_effect(self) -> tuple[str, ...]:
        """Names the weights that the loss depends on: not the token table, nor a pooler that is passed by."""
        hidden = self._narrow.rows.rows
        weights = {
            name: weight.detach().clone().requires_grad_(True)
            for name, weight in self.module.named_parameters()
            if weight is not hidden
        }
        first = self._forward(weights, self._narrow.rows.soft, np.arange(1)).sum()
        grads = torch.autograd.grad(first, list(weights.values()), allow_unused=True)
        return tuple(name for name, grad in zip(weights, grads, strict=True) if grad is not None)

    def weights(self) -> Weights:
        """Returns a copy of the trained weights, as they are."""
        every = dict(self.module.named_parameters())
        return {
            name: every[name].new_zeros(len(every[name]), LORA_RANK)
            if name in self._adapters
            else every[name].detach().clone()
            for name in self.trained
        }

    @torch.no_grad()
    def release(self, weights: Weights) -> None:
        """Puts weights into the module; but for attention, which stays step by step, it is as it was otherwise."""
        every = dict(self.module.named_parameters())
        for name, weight in self.whole(weights).items():
            every[name].copy_(weight)
        self._narrow.rows.soft = None
        self._narrow.widen(1.0)
        self.module.requires_grad_(True)
        for hook in self._hooks:
            hook.remove()

    def head(self, head_CX: torch.Tensor) -> Weights:
        """Names the parts of a linear head: weights, and in the last column offsets."""
        return {f"{self._head}weight": head_CX[:, :-1].clone(), f"{self._head}bias": head_CX[:, -1].clone()}

    def head_of(self, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the head's weights (C, D) and offsets (C)."""
        return weights[f"{self._head}weight"], weights[f"{self._head}bias"]

    def flops(self, rows: NDArray[np.int64]) -> float:
        """Counts the operations of a forward pass."""
        return self._ready.flops.forward(self._ready.widths(self.encoded.lengths_N[rows]))

    def group_of(self, name: str) -> int:
        """Returns 1 for weights of the head, 0 for those below: the column of a schedule's step sizes."""
        return int(name.startswith(self._head))

    def _forward(self, weights: Weights, x_SE: Any, rows: NDArray[np.int64]) -> torch.Tensor:
        self._narrow.rows.soft = x_SE
        self._attention.clear()
        inputs = self._ready.inputs(self.encoded, rows)
        return torch.func.functional_call(self.module, self.whole(weights), (), inputs)

    @torch.no_grad()
    def attention(self, weights: Weights, x_SE: torch.Tensor) -> list[torch.Tensor]:
        """Returns the (H, L, L) attention that every text's tokens pay each other, layer after layer."""
        self._forward(weights, x_SE, np.arange(len(self.encoded)))
        seen_MHLL = torch.cat(self._attention, dim=1)
        return [own[:, :n, :n].clone() for own, n in zip(seen_MHLL, self.encoded.lengths_N.tolist(), strict=True)]

    def loss(self, weights: Weights, loop: InnerLoop, rows: NDArray[np.int64]) -> torch.Tensor:
        """Returns the mean loss of some texts: cross-entropy, and where attention is wanted its Kullback-Leibler distance.

        Attention's part is the mean over texts, layers, heads and tokens that attend, with weight 1 (Maekawa et al., 2023).
        """
        logits_BC = self._forward(weights, loop.x_SE, rows)
        log_p_BC = torch.log_softmax(logits_BC, dim=1)
        loss = -(loop.targets_MC[torch.from_numpy(rows).to(log_p_BC.device)] * log_p_BC).sum(1).mean()
        if loop.attention is None:
            return loss
        seen_BHLL = torch.cat(self._attention, dim=1)
        parts = []
        for place, row in enumerate(rows):
            wanted = loop.attention[int(row)]
            n_tokens = wanted.shape[-1]
            own = seen_BHLL[place, :, :n_tokens, :n_tokens]
            own = own[:, 0] if wanted.ndim == 2 else own
            parts.append((wanted * (wanted.clamp(min=1e-12).log() - own.clamp(min=1e-12).log())).sum(-1).mean())
        return loss + torch.stack(parts).mean()

    def gradients(
        self, weights: Weights, loop: InnerLoop, rows: NDArray[np.int64], *, again: bool = False
    ) -> tuple[torch.Tensor, ...]:
        """Returns the gradients of the loss for the trained weights; `again` keeps them differentiable."""
        with torch.enable_grad():
            leaves = (
                weights if again else {name: weight.detach().requires_grad_(True) for name, weight in weights.items()}
            )
            loss = self.loss(leaves, loop, rows)
            return torch.autograd.grad(loss, [leaves[name] for name in self.trained], create_graph=again)


def linear_head(module: nn.Module) -> str:
    """Names a classifier's linear layer with offsets.

    Raises:
        UsageError: There is none, or more than one.
    """
    found = [name for name, part in module.named_modules() if isinstance(part, Float32Linear) and part.bias is not None]
    if len(found) != 1:
        raise UsageError(
            f"the learner has {len(found)} linear heads with offsets; a learned schedule needs exactly one."
        )
    return found[0]


def _outside_backbone(module: nn.Module) -> list[str]:
    """Names the weights of a transformers classifier that no pretrained model has."""
    names = []
    for place, part in module.named_modules():
        if isinstance(part, PreTrainedModel) and part.base_model is not part:
            stem = f"{part.base_model_prefix}."
            names += [f"{place}.{name}".lstrip(".") for name, _ in part.named_parameters() if not name.startswith(stem)]
    return names


@torch.no_grad()
def stepped(inner: InnerModel, weights: Weights, rates_2: torch.Tensor, grads: tuple[torch.Tensor, ...]) -> Weights:
    """Takes one step of SGD, the head at its own rate."""
    return {
        name: torch.sub(weights[name], grad * rates_2[inner.group_of(name)])
        for name, grad in zip(inner.trained, grads, strict=True)
    }
