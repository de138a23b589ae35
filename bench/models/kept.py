"""Models that are trained once and kept: whoever needs them again loads them and is charged what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from bench.canonical import sha256_file
from bench.cost import CostMeter
from bench.experiment.record import PhaseCost

if TYPE_CHECKING:
    from torch import nn

Facts = dict[str, Any]


def kept_model(
    folder: Path,
    cost: CostMeter,
    phase: str,
    train: Callable[[], tuple[nn.Module, Facts]],
    build: Callable[[Facts], nn.Module],
) -> tuple[nn.Module, Facts]:
    """Loads a model, or trains and keeps it; a missing, half-written or damaged entry counts as absent.

    Args:
        folder: Named by everything that decides the weights.
        cost: Cost meter; a hit charges the cold cost.
        phase: Name of the phase that training is.
        train: Returns the trained model, and facts (plain JSON) that go with it.
        build: Makes a model of the same form from the facts, to be filled with weights.
    """
    from safetensors.torch import load_model, save_model

    folder.mkdir(parents=True, exist_ok=True)
    weights, entry = folder / "model.safetensors", folder / "entry.json"
    with FileLock(f"{folder}.lock"):
        known = _read(entry, weights)
        if known is not None:
            module = build(known)
            load_model(module, weights)
            cost.charge(PhaseCost.model_validate(known["cost"]))
            return module, known
        with cost.phase(phase):
            module, facts = train()
        save_model(module, str(weights))
        partial = entry.with_suffix(".partial")
        whole = {"sha256": sha256_file(weights), **facts, "cost": cost.phases[-1].model_dump(mode="json")}
        partial.write_text(json.dumps(whole))
        partial.replace(entry)
    return module, facts


def _read(entry: Path, weights: Path) -> Facts | None:
    try:
        facts = json.loads(entry.read_text())
        return facts if sha256_file(weights) == facts["sha256"] else None
    except (OSError, ValueError, KeyError):
        return None
