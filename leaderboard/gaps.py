"""Gaps between rows: to full data and random as bounded fractions, to unseen learners, and between token vectors and texts."""

from __future__ import annotations

from typing import Any, TypeAlias

from tdbench.leaderboard.compare import Index, index_roles, reference_of
from tdbench.leaderboard.entries import Entry
from tdbench.leaderboard.keys import options_text
from tdbench.leaderboard.schema import UNSEEN_MEAN
from tdbench.leaderboard.stats import mean_interval, welch

_Lines: TypeAlias = dict[tuple[Any, ...], Entry]
_OPTIONS = 5
"""Place of the options in what `_twin` returns."""


def fill_gaps(entries: list[Entry]) -> None:
    """Fills the gaps of all rows in place.

    Args:
        entries: All entries of the board, unseen means included.
    """
    index = index_roles(entries)
    unseen = {entry.key: entry for entry in entries if entry.row["learner"] == UNSEEN_MEAN}
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
        key.vintage,
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
