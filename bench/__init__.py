"""TDBench: the benchmark for text dataset distillation.

The packages of this distribution have generic names, so importing it checks that no other distribution has taken one of them.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from bench._version import __version__

__all__ = ["__version__"]

# The OpenMP runtime and torch read these once, when torch is loaded. Waiting threads spin for a moment and then sleep: spinning on, as is
# the default, makes steps several times slower beside a busy process; sleeping at once costs a seventh of a step. Large pages save another
# tenth.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_SIBLINGS = ("methods", "tasks", "leaderboard")


def _check_ownership(root: Path, siblings: tuple[str, ...] = _SIBLINGS) -> None:
    """Refuses to start when a sibling package would be imported from somewhere else.

    Raises:
        ImportError: Names the intruder and how to get rid of it.
    """
    for name in siblings:
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or [spec.origin or "unknown"]) if spec else []
        found = Path(places[0]).resolve() if places else None
        if found != root / name:
            where = f"is taken by {found}" if found else "cannot be found"
            raise ImportError(
                f"TDBench needs its own package '{name}' from {root / name}, but '{name}' {where}. "
                "Run `tdbench` from another folder, or use an environment of its own: `make setup`."
            )


_check_ownership(Path(__file__).resolve().parent.parent)
