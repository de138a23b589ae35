"""Keeps the memory that torch frees on a CPU instead of handing it back to the system."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**30


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
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER)) & bool(mallopt(_MMAP_THRESHOLD, _NEVER))
