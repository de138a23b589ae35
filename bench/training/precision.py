"""Which number format matrix products use on a device."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
    import torch

    return getattr(torch, compute_dtype_name(device))
