"""Prints one hash of what a registered method makes of small texts: `python -m tdbench.bench.testing.again NAME`."""

from __future__ import annotations

import sys

from tdbench.bench.canonical import content_id
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.methods import run_once, runs_of

if __name__ == "__main__":
    plugin = METHODS.get(sys.argv[1])
    sys.stdout.write(content_id([run_once(plugin(), kind, budget) for kind, budget in runs_of(plugin)]) + "\n")
