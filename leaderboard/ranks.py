"""Ranks in one table with the places that the data leave open, for pools of entrants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from tdbench.leaderboard.entries import Entry
from tdbench.leaderboard.pools import ALL, competes, pools_of
from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.stats import family_p, holm

_IDENTITY = (
    *("task", "task_options", "data_kind", "protocol", "custom_id", "budget", "track", "method", "options"),
    *("method_version", "task_version", "data_fingerprint", "test_fingerprint", "learner"),
)
LEVEL = 0.05
"""Chance that any bound of one ranking is wrong."""


@dataclass(frozen=True)
class Place:
    """A rank, 1 being the best, with the best and the worst place that are not ruled out."""

    rank: int
    low: int
    high: int
    average: float
    """The rank, or the mean of the ranks that entrants with equal means share."""


def places(blocks: Sequence[Mapping[str, Sequence[float]]], level: float = LEVEL) -> list[dict[str, Place]]:
    """Ranks entrants by their means in every block, with simultaneous bounds.

    An entrant stands below all that are better than it by a two-sided test (`family_p`), and above all that are worse. Holm's procedure
    runs over all pairs of all blocks, so that with probability 1 - level no bound is wrong (Mogstad, Romano, Shaikh and Wilhelm, 2024). A
    pair whose spread is unknown is not told apart.

    Args:
        blocks: For every block, such as a task: entrant -> one score per distilled set.
        level: Familywise error rate.

    Returns:
        For every block, the place of every entrant. Entrants with equal means share the better rank.
    """
    above = [dict.fromkeys(block, 0) for block in blocks]
    below = [dict.fromkeys(block, 0) for block in blocks]
    found = []
    for number, block in enumerate(blocks):
        names = list(block)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                p = family_p(block[a], block[b])
                if p is not None:
                    found.append((number, *((a, b) if fmean(block[a]) > fmean(block[b]) else (b, a)), p))
    for (number, better, worse, _), p in zip(found, holm([p for *_, p in found]), strict=True):
        if p <= level:
            above[number][worse] += 1
            below[number][better] += 1
    return [_places(block, above[number], below[number]) for number, block in enumerate(blocks)]


def _places(block: Mapping[str, Sequence[float]], above: dict[str, int], below: dict[str, int]) -> dict[str, Place]:
    means = {name: fmean(values) for name, values in block.items()}
    found = {}
    for name, mean in means.items():
        rank = 1 + sum(other > mean for other in means.values())
        shared = sum(other == mean for other in means.values())
        found[name] = Place(rank, 1 + above[name], len(block) - below[name], rank + (shared - 1) / 2)
    return found


PoolPlaces: TypeAlias = dict[tuple[Any, ...], dict[str, Place]]
"""Identity of a row -> pool -> place; see `row_id`."""


def row_id(row: Row) -> tuple[Any, ...]:
    """Returns what tells a row from all others of a board."""
    return tuple(row[name] for name in _IDENTITY)  # type: ignore[literal-required]


def fill_ranks(entries: Iterable[Entry]) -> PoolPlaces:
    """Ranks the entrants of every table, for each learner by itself.

    Args:
        entries: All entries of the board; the places in the pool of all are written into their rows.

    Returns:
        The places in every pool.
    """
    tables: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if competes(entry.row):
            key = entry.key
            tables[key.scope, key.vintage, key.budget, key.track, entry.row["learner"]].append(entry)
    found: PoolPlaces = defaultdict(dict)
    pools = pools_of(entry.row for table in tables.values() for entry in table)
    for table in tables.values():
        for pool in pools:
            own = {entry.key.method: entry for entry in table if pool.admits(entry.row)}
            (ranked,) = places([{name: entry.units for name, entry in own.items()}])
            for name, place in ranked.items():
                found[row_id(own[name].row)][pool.name] = place
                if pool is ALL:
                    bounds = {"rank": place.rank, "rank_low": place.low, "rank_high": place.high}
                    own[name].row.update(**bounds, n_entrants=len(own))  # type: ignore[typeddict-item]
    return found
