"""Rows that average over the learners a method did not distil with. A mean is whole or it is a hole."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from tdbench.leaderboard.entries import METRICS, Entry, Grid, score_fields
from tdbench.leaderboard.keys import Scope, Vintage
from tdbench.leaderboard.schema import UNSEEN_MEAN, Row
from tdbench.leaderboard.verified import NOT_VERIFIED

GATE_BUDGET = "dpc50"
"""Budget at which random decides whether a learner can learn the task at all."""
GATE_MARGIN_FRAC = 0.05
"""Random must beat majority by this much before a learner counts."""
_ROUNDING = 1e-9
_MEANS = ("train_wall_s", "train_cpu_s", "train_gpu_s", "train_flops", "majority_frac", "collapse_frac")
"""Fields that are averaged like scores."""


class _Gate:
    """Decides which learners enter the mean."""

    def __init__(self, entries: list[Entry]) -> None:
        self._random: dict[tuple[Scope, Vintage, str, str], Row] = {}
        for entry in sorted(entries, key=lambda e: e.key.method_version):
            key, row = entry.key, entry.row
            if (key.method, key.options, key.track) == ("random", "", "text"):
                self._random[key.scope, key.vintage, key.budget, row["learner"]] = row

    def learners(self, entry: Entry) -> list[str] | None:
        """Returns the learners that enter the mean; null where random leaves one of them undecided."""
        unseen = [name for name in entry.protocol.learners if name != entry.protocol.source]
        decisions = {name: self._passes(entry, name) for name in unseen}
        if None in decisions.values():
            return None
        return [name for name, passes in decisions.items() if passes]

    def _passes(self, entry: Entry, learner: str) -> bool | None:
        for budget in (GATE_BUDGET, entry.key.budget):
            row = self._random.get((entry.key.scope, entry.key.vintage, budget, learner))
            if row is not None and row["score_frac"] is not None and row["majority_frac"] is not None:
                return row["score_frac"] - row["majority_frac"] >= GATE_MARGIN_FRAC - _ROUNDING
        return None


def unseen_entries(entries: list[Entry]) -> list[Entry]:
    """Builds the `unseen-mean` entries.

    Args:
        entries: One entry per method and learner.

    Returns:
        One entry for every method whose unseen learners can be told; without a score where one of them is missing.
    """
    gate = _Gate(entries)
    lines: dict[object, list[Entry]] = defaultdict(list)
    for entry in entries:
        lines[entry.key].append(entry)
    built: list[Entry] = []
    for line in lines.values():
        names = gate.learners(line[0])
        if names:
            built.append(_average(line, names))
    return built


def _average(line: list[Entry], names: list[str]) -> Entry:
    parts = [entry for entry in line if entry.row["learner"] in names and any(entry.grids.values())]
    present = {entry.row["learner"] for entry in parts}
    missing = [name for name in names if name not in present]
    first = line[0]
    grids: dict[str, Grid] = {
        name: {} if missing else _mean_grid([part.grids[name] for part in parts], first.fixed) for name in METRICS
    }
    n_sets = len(grids[METRICS[0]])
    complete = not missing and all(part.row["complete"] for part in parts)
    reason = _reason(first, parts, missing)
    row: Row = {  # type: ignore[typeddict-item]
        **first.row,
        **score_fields(grids, first.row["metric"], first.fixed),
        "learner": UNSEEN_MEAN,
        "t2_auc": None,
        "t2_auc_low": None,
        "t2_auc_high": None,
        "t2_detectable_auc": None,
        "t2_null_auc": None,
        "t2_void": False,
        "is_source": False,
        "first_train_id": "",
        **NOT_VERIFIED,
        "n_sets": n_sets,
        "n_distinct_sets": min((part.row["n_distinct_sets"] for part in parts), default=0) if n_sets else 0,
        "n_seeds": min((part.row["n_seeds"] for part in parts), default=0) if n_sets else 0,
        **{name: None if missing else _mean([part.row[name] for part in parts]) for name in _MEANS},  # type: ignore[literal-required]
        "unseen_learners": ", ".join(names),
        "device": ", ".join(sorted({part.row["device"] for part in parts})),
        "hardware": ", ".join(sorted({part.row["hardware"] for part in parts})),
        "measured": "",
        "n_failed": sum(entry.row["n_failed"] for entry in line if entry.row["learner"] in names),
        "complete": complete,
        "ranked": not reason,
        "unranked_reason": reason,
        "contamination": "; ".join(sorted({part.row["contamination"] for part in parts} - {""})),
        "notes": "; ".join(sorted({part.row["notes"] for part in parts} - {""})),
    }
    return Entry(row, first.key, first.protocol, first.fixed, grids, first.options)


def _reason(first: Entry, parts: list[Entry], missing: list[str]) -> str:
    """Says why the mean is not ranked: a missing learner, or the first learner that is itself unranked."""
    if missing:
        return f"no runs with {', '.join(missing)}"
    unranked = next((part.row for part in parts if not part.row["ranked"]), None)
    if unranked is None:
        return ""
    shared = first.row["superseded"] or first.row["custom"] or unranked["unranked_reason"].startswith("reference line")
    return unranked["unranked_reason"] if shared else f"{unranked['learner']}: {unranked['unranked_reason']}"


def _mean_grid(grids: list[Grid], fixed: bool) -> Grid:
    """Averages learners where all of them have a value: by seed for fixed methods, by set for the others."""
    common_sets = sorted(set.intersection(*(set(grid) for grid in grids)))
    result: Grid = {}
    for index in common_sets:
        if not fixed:
            result[index] = {0: fmean(fmean(grid[index].values()) for grid in grids)}
            continue
        seeds = set.intersection(*(set(grid[index]) for grid in grids))
        if seeds:
            result[index] = {seed: fmean(grid[index][seed] for grid in grids) for seed in sorted(seeds)}
    return result


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
