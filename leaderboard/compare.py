"""Differences to the references, their multiplicity control, and the share of the gap that a method closes."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean
from typing import Any, TypeAlias

from tdbench.leaderboard.fields import NOT_REPRODUCED
from tdbench.leaderboard.rankings import competes
from tdbench.leaderboard.runs import METRICS, DataVersion, Entry, Grid, Scope, options_text, score_fields
from tdbench.leaderboard.schema import ALL_BUDGET, TRANSFER, BreakevenFields, Row
from tdbench.leaderboard.stats import Difference, family_p, holm, mean_interval, welch

MIN_GAP_FRAC = 0.01
"""Below this distance between random and full, a share of the gap is noise."""

_ROUNDING = 1e-9

Index: TypeAlias = dict[tuple[Any, ...], Entry]


def compare(entries: list[Entry]) -> None:
    """Fills the comparisons of all rows in place.

    Args:
        entries: All entries of the board, unseen means included.
    """
    index, tuned = index_roles(entries), _tuned(entries)
    families: dict[tuple[Any, ...], list[tuple[Entry, float]]] = defaultdict(list)
    for entry in entries:
        _gap(entry, index)
        if entry.key.budget == ALL_BUDGET:
            continue
        references = [reference_of(entry, "random", index), reference_of(entry, "kmeans", index)]
        random, kmeans = (_difference(entry, one) for one in references)
        reference = _own_reference(entry, index, tuned)
        own = _difference(entry, reference)
        entry.row.update(
            diff_random=random.value,
            diff_random_low=random.low,
            diff_random_high=random.high,
            diff_kmeans=kmeans.value,
            diff_kmeans_low=kmeans.low,
            diff_kmeans_high=kmeans.high,
            diff_reference=own.value,
            diff_reference_low=own.low,
            diff_reference_high=own.high,
            diff_reference_to="" if own.value is None or reference is None else reference.row["label"],
            incomplete_references=", ".join(_incomplete(entry, [*references, reference])),
        )
        counts = not entry.row["superseded"] and not entry.row["external"] and entry.row["learner"] != TRANSFER
        if counts and reference is not None and reference is not entry and reference.row["complete"]:
            p = family_p(entry.units, reference.units)
            if p is not None:
                families[entry.key.scope, entry.key.track, entry.key.budget, competes(entry.row)].append((entry, p))
    for family in families.values():
        for (entry, _), p in zip(family, holm([p for _, p in family]), strict=True):
            entry.row["p_holm"] = p


def _incomplete(entry: Entry, references: list[Entry | None]) -> list[str]:
    """Returns the references of a row that lack sets, with how many they have."""
    found = {
        one.key: f"{one.row['label']} ({one.row['n_sets']} {'set' if one.row['n_sets'] == 1 else 'sets'})"
        for one in references
        if one is not None and one is not entry and not one.row["complete"]
    }
    return list(found.values())


def _roles(entry: Entry) -> list[str]:
    """Returns what others may be compared with this entry for."""
    method, track, default = entry.key.method, entry.key.track, not entry.key.options
    rules: tuple[tuple[str, bool], ...] = (
        ("random", method == "random" and track == "text" and default),
        ("text", method == "random" and track == "text" and default),
        ("kmeans", method == "kmeans" and track == "text" and default),
        ("text+soft", method == "teacher-labels" and track == "text+soft" and default),
        ("learner-bound", method == "class-mean" and track == "learner-bound"),
        ("full", entry.row["full_data"]),
    )
    return [role for role, holds in rules if holds]


def index_roles(entries: list[Entry]) -> Index:
    """Finds the entry for every role; the newest version of the plainest configuration wins."""
    index: Index = {}

    def plainest_last(entry: Entry) -> tuple[Any, ...]:
        options = entry.key.options
        return not options, entry.key.method_version, -len(options), options

    for entry in sorted(entries, key=plainest_last):
        for role in _roles(entry):
            budget = ALL_BUDGET if role == "full" else entry.key.budget
            index[entry.key.scope, entry.key.data_version, budget, entry.row["learner"], role] = entry
    return index


def reference_of(entry: Entry, role: str, index: Index) -> Entry | None:
    """Looks up a reference on the same data, protocol, budget and learner."""
    budget = ALL_BUDGET if role == "full" else entry.key.budget
    return index.get((entry.key.scope, entry.key.data_version, budget, entry.row["learner"], role))


def _tuned(entries: list[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Finds every method's own references: configurations of it that are there for others to be compared with."""
    found: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.row["reference"] and entry.key.options and not entry.row["superseded"]:
            found[_own_scope(entry)].append(entry)
    return found


def _own_scope(entry: Entry) -> tuple[Any, ...]:
    key = entry.key
    return key.scope, key.data_version, key.budget, key.track, key.method, entry.row["learner"]


def _own_reference(entry: Entry, index: Index, tuned: dict[tuple[Any, ...], list[Entry]]) -> Entry | None:
    """Returns what shows a row's own part: the track's reference, or the better of that and the method's own references.

    A track names its reference's role. References themselves are compared with the track's alone.
    """
    found = reference_of(entry, entry.key.track, index)
    own = [] if entry.row["reference"] else tuned.get(_own_scope(entry), [])
    scored = [one for one in (found, *own) if one is not None and one.row["score_frac"] is not None]
    return max(scored, key=lambda one: one.row["score_frac"] or 0.0, default=None)


def _difference(entry: Entry, reference: Entry | None) -> Difference:
    """Compares with a reference; a reference is not compared with itself."""
    if reference is None or reference is entry:
        return Difference(None)
    return welch(entry.units, reference.units)


def _gap(entry: Entry, index: Index) -> None:
    """Computes the share of the way from random to full."""
    random, full = reference_of(entry, "random", index), reference_of(entry, "full", index)
    score = entry.row["score_frac"]
    bottom = random.row["score_frac"] if random else None
    top = full.row["score_frac"] if full else None
    if score is None or bottom is None or top is None or top - bottom < MIN_GAP_FRAC - _ROUNDING:
        return
    entry.row["gap_closed_frac"] = (score - bottom) / (top - bottom)


_Lines: TypeAlias = dict[tuple[Any, ...], Entry]

_OPTIONS = 5
"""Place of the options in what `_twin` returns."""


def fill_gaps(entries: list[Entry]) -> None:
    """Fills the gaps of all rows in place.

    Args:
        entries: All entries of the board, unseen means included.
    """
    index = index_roles(entries)
    unseen = {entry.key: entry for entry in entries if entry.row["learner"] == TRANSFER}
    vectors = _vectors(entries)
    gaps = {entry.key: _paired(entry, unseen.get(entry.key)) for entry in entries if entry.row["is_source"]}
    for entry in entries:
        _bounded(entry, index)
        if entry.row["is_source"]:
            _transfer(entry, gaps, index)
        if entry.row["output"] == "text":
            _discretisation(entry, vectors.get(_twin(entry)))


def _bounded(entry: Entry, index: Index) -> None:
    score, full, random = entry.row["score_frac"], _score(entry, "full", index), _score(entry, "random", index)
    if score is None:
        return
    if full and entry.key.track == "text" and not entry.row["full_data"]:
        entry.row["hard_label_recovery_frac"] = min(1.0, score / full)
    if random is not None and reference_of(entry, "random", index) is not entry:
        entry.row["gain_random_frac"] = gain_frac(score, random)


def gain_frac(score: float, random: float) -> float:
    """Returns a gain over random as a fraction from -1 (all that random had is lost) to 1 (no error is left).

    Args:
        score: Score as a fraction.
        random: Score of random selection as a fraction.
    """
    room = 1.0 - random if score >= random else random
    return 0.0 if room <= 0.0 else (score - random) / room


def _score(entry: Entry, role: str, index: Index) -> float | None:
    found = reference_of(entry, role, index)
    return None if found is None else found.row["score_frac"]


def _paired(source: Entry, unseen: Entry | None) -> list[float]:
    """Returns source - unseen of every unit; empty where one has a unit that the other lacks."""
    seen, others = source.by_unit, {} if unseen is None else unseen.by_unit
    return [seen[unit] - others[unit] for unit in sorted(seen)] if seen.keys() == others.keys() else []


def _transfer(entry: Entry, gaps: dict[Any, list[float]], index: Index) -> None:
    own, random = gaps[entry.key], reference_of(entry, "random", index)
    gap = mean_interval(own)
    entry.row.update(transfer_gap=gap.mean, transfer_gap_low=gap.low, transfer_gap_high=gap.high)
    if random is None or random is entry:
        return
    excess = welch(own, gaps[random.key])
    if own and gaps[random.key]:
        entry.row.update(transfer_excess=excess.value, transfer_excess_low=excess.low, transfer_excess_high=excess.high)


def _vectors(entries: list[Entry]) -> _Lines:
    """Finds the token vectors that a method's texts are compared with.

    Texts of the default configuration have the plainest configuration that makes token vectors, whose other options are those that token
    vectors need; texts of other configurations have the one that differs in the output alone.
    """
    found: _Lines = {}
    made = [entry for entry in entries if entry.row["output"] == "embedding" and not entry.row["reference"]]
    for entry in sorted(made, key=lambda one: -len(one.options)):
        default = list(_twin(entry))
        default[_OPTIONS] = ""
        found[tuple(default)] = entry
        if _twin(entry)[_OPTIONS]:
            found[_twin(entry)] = entry
    return found


def _twin(entry: Entry) -> tuple[Any, ...]:
    """Returns what a method's texts and its token vectors share."""
    key, others = entry.key, {name: value for name, value in entry.options.items() if name != "output"}
    return (
        key.scope,
        key.data_version,
        key.budget,
        key.method,
        key.method_version,
        options_text(others),
        entry.row["learner"],
    )


def _discretisation(entry: Entry, vectors: Entry | None) -> None:
    if vectors is None:
        return
    gap = welch(vectors.units, entry.units)
    entry.row.update(discretisation_gap=gap.value, discretisation_gap_low=gap.low, discretisation_gap_high=gap.high)


_UNITS = (
    ("cpu", "distil_cpu_s", "train_cpu_s"),
    ("gpu", "distil_gpu_s", "train_gpu_s"),
    ("flops", "distil_flops_counted", "train_flops"),
)


def trainings_to_pay(distil: float, train: float, distil_other: float, train_other: float) -> float | None:
    """Returns the least number of trainings from which on distil + n train <= distil_other + n train_other.

    Args:
        distil: Cost of making the set.
        train: Cost of one training on it, in the same unit.
        distil_other: Cost of making what it is compared with; 0 for all real data.
        train_other: Cost of one training on that.

    Returns:
        The least whole number of trainings; infinity where both are dearer. Null where the set is cheaper and each training on it dearer,
        so that it pays for few trainings and not for many.
    """
    extra, saved = distil - distil_other, train_other - train
    if extra <= 0:
        return 0.0 if saved >= 0 else None
    return float(math.ceil(extra / saved)) if saved > 0 else math.inf


def fill_breakeven(entries: list[Entry]) -> None:
    """Fills the break-even points of all rows in place: seconds within one kind of hardware, operations where all were counted.

    Args:
        entries: All entries of the board, unseen means included; these have none.
    """
    index = index_roles(entries)
    for entry in entries:
        if entry.row["full_data"] or entry.row["external"] or entry.row["learner"] == TRANSFER:
            continue
        full, kmeans = (reference_of(entry, role, index) for role in ("full", "kmeans"))
        entry.row.update(_against(entry.row, full and full.row, "full"))  # type: ignore[typeddict-item]
        if kmeans is not entry:
            entry.row.update(_against(entry.row, kmeans and kmeans.row, "kmeans"))  # type: ignore[typeddict-item]


def _against(row: Row, other: Row | None, name: str) -> BreakevenFields:
    found = {}
    for unit, distil_key, train_key in _UNITS:
        value = None
        if other is not None and (_all_counted(row, other) if unit == "flops" else _one_machine(row, other)):
            made, trained, trained_other = row[distil_key], row[train_key], other[train_key]
            made_other = 0.0 if other["full_data"] else other[distil_key]
            if None not in (made, trained, made_other, trained_other):
                value = trainings_to_pay(made, trained, made_other, trained_other)
        found[f"breakeven_{name}_{unit}"] = value
    return found  # type: ignore[return-value]


def _one_machine(row: Row, other: Row) -> bool:
    """Tells whether both were made and trained on one kind of hardware; what is read for all data is made nowhere."""
    kinds = {row["hardware"], row["distil_hardware"], other["hardware"]}
    return len(kinds if other["full_data"] else kinds | {other["distil_hardware"]}) == 1


def _all_counted(row: Row, other: Row) -> bool:
    """Tells whether all operations were counted; against all data a part is enough for a bound from below."""
    if other["full_data"]:
        return row["distil_flops_counted"] is not None
    return not row["distil_flops_uncounted"] and not other["distil_flops_uncounted"]


GATE_BUDGET = "dpc50"
"""Budget at which random decides whether a learner can learn the task at all."""

GATE_MARGIN_FRAC = 0.05
"""Random must beat majority by this much before a learner counts."""

_GATE_ROUNDING = 1e-9

_MEANS = ("train_wall_s", "train_cpu_s", "train_gpu_s", "train_flops", "majority_frac", "collapse_frac")
"""Fields that are averaged like scores."""


class _Gate:
    """Decides which learners enter the mean."""

    def __init__(self, entries: list[Entry]) -> None:
        self._random: dict[tuple[Scope, DataVersion, str, str], Row] = {}
        for entry in sorted(entries, key=lambda e: e.key.method_version):
            key, row = entry.key, entry.row
            if (key.method, key.options, key.track) == ("random", "", "text"):
                self._random[key.scope, key.data_version, key.budget, row["learner"]] = row

    def learners(self, entry: Entry) -> list[str] | None:
        """Returns the learners that enter the mean; null where random leaves one of them undecided."""
        unseen = [name for name in entry.protocol.learners if name != entry.protocol.source]
        decisions = {name: self._passes(entry, name) for name in unseen}
        if None in decisions.values():
            return None
        return [name for name, passes in decisions.items() if passes]

    def _passes(self, entry: Entry, learner: str) -> bool | None:
        for budget in (GATE_BUDGET, entry.key.budget):
            row = self._random.get((entry.key.scope, entry.key.data_version, budget, learner))
            if row is not None and row["score_frac"] is not None and row["majority_frac"] is not None:
                return row["score_frac"] - row["majority_frac"] >= GATE_MARGIN_FRAC - _GATE_ROUNDING
        return None


def transfer_entries(entries: list[Entry]) -> list[Entry]:
    """Builds the `transfer` entries.

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
        "learner": TRANSFER,
        "t2_auc": None,
        "t2_auc_low": None,
        "t2_auc_high": None,
        "t2_detectable_auc": None,
        "t2_null_auc": None,
        "t2_invalid": False,
        "is_source": False,
        "first_train_id": "",
        **NOT_REPRODUCED,
        "n_sets": n_sets,
        "n_distinct_sets": min((part.row["n_distinct_sets"] for part in parts), default=0) if n_sets else 0,
        "n_seeds": min((part.row["n_seeds"] for part in parts), default=0) if n_sets else 0,
        **{name: None if missing else _mean([part.row[name] for part in parts]) for name in _MEANS},  # type: ignore[literal-required]
        "transfer_learners": ", ".join(names),
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
