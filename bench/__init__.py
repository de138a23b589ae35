"""The harness: protocol, engine, statistics of privacy, and the command line."""

from __future__ import annotations

import os

if __name__ != "tdbench.bench":
    raise ImportError(f"this package is imported as 'tdbench.bench', not as '{__name__}'; write `import tdbench`.")

# The OpenMP runtime and torch read these once, when torch is loaded. Waiting threads spin for a moment and then sleep: spinning on, as is
# the default, makes steps several times slower beside a busy process; sleeping at once costs a seventh of a step. Large pages save another
# tenth.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
