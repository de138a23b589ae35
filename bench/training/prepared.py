"""Gets a module ready for a device: packed layers on a CPU where the model has them, the compute type, cheap dropout, row tables."""

from __future__ import annotations

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.errors import UsageError
from tdbench.bench.training.dropout import MaskSource, use_cheap_dropout
from tdbench.bench.training.flops import FlopCounter
from tdbench.bench.training.optimiser import TableRows
from tdbench.bench.training.packed_model import PackedBackbone, can_pack
from tdbench.bench.training.packing import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.batches import Encoded


class Prepared:
    """A module on its device, and how batches are made for it.

    Args:
        module: Maps a batch to (B, C) logits or (B, D) features; it is moved and rebuilt in place.
        device: `cpu`, `cuda` or `cuda:<number>`.
        dtype: Compute type; the device's own by default.
        packed: Whether a CPU may pack.
    """

    def __init__(
        self, module: nn.Module, device: str, dtype: torch.dtype | None = None, *, packed: bool = True
    ) -> None:
        self.module, self.device = module, device
        self.dtype = torch.float32 if getattr(module, "float32_only", False) else dtype or compute_dtype(device)
        self.packs = False
        self._converted = hasattr(module, "compute_in")
        if self._converted:
            module.compute_in(self.dtype)  # type: ignore[operator]
        if device == "cpu":
            keep_freed_memory()
            self.packs = packed and _pack(module, self.dtype)
        module.to(device)
        self.flops = FlopCounter.of(module)

    def inputs(self, encoded: Encoded, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Makes the keyword arguments of one forward pass."""
        if self.packs:
            return {"input_ids": pack(encoded, rows)}
        return encoded.collate(rows, self.device)

    def widths(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns how many tokens every text of one batch takes: its own, or the longest's where the batch is padded."""
        return lengths if self.packs else np.full_like(lengths, lengths.max(initial=1))

    def chunks(self, lengths: NDArray[np.int64], max_tokens: int) -> list[NDArray[np.int64]]:
        """Cuts texts into batches of at most `max_tokens` tokens, longest first; a single text may have more.

        Returns:
            Positions in `lengths`.
        """
        order = np.argsort(-lengths, kind="stable")
        if not self.packs:
            ends, start = [], 0
            while start < len(order):
                start += max(1, max_tokens // max(1, int(lengths[order[start]])))
                ends.append(start)
            return np.split(order, ends[:-1])
        chunks: list[list[int]] = [[]]
        room = max_tokens
        for place in order:
            if chunks[-1] and lengths[place] > room:
                chunks.append([])
                room = max_tokens
            chunks[-1].append(int(place))
            room -= int(lengths[place])
        return [np.array(chunk) for chunk in chunks]

    def autocast(self) -> AbstractContextManager[object]:
        """Lets matrix products of modules that are neither packed nor in the compute type themselves run in it."""
        if self.packs or self._converted or self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.split(":", maxsplit=1)[0], dtype=self.dtype)

    def draw_dropout_from(self, seed: int) -> None:
        """Makes `nn.Dropout` modules, and all dropout of packed layers, draw from one seeded stream.

        Dropout inside the fused attention of models that pad stays torch's own, as does all dropout on a GPU, where it is cheap.
        """
        if self.device != "cpu":
            return
        source = MaskSource(seed)
        use_cheap_dropout(self.module, source)
        for part in self.module.modules():
            if isinstance(part, PackedBackbone):
                part.source = source

    def narrow_table(self, encoded: Encoded) -> NarrowTable | None:
        """Leaves only the rows that `encoded` uses in the token table, or returns None where there is no table of its own.

        Raises:
            UsageError: `encoded` holds token vectors, and there is no table to put them into.
        """
        found = token_table(self.module)
        if found is None:
            if encoded.soft_SD is not None:
                raise UsageError(
                    "this learner has no token table of its own, so it cannot read token vectors; use text."
                )
            return None
        ids = np.unique(np.concatenate([*encoded.ids, np.array([encoded.pad_id])]))
        used = torch.from_numpy(ids[ids < found[2].num_embeddings]).to(self.device)
        soft = None if encoded.soft_SD is None else torch.from_numpy(encoded.soft_SD).to(self.device)
        if soft is not None and soft.shape[1] != found[2].embedding_dim:
            raise UsageError(
                f"the token vectors have {soft.shape[1]} numbers; this learner's have {found[2].embedding_dim}."
            )
        return NarrowTable(*found, used, soft)


class NarrowTable:
    """A token table replaced by the rows in use, until `widen`."""

    def __init__(
        self, parent: nn.Module, name: str, table: nn.Embedding, used: torch.Tensor, soft: torch.Tensor | None = None
    ) -> None:
        self._parent, self._name = parent, name
        self.rows = TableRows(table, used, soft)
        setattr(parent, name, self.rows)

    def widen(self, decay_factor: float) -> None:
        """Puts the whole table back, its unused rows decayed by the product of all steps' weight decay."""
        setattr(self._parent, self._name, self.rows.restored(decay_factor))


def _pack(module: nn.Module, dtype: torch.dtype) -> bool:
    """Replaces a backbone that packs, inside the two modules whose forward passes know packed batches."""
    from tdbench.bench.training.modules import MeanPooled, NativeClassifier

    if isinstance(module, MeanPooled):
        holder, name = module, "backbone"
    elif isinstance(module, NativeClassifier):
        holder, name = module.model, str(module.model.base_model_prefix)
    else:
        return False
    backbone = getattr(holder, name, None)
    if isinstance(backbone, PackedBackbone):
        return True
    if not isinstance(backbone, nn.Module) or not can_pack(backbone):
        return False
    setattr(holder, name, PackedBackbone(backbone, dtype))
    return True


def token_table(module: nn.Module) -> tuple[nn.Module, str, nn.Embedding] | None:
    """Returns a module's own token table with the module and attribute that hold it, or None where rows cannot be replaced."""
    owner: Any = next((part for part in module.modules() if hasattr(part, "get_input_embeddings")), None)
    table = None if owner is None else owner.get_input_embeddings()
    # Subclasses look words up in ways of their own (Gemma scales them), and so do these options.
    if type(table) is not nn.Embedding or table.max_norm is not None or table.scale_grad_by_freq or table.sparse:
        return None
    if not table.weight.requires_grad:
        return None
    holders = [
        (parent, name) for parent in module.modules() for name, child in parent.named_children() if child is table
    ]
    names = [name for name, weight in module.named_parameters(remove_duplicate=False) if weight is table.weight]
    return (*holders[0], table) if len(holders) == len(names) == 1 else None


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_THRESHOLDS = (2**30, 2**25)
"""Blocks up to this many bytes are kept: 1 GiB, or 32 MiB where an older glibc refuses more."""


@cache
def keep_freed_memory() -> bool:
    """Tells glibc's allocator to reuse freed memory, once a process.

    By default every large tensor is mapped anew and its pages are cleared by the kernel on first touch: a third of a MiniLM training
    step. Elsewhere than on glibc nothing happens.

    Returns:
        True where the allocator accepted.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    accepted = any(mallopt(_MMAP_THRESHOLD, size) for size in _THRESHOLDS)
    return accepted and bool(mallopt(_TRIM_THRESHOLD, _THRESHOLDS[0]))


@cache
def cpu_has_bf16() -> bool:
    """Tells whether this processor multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def compute_dtype_name(device: str) -> str:
    """Returns `bfloat16` on GPUs and processors that have it, `float32` elsewhere. Weights stay float32."""
    return "bfloat16" if device.startswith("cuda") or cpu_has_bf16() else "float32"


def compute_dtype(device: str) -> torch.dtype:
    """Returns the torch type of `compute_dtype_name`."""
    return getattr(torch, compute_dtype_name(device))
