"""Differences to the references, their multiplicity control, and the share of the gap that a method closes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

from tdbench.leaderboard.entries import Entry
from tdbench.leaderboard.pools import competes
from tdbench.leaderboard.schema import ALL_BUDGET, UNSEEN_MEAN
from tdbench.leaderboard.stats import Difference, family_p, holm, welch

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
        counts = not entry.row["superseded"] and not entry.row["external"] and entry.row["learner"] != UNSEEN_MEAN
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
            index[entry.key.scope, entry.key.vintage, budget, entry.row["learner"], role] = entry
    return index


def reference_of(entry: Entry, role: str, index: Index) -> Entry | None:
    """Looks up a reference on the same data, protocol, budget and learner."""
    budget = ALL_BUDGET if role == "full" else entry.key.budget
    return index.get((entry.key.scope, entry.key.vintage, budget, entry.row["learner"], role))


def _tuned(entries: list[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Finds every method's own references: configurations of it that are there for others to be compared with."""
    found: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.row["reference"] and entry.key.options and not entry.row["superseded"]:
            found[_own_scope(entry)].append(entry)
    return found


def _own_scope(entry: Entry) -> tuple[Any, ...]:
    key = entry.key
    return key.scope, key.vintage, key.budget, key.track, key.method, entry.row["learner"]


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
