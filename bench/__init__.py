"""TDBench: the benchmark for text dataset distillation.

The packages of this distribution have generic names, so importing it checks that no other distribution has taken one of them.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from bench._version import __version__

__all__ = ["__version__"]

# Waiting threads sleep instead of spinning. Measured on 2 cores beside one busy process: a MiniLM training step takes 0.53 s instead of
# 1.5 s. The OpenMP runtime reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
