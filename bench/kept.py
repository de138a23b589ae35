"""Results that are computed once and kept: whoever needs them again is charged what they cost at first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from tdbench.bench.canonical import sha256_file
from tdbench.bench.cost import CostMeter
from tdbench.bench.record import PhaseCost

T = TypeVar("T")
Facts = dict[str, Any]


def kept(
    data: Path,
    entry: Path,
    cost: CostMeter,
    phase: str,
    *,
    make: Callable[[], tuple[T, Facts]],
    save: Callable[[T, Path], None],
    load: Callable[[Path, Facts], T],
) -> tuple[T, Facts]:
    """Loads a result, or makes and keeps it; one process at a time. A missing, half-written or damaged one counts as absent.

    Args:
        data: File of the result; its name follows from everything that decides the result.
        entry: File of its hash, its cost and its facts, written last.
        cost: Cost meter; a hit charges the cold cost.
        phase: Name of the phase that making it is.
        make: Returns the result, and facts (plain JSON) that go with it.
        save: Writes a result to a file.
        load: Reads it back.
    """
    for path in (data, entry):
        path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{entry}.lock"):
        facts = _facts(data, entry)
        if facts is not None:
            value = load(data, facts)
            cost.charge(PhaseCost.model_validate(facts["cost"]))
            return value, facts
        with cost.phase(phase):
            value, facts = make()
        partial = data.with_name(f"partial-{data.name}")  # the ending stays: some writers would add it
        save(value, partial)
        partial.replace(data)
        written = entry.with_name(f"partial-{entry.name}")
        whole = {"sha256": sha256_file(data), **facts, "cost": cost.phases[-1].model_dump(mode="json")}
        written.write_text(json.dumps(whole))
        written.replace(entry)
    return value, facts


def _facts(data: Path, entry: Path) -> Facts | None:
    try:
        facts = json.loads(entry.read_text())
        return facts if sha256_file(data) == facts["sha256"] and "cost" in facts else None
    except (OSError, ValueError, KeyError):
        return None
