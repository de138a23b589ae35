"""The protocol's source learner as matching methods see it: frozen, without its head, and open to token vectors.

Shapes: N real texts, M synthetic texts, S token vectors, D width of the head's input, E width of the token table, V tokens, C classes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from tdbench.bench.canonical import content_id
from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.gradients import Head, Heads
from tdbench.bench.models.encoder import CachedEncoder
from tdbench.bench.training import flops
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.engine import predict
from tdbench.bench.training.modules import Float32Linear, Tokenizer
from tdbench.bench.training.prepared import NarrowTable, Prepared, token_table
from tdbench.bench.training.special_tokens import SpecialTokens, special_tokens_of
from tdbench.bench.training.torch_learner import TorchLearner, fork_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.training.learner import Learner

GRADIENT_LIMIT_GB = 8.0
"""Most memory that real gradients may take."""
POOLED_VERSION = 1
"""Raised whenever the same weights and texts give other head inputs."""


class SourceModel:
    """The source learner at its initial weights, in evaluation mode: texts or token vectors in, the head's inputs out.

    Args:
        learner: The protocol's source learner.
        name: Its name in the protocol; sets of token vectors are bound to it.
        text: Any labelled text of the task; names fields and classes.
        max_length: Maximum length in tokens.
        device: `cpu` or `cuda`.
        cost: Cost meter; must be inside a phase whenever the model runs.
        cache: Where the real texts' head inputs are kept.
        seed: Seed of the parts of the learner that are not pretrained.
        tick: Receives the finished fraction of long passes.

    Raises:
        UsageError: The learner has no token table, or no linear head.
    """

    def __init__(
        self,
        learner: Learner,
        text: LabelledText,
        *,
        name: str,
        max_length: int,
        device: str,
        cost: CostMeter,
        cache: Path,
        seed: int,
        tick: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.name, self.max_length, self.device = name, max_length, device
        self._cost, self._cache, self._tick, self._seed = cost, cache, tick, seed
        if not isinstance(learner, TorchLearner):
            raise UsageError(
                f"the source learner '{name}' has no token embeddings; matching methods need a transformer as the protocol's "
                "source: protocol=lite-v1."
            )
        self._learner, self._n_classes = learner, text.n_classes
        module = self.new_module()
        self._identity = learner.identity()
        self._own_encoder = learner.encoder(max_length, device) if self._identity.get("pooling") == "mean" else None
        tokenizer = learner.tokenizer(None)  # type: ignore[arg-type] - pretrained
        found = token_table(module)
        if not isinstance(tokenizer, Tokenizer) or found is None:
            raise UsageError(f"the source learner '{name}' has no pretrained token table of its own.")
        self.tokenizer: Tokenizer = tokenizer
        self.table_VE: torch.Tensor = found[2].weight.detach().float().clone().to(device)
        self.special_tokens: SpecialTokens = special_tokens_of(tokenizer, len(text.fields))
        self._hold(module)

    def _hold(self, module: nn.Module) -> None:
        self._changed = False
        self._head = _drop_head(module)
        self._ready = Prepared(module, self.device)
        self._place: Any = token_table(self._ready.module)
        self._ready.module.eval().requires_grad_(False)
        self._narrow: NarrowTable | None = None
        self._n_soft = 0

    def on(self, module: nn.Module) -> SourceModel:
        """Returns the same learner with other weights; they must be of its own token table."""
        other = copy.copy(self)
        other._own_encoder = None
        other.__dict__.pop("identity", None)
        other._hold(module)
        other._changed = True
        return other

    def tokenise(self, text: LabelledText) -> Encoded:
        """Tokenises texts as the learner does."""
        return self.tokenizer(text.fields, self.max_length)

    @torch.no_grad()
    def features(self, encoded: Encoded) -> torch.Tensor:
        """Returns the (N, D) float32 head inputs of token ids or token vectors, without a gradient."""
        self._widen()
        if encoded.soft_SD is not None:
            soft = torch.from_numpy(encoded.soft_SD).to(self.device)
            return self.soft_features(encoded, soft).detach().clone()
        return predict(self._ready, encoded, self._cost, self._tick).to(self.device).clone()

    def real_features(self, real: LabelledText) -> NDArray[np.float32]:
        """Returns the (N, D) head inputs of the train split; computed once for the same rows, at their first cost."""
        if self._own_encoder is not None:  # the same numbers, shared with the methods that select rows
            return CachedEncoder(self._own_encoder, self._cache / "features").pooled(real, self._cost, self._tick)
        return CachedEncoder(_HeadInputs(self), self._cache / "features").embed(real, self._cost, self._tick)

    def soft_features(self, encoded: Encoded, soft_SE: torch.Tensor) -> torch.Tensor:
        """Returns the (M, D) head inputs of texts of token vectors, with the graph that leads to the vectors.

        Args:
            encoded: Texts as `SpecialTokens.around_vectors` makes them; only its ids are used.
            soft_SE: The vectors, on the model's device; may require a gradient.
        """
        rows = self._narrowed(soft_SE)
        rows.soft = soft_SE
        every = np.arange(len(encoded))
        with self._ready.autocast():
            features_MD = self._ready.module(**self._ready.inputs(encoded, every)).float()
        forward = self._ready.flops.forward(self._ready.widths(encoded.lengths_N))
        passes = 2 if torch.is_grad_enabled() and soft_SE.requires_grad else 1
        self._cost.add_flops(passes * forward, flops.METHOD, flops.GAPS)
        return features_MD

    def _narrowed(self, soft_SE: torch.Tensor) -> Any:
        if self._narrow is None or self._n_soft != len(soft_SE):
            self._widen()
            special = torch.tensor(self.special_tokens.ids, device=self.device)
            parent, name, table = self._place
            self._narrow, self._n_soft = NarrowTable(parent, name, table, special, soft_SE), len(soft_SE)
            self._narrow.rows.requires_grad_(False)
        return self._narrow.rows

    def _widen(self) -> None:
        if self._narrow is not None:
            self._narrow.widen(1.0)
            self._narrow = None

    def step_by_step(self) -> nn.Module:
        """Returns a fresh copy of the module, without its head, whose attention can be differentiated twice."""
        module = self.new_module()
        _drop_head(module)
        for part in module.modules():
            if isinstance(part, PreTrainedModel):
                part.set_attn_implementation("eager")
        return module

    def own_head(self, n_groups: int) -> Heads:
        """Returns the head that the learner came with, such as a language model's vocabulary.

        Args:
            n_groups: Groups whose gradients are to be held.

        Raises:
            UsageError: So many gradients of its size would not fit into memory.
        """
        weight_CD = self._head.weight.detach().float().to(self.device)
        need_gb = 3 * 4e-9 * weight_CD.numel() * n_groups  # the target, and those of two halves of the texts
        if need_gb > GRADIENT_LIMIT_GB:
            raise UsageError(
                f"gradients of {n_groups} groups for a vocabulary of {len(weight_CD)} would take {need_gb:.0f} GB, more than "
                f"{GRADIENT_LIMIT_GB:.0f}; use larger groups (method.group_size)."
            )
        bias = self._head.bias
        bias_C = weight_CD.new_zeros(len(weight_CD)) if bias is None else bias.detach().float().to(self.device)
        return Heads.of([Head(weight_CD, bias_C)])

    def new_module(self) -> nn.Module:
        """Returns a fresh copy of the learner's module, head and all."""
        with fork_rng(self.device):
            torch.manual_seed(self._seed)
            return self._learner.module(self._n_classes, [])

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the head's inputs besides the texts."""
        return {
            "kind": "head inputs",
            "learner": content_id(self._identity),
            "max_length": self.max_length,
            "dtype": str(self._ready.dtype),
            "seed": self._seed if self._has_new_parts else 0,
            "version": POOLED_VERSION,
            **({"weights": self._weights_sha256()} if self._changed else {}),
        }

    def _weights_sha256(self) -> str:
        made = hashlib.sha256()
        for weight in self._ready.module.state_dict().values():
            made.update(weight.detach().float().cpu().numpy().tobytes())
        return made.hexdigest()

    @property
    def tokens_id(self) -> str:
        """Names tokenizer, token table and maximum length."""
        return content_id([self._identity, self.max_length])

    @property
    def _has_new_parts(self) -> bool:
        """Whether weights below the head are drawn, not loaded (the dense layer of RoBERTa's head)."""
        return self._identity.get("pooling") not in ("mean", "last")


class _HeadInputs:
    """The encoder that `CachedEncoder` keeps."""

    rowwise = True

    def __init__(self, source: SourceModel) -> None:
        self._source = source
        self.identity = source.identity

    def embed(
        self,
        text: LabelledText,
        cost: CostMeter,  # noqa: ARG002 - the source has it
        tick: Callable[[float], None] = lambda _: None,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        return self._source.features(self._source.tokenise(text)).cpu().numpy()


def _drop_head(module: nn.Module) -> Float32Linear:
    """Replaces a module's linear head by the identity, and returns the head."""
    places = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, Float32Linear)
    ]
    if len(places) != 1:
        raise UsageError(f"the source learner has {len(places)} linear heads; matching methods need exactly one.")
    ((parent, name),) = places
    head = getattr(parent, name)
    setattr(parent, name, nn.Identity())
    return head
