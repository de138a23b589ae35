"""Keeps the memory that torch frees on a CPU instead of handing it back to the system."""

from __future__ import annotations

import ctypes
from functools import cache

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
