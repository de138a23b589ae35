"""Comparisons of rows: transfer scores, differences to references, gaps, break-even points and the families of their tests."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, TypeAlias

from tdbench.leaderboard.flags import Controls, failure_flags
from tdbench.leaderboard.measures import distinct
from tdbench.leaderboard.rankings import PoolRanks, RankInterval, competes, pool_ranks, row_id
from tdbench.leaderboard.runs import METRICS, Entry, Grid, Scores, Status, options_text
from tdbench.leaderboard.scaling import DataEquivalence
from tdbench.leaderboard.schema import ALL_BUDGET, TRANSFER, Field, Row, Texts
from tdbench.leaderboard.stats import Difference, MeanInterval, family_p, holm, mean_interval, welch

MIN_GAP_FRAC = 0.01
"""Below this distance between random and full, a share of the gap is noise."""
GATE_BUDGET = "dpc50"
"""Budget at which random decides whether a learner can learn the task at all."""
GATE_MARGIN_FRAC = 0.05
"""Random must beat majority by this much before a learner counts."""
_ROUNDING = 1e-9
_TRACK_ROLES = {"text": "random", "text+soft": "soft-labels", "learner-bound": "vectors"}
"""Track -> role of its reference."""
_COSTS = {
    "cpu": ("distil_cpu_s", "train_cpu_s"),
    "gpu": ("distil_gpu_s", "train_gpu_s"),
    "flops": ("distil_flops_counted", "train_flops"),
}

_Key: TypeAlias = tuple[Any, ...]


class References:
    """Rows that others are compared with, by their role; the newest version of the plainest configuration counts.

    Args:
        entries: All rows that may be compared.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        def plainest_last(entry: Entry) -> _Key:
            options = entry.key.options
            return not options, entry.key.method_version, -len(options), options

        self._by_role: dict[_Key, Entry] = {}
        self._own: dict[_Key, list[Entry]] = defaultdict(list)
        for entry in sorted(entries, key=plainest_last):
            role = _role(entry)
            if role:
                self._by_role[(*_place(entry, role), role)] = entry
        for entry in entries:
            if entry.row["reference"] and entry.key.options and not entry.row["superseded"]:
                self._own[_own_scope(entry)].append(entry)

    def of(self, entry: Entry, role: str) -> Entry | None:
        """Looks up a reference on the same data, protocol, budget and learner."""
        return self._by_role.get((*_place(entry, role), role))

    def random_of(self, entry: Entry, learner: str, budget: str) -> Entry | None:
        """Looks up random rows with some learner and budget."""
        return self._by_role.get((entry.key.scope, entry.key.data_version, budget, learner, "random"))

    def own(self, entry: Entry) -> Entry | None:
        """Returns what shows a row's own part: the track's reference, or the better of that and the method's own references.

        The method's own references are its configurations that are there for others to be compared with. References themselves are
        compared with the track's alone.
        """
        of_track = self.of(entry, _TRACK_ROLES.get(entry.key.track, ""))
        own = [] if entry.row["reference"] else self._own.get(_own_scope(entry), [])
        scored = [one for one in (of_track, *own) if one is not None and one.row["score_frac"] is not None]
        return max(scored, key=lambda one: one.row["score_frac"], default=None)


def _role(entry: Entry) -> str:
    """Returns what others may be compared with this row for; empty for most."""
    facts, default, track = entry.group.facts, not entry.key.options, entry.key.track
    if facts.full_data:
        return "full"
    if facts.role in ("random", "kmeans"):
        return facts.role if track == "text" and default else ""
    of_track = facts.role == _TRACK_ROLES.get(track) and (default or track == "learner-bound")
    return facts.role if of_track else ""


def _place(entry: Entry, role: str) -> _Key:
    budget = ALL_BUDGET if role == "full" else entry.key.budget
    return entry.key.scope, entry.key.data_version, budget, entry.learner


def _own_scope(entry: Entry) -> _Key:
    key = entry.key
    return key.scope, key.data_version, key.budget, key.track, key.method, entry.learner


@dataclass(frozen=True)
class TransferScore:
    """Context of a row that averages over the learners a method did not distil with. A mean is whole or it is missing.

    Attributes:
        line: Rows of the method, one a learner.
        learners: Learners that enter.
    """

    line: tuple[Entry, ...]
    learners: Texts

    @property
    def first(self) -> Entry:
        """A row to read what all learners share."""
        return self.line[0]

    @cached_property
    def parts(self) -> list[Entry]:
        """Rows that are averaged."""
        return [entry for entry in self.line if entry.learner in self.learners and any(entry.grids.values())]

    @cached_property
    def missing(self) -> list[str]:
        """Learners without a score."""
        present = {entry.learner for entry in self.parts}
        return [name for name in self.learners if name not in present]

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """Means over learners."""
        fixed = self.first.fixed
        return {
            name: {} if self.missing else _mean_grid([part.grids[name] for part in self.parts], fixed)
            for name in METRICS
        }

    @cached_property
    def scores(self) -> Scores:
        """Means and intervals."""
        return Scores.of(self.grids, self.first.row["metric"], self.first.fixed)

    @cached_property
    def status(self) -> Status:
        """Whether it may be ranked: not where a learner is missing, or is itself unranked."""
        if self.missing:
            why = f"no runs with {', '.join(self.missing)}"
            return Status(why, why)
        missing = next((part.status.missing for part in self.parts if part.status.missing), "")
        unranked = next((part for part in self.parts if part.status.reason), None)
        if unranked is None:
            return Status(missing, "")
        reason = unranked.status.reason
        return Status(missing, reason if unranked.status.of_method else f"{unranked.learner}: {reason}")

    def least(self, name: str) -> int:
        """Returns the smallest count of the parts; 0 without a score."""
        return min((part.row[name] for part in self.parts), default=0) if self.grids[METRICS[0]] else 0

    @property
    def n_failed(self) -> int:
        """Failed runs with any of its learners."""
        return sum(entry.row["n_failed"] for entry in self.line if entry.learner in self.learners)

    def joined(self, name: str) -> Texts:
        """Returns the texts of all parts."""
        return distinct(text for part in self.parts for text in part.row[name])

    def value(self, field: Field) -> Any:
        """Applies the rule of a field."""
        if callable(field.transfer):
            return field.transfer(self)
        if field.transfer == "same":
            return self.first.row[field.name]
        if field.transfer == "mean" and not self.missing:
            known = [part.row[field.name] for part in self.parts]
            return None if None in known or not known else fmean(known)
        return field.empty


def transfer_scores(entries: Sequence[Entry]) -> list[TransferScore]:
    """Returns a transfer score for every method whose learners can be told: random decides whether a learner learns the task at all.

    Args:
        entries: One entry per method and learner.
    """
    references = References(entries)
    lines: dict[object, list[Entry]] = defaultdict(list)
    for entry in entries:
        lines[entry.key].append(entry)
    found = []
    for line in lines.values():
        protocol = line[0].group.protocol
        held_out = [name for name in protocol.learners if name != protocol.source]
        decisions = {name: _learns(line[0], name, references) for name in held_out}
        learners = tuple(name for name, learns in decisions.items() if learns)
        if learners and None not in decisions.values():
            found.append(TransferScore(tuple(line), learners))
    return found


def _learns(entry: Entry, learner: str, references: References) -> bool | None:
    """Tells whether a learner learns the task from random rows; null where that was not measured."""
    for budget in (GATE_BUDGET, entry.key.budget):
        random = references.random_of(entry, learner, budget)
        if random is not None and None not in (random.row["score_frac"], random.row["majority_frac"]):
            return random.row["score_frac"] - random.row["majority_frac"] >= GATE_MARGIN_FRAC - _ROUNDING
    return None


def _mean_grid(grids: list[Grid], fixed: bool) -> Grid:
    """Averages learners where all of them have a value: by seed for fixed methods, by set for the others."""
    result: Grid = {}
    for index in sorted(set.intersection(*(set(grid) for grid in grids))):
        if not fixed:
            result[index] = {0: fmean(fmean(grid[index].values()) for grid in grids)}
            continue
        seeds = set.intersection(*(set(grid[index]) for grid in grids))
        if seeds:
            result[index] = {seed: fmean(grid[index][seed] for grid in grids) for seed in sorted(seeds)}
    return result


class Board:
    """All rows of a board, indexed for comparing each with the others.

    Args:
        entries: Measured rows, transfer scores included.
        equivalences: Identity of a row -> what its texts are worth in random ones.
    """

    def __init__(self, entries: Sequence[Entry], equivalences: Mapping[_Key, DataEquivalence]) -> None:
        self.references = References(entries)
        self.equivalences = equivalences
        self.controls = Controls(entries)
        self.ranks: PoolRanks = pool_ranks(entries)
        self.p_values = self._adjusted(entries)
        self._transfer = {entry.key: entry for entry in entries if entry.learner == TRANSFER}
        self._vectors = _vectors(entries)

    def _adjusted(self, entries: Sequence[Entry]) -> dict[_Key, float]:
        """Returns p values against own references: Holm over the ranked rows of one table, and over its others among themselves."""
        families: dict[_Key, list[tuple[Entry, float]]] = defaultdict(list)
        for entry in entries:
            left_out = entry.row["superseded"] or entry.row["external"] or entry.learner == TRANSFER
            reference = self.references.own(entry)
            if left_out or entry.key.budget == ALL_BUDGET or reference is None or reference is entry:
                continue
            p = family_p(entry.units, reference.units) if reference.row["complete"] else None
            if p is not None:
                families[entry.key.scope, entry.key.track, entry.key.budget, competes(entry.row)].append((entry, p))
        return {
            row_id(entry.row): p
            for family in families.values()
            for (entry, _), p in zip(family, holm([p for _, p in family]), strict=True)
        }

    def transfer_gaps(self, entry: Entry) -> list[float]:
        """Returns source - transfer score of every unit; empty where one has a unit that the other lacks."""
        other = self._transfer.get(entry.key)
        source, transfer = entry.by_unit, {} if other is None else other.by_unit
        return [source[unit] - transfer[unit] for unit in sorted(source)] if source.keys() == transfer.keys() else []

    def vectors_of(self, entry: Entry) -> Entry | None:
        """Returns the token vectors that a method's texts are compared with."""
        return self._vectors.get(_twin(entry, entry.options)) if entry.row["output"] == "text" else None


def _vectors(entries: Sequence[Entry]) -> dict[_Key, Entry]:
    """Finds token vectors by the texts that they are compared with.

    Texts of the default configuration have the plainest configuration that makes token vectors, whose other options are those that token
    vectors need; texts of other configurations have the one that differs in the output alone.
    """
    found: dict[_Key, Entry] = {}
    made = [entry for entry in entries if entry.row["output"] == "embedding" and not entry.row["reference"]]
    for entry in sorted(made, key=lambda one: -len(one.options)):
        found[_twin(entry, {})] = entry
        found[_twin(entry, entry.options)] = entry
    return found


def _twin(entry: Entry, options: Mapping[str, Any]) -> _Key:
    """Returns what a method's texts and its token vectors share."""
    key, others = entry.key, {name: value for name, value in options.items() if name != "output"}
    version = key.method_version
    return key.scope, key.data_version, key.budget, key.method, version, options_text(others), entry.learner


@dataclass(frozen=True)
class Comparison:
    """Context of a row's compared fields.

    Attributes:
        entry: The row.
        board: All rows.
    """

    entry: Entry
    board: Board

    @property
    def row(self) -> Row:
        """Measured fields of the row."""
        return self.entry.row

    @cached_property
    def random(self) -> Entry | None:
        """Random rows."""
        return self.board.references.of(self.entry, "random")

    @cached_property
    def kmeans(self) -> Entry | None:
        """Medoids of K-means."""
        return self.board.references.of(self.entry, "kmeans")

    @cached_property
    def full(self) -> Entry | None:
        """Training on all data."""
        return self.board.references.of(self.entry, "full")

    @cached_property
    def reference(self) -> Entry | None:
        """The row's own reference."""
        return self.board.references.own(self.entry)

    @cached_property
    def to_random(self) -> Difference:
        """Difference to random."""
        return self._difference(self.random)

    @cached_property
    def to_kmeans(self) -> Difference:
        """Difference to K-means medoids."""
        return self._difference(self.kmeans)

    @cached_property
    def to_reference(self) -> Difference:
        """Difference to the row's own reference."""
        return self._difference(self.reference)

    @property
    def reference_label(self) -> str:
        """Name of the row's own reference."""
        return "" if self.to_reference.value is None or self.reference is None else self.reference.row["label"]

    @property
    def incomplete_references(self) -> Texts:
        """References of the row that lack sets, with how many they have."""
        if self.entry.key.budget == ALL_BUDGET:
            return ()
        lacking = {
            one.key: f"{one.row['label']} ({one.row['n_sets']} {'set' if one.row['n_sets'] == 1 else 'sets'})"
            for one in (self.random, self.kmeans, self.reference)
            if one is not None and one is not self.entry and not one.row["complete"]
        }
        return tuple(lacking.values())

    def _difference(self, reference: Entry | None) -> Difference:
        """Compares with a reference; a reference is not compared with itself, and nothing without a budget."""
        if reference is None or reference is self.entry or self.entry.key.budget == ALL_BUDGET:
            return Difference(None)
        return welch(self.entry.units, reference.units)

    @property
    def p_value(self) -> float | None:
        """Adjusted p value of the difference to the row's own reference."""
        return self.board.p_values.get(row_id(self.row))

    @property
    def gap_closed(self) -> float | None:
        """Share of the way from random to full."""
        score, bottom, top = self.row["score_frac"], _score(self.random), _score(self.full)
        if score is None or bottom is None or top is None or top - bottom < MIN_GAP_FRAC - _ROUNDING:
            return None
        return (score - bottom) / (top - bottom)

    @property
    def recovery(self) -> float | None:
        """Score over that of training on all data, at most 1; hard labels only."""
        score, full = self.row["score_frac"], _score(self.full)
        applies = self.entry.key.track == "text" and not self.row["full_data"]
        return min(1.0, score / full) if applies and full and score is not None else None

    @property
    def gain(self) -> float | None:
        """Share of random's errors that are gone."""
        score, random = self.row["score_frac"], _score(self.random)
        return None if score is None or random is None or self.random is self.entry else gain_frac(score, random)

    @cached_property
    def transfer_gap(self) -> MeanInterval:
        """Source learner - transfer score, paired by set; of the source learner."""
        return mean_interval(self.board.transfer_gaps(self.entry) if self.row["is_source"] else [])

    @cached_property
    def transfer_excess(self) -> Difference:
        """The transfer gap - that of random rows."""
        if not self.row["is_source"] or self.random is None or self.random is self.entry:
            return Difference(None)
        return welch(self.board.transfer_gaps(self.entry), self.board.transfer_gaps(self.random))

    @cached_property
    def discretisation_gap(self) -> Difference:
        """The same method's token vectors - its texts."""
        vectors = self.board.vectors_of(self.entry)
        return Difference(None) if vectors is None else welch(vectors.units, self.entry.units)

    @cached_property
    def equivalence(self) -> DataEquivalence | None:
        """What a text is worth in random ones."""
        return self.board.equivalences.get(row_id(self.row))

    @cached_property
    def rank(self) -> RankInterval | None:
        """Rank among all ranked methods of the table."""
        return self.board.ranks.get(row_id(self.row), {}).get("all")

    @cached_property
    def controls(self) -> list[Entry]:
        """Controls of a private row: epsilon 0, and noise alone."""
        return self.board.controls.of(self.entry)

    @cached_property
    def flags(self) -> Texts:
        """What tells that the method failed; references have none."""
        return failure_flags(self.entry, self.controls)

    @property
    def unchecked(self) -> Texts:
        """Of a private row, what could not be looked for."""
        row = self.row
        if row["reference"] or row["full_data"] or not row["private"]:
            return ()
        unread = row["distinct_2"] is not None and row["empty_frac"] is None
        return (*["texts"] * unread, *["control"] * (not self.controls))

    def breakeven(self, against: str, unit: str) -> float | None:
        """Returns after how many trainings the set has paid for itself: seconds on one kind of hardware, or operations.

        Args:
            against: `full` or `kmeans`.
            unit: `cpu`, `gpu` or `flops`.
        """
        row, other = self.row, self.full if against == "full" else self.kmeans
        if row["full_data"] or row["external"] or other is None or other is self.entry:
            return None
        fair = _all_counted(row, other.row) if unit == "flops" else _one_hardware(row, other.row)
        distil_key, train_key = _COSTS[unit]
        free = other.row["full_data"]
        costs = row[distil_key], row[train_key], 0.0 if free else other.row[distil_key], other.row[train_key]
        return trainings_to_pay(*costs) if fair and None not in costs else None


def _score(entry: Entry | None) -> float | None:
    return None if entry is None else entry.row["score_frac"]


def gain_frac(score: float, random: float) -> float:
    """Returns a gain over random as a fraction from -1 (all that random had is lost) to 1 (no error is left).

    Args:
        score: Score as a fraction.
        random: Score of random selection as a fraction.
    """
    room = 1.0 - random if score >= random else random
    return 0.0 if room <= 0.0 else (score - random) / room


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


def _one_hardware(row: Row, other: Row) -> bool:
    """Tells whether both were distilled and trained on one kind of hardware; all data are distilled nowhere."""
    kinds = {row["hardware"], row["distil_hardware"], other["hardware"]}
    return len(kinds if other["full_data"] else kinds | {other["distil_hardware"]}) == 1


def _all_counted(row: Row, other: Row) -> bool:
    """Tells whether all operations were counted; against all data a part is enough for a bound from below."""
    if other["full_data"]:
        return row["distil_flops_counted"] is not None
    return not row["distil_flops_uncounted"] and not other["distil_flops_uncounted"]
