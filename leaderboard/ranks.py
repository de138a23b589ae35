"""Ranks with the places that the data leave open: in one table, and over tasks for pools of entrants."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from leaderboard.entries import Entry
from leaderboard.pools import ALL, Pool, competes, pools_of
from leaderboard.schema import UNSEEN_MEAN, Row, budget_order
from leaderboard.stats import holm, welch

_IDENTITY = (
    *("task", "task_options", "data_kind", "protocol", "custom_id", "budget", "track", "method", "options"),
    *("method_version", "task_version", "data_fingerprint", "test_fingerprint", "learner"),
)
LEVEL = 0.05
"""Chance that any bound of one ranking is wrong."""
RANKING_NOTE = (
    "Ranks of default configurations among those that were measured on every task listed, by score, with the places that pairwise Welch "
    "tests leave open (Holm over all pairs and tasks, 5 %). The mean rank is about these tasks, with the mean of the open places."
)
LEAST_TASKS = 8
"""Tasks from which mean ranks are compared by a critical difference; with fewer it says little."""


@dataclass(frozen=True)
class Place:
    """A rank, 1 being the best, with the best and the worst place that are not ruled out."""

    rank: int
    low: int
    high: int


def places(blocks: Sequence[Mapping[str, Sequence[float]]], level: float = LEVEL) -> list[dict[str, Place]]:
    """Ranks entrants by their means in every block, with simultaneous bounds.

    An entrant stands below all that are better than it by a two-sided Welch test, and above all that are worse. Holm's procedure runs
    over all pairs of all blocks, so that with probability 1 - level no bound is wrong (Mogstad, Romano, Shaikh and Wilhelm, 2024). A pair
    whose spread is unknown is not told apart.

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
                test = welch(block[a], block[b])
                if test.p is not None and test.value is not None:
                    found.append((number, *((a, b) if test.value > 0 else (b, a)), test.p))
    for (number, better, worse, _), p in zip(found, holm([p for *_, p in found]), strict=True):
        if p <= level:
            above[number][worse] += 1
            below[number][better] += 1
    return [_places(block, above[number], below[number]) for number, block in enumerate(blocks)]


def _places(block: Mapping[str, Sequence[float]], above: dict[str, int], below: dict[str, int]) -> dict[str, Place]:
    means = {name: fmean(values) for name, values in block.items()}
    ranks = {name: 1 + sum(other > mean for other in means.values()) for name, mean in means.items()}
    return {name: Place(ranks[name], 1 + above[name], len(block) - below[name]) for name in block}


def critical_difference(n_entrants: int, n_tasks: int, level: float = LEVEL) -> float:
    """Returns Nemenyi's critical difference of mean ranks (Demšar, 2006, section 3.2.2).

    Args:
        n_entrants: Entrants that are ranked on every task.
        n_tasks: Tasks.
        level: Familywise error rate.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, n_entrants, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_entrants * (n_entrants + 1) / (6 * n_tasks))


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


@dataclass(frozen=True)
class Standing:
    """One entrant over all tasks of a ranking."""

    label: str
    places: tuple[Place, ...]
    """In the order of the ranking's tasks."""
    mean: float
    low: float
    """Mean of the best places that are not ruled out."""
    high: float


@dataclass(frozen=True)
class Ranking:
    """Entrants of one pool that have been measured on all tasks, ranked by their mean rank."""

    protocol: str
    budget: str
    track: str
    learner: str
    """`source` or `unseen-mean`."""
    pool: Pool
    tasks: tuple[str, ...]
    standings: tuple[Standing, ...]
    """Best first."""
    holes: tuple[tuple[str, tuple[str, ...]], ...]
    """Entrants that lack a task, with the tasks that they lack; they are not ranked."""

    @property
    def title(self) -> str:
        """Heading of the ranking."""
        pool = "" if self.pool is ALL else f" · pool {self.pool.name}"
        return f"{self.budget} · {self.track} · {self.protocol} · {self.learner} · {', '.join(self.tasks)}{pool}"

    @property
    def critical(self) -> float | None:
        """Difference of mean ranks from which two entrants differ (Nemenyi); null with fewer than eight tasks."""
        enough = len(self.tasks) >= LEAST_TASKS
        return critical_difference(len(self.standings), len(self.tasks)) if enough else None


def rankings(entries: Iterable[Entry]) -> list[Ranking]:
    """Ranks entrants over tasks, for every protocol, budget, track, kind of learner and pool.

    A mean over the tasks that happen to be there would favour those who left out the hard ones: an entrant without a result on one of
    the tasks has no mean rank. Ranks are taken among the entrants that are complete. Where more entrants share fewer tasks, these have a
    ranking besides.
    """
    found: dict[tuple[str, ...], dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        row = entry.row
        if competes(row) and row["data_kind"] != "standin" and (row["is_source"] or row["learner"] == UNSEEN_MEAN):
            kind = "source" if row["is_source"] else UNSEEN_MEAN
            task = row["task"] + (f" ({row['task_options']})" if row["task_options"] else "")
            found[row["protocol"], row["budget"], row["track"], kind][task][row["method"]] = entry
    pools = pools_of(entry.row for tasks in found.values() for methods in tasks.values() for entry in methods.values())
    built = [ranking for key, tasks in found.items() for pool in pools for ranking in _rankings(key, tasks, pool)]
    order = {pool.name: number for number, pool in enumerate(pools)}
    return sorted(
        built, key=lambda r: (r.protocol, budget_order(r.budget), r.track, r.learner, order[r.pool.name], -len(r.tasks))
    )


def _rankings(key: tuple[str, ...], tasks: Mapping[str, Mapping[str, Entry]], pool: Pool) -> Iterator[Ranking]:
    """Ranks one pool on all tasks, and on those fewer tasks that more entrants share.

    Of the sets of tasks that some entrants share, one is left out where a set of as many or more tasks has as many entrants; scores have
    no part in the choice.
    """
    own = {task: {method: e for method, e in tasks[task].items() if pool.admits(e.row)} for task in sorted(tasks)}
    measured: dict[str, set[str]] = defaultdict(set)
    for task, methods in own.items():
        for method in methods:
            measured[method].add(task)
    shared: set[frozenset[str]] = set()
    for found in {frozenset(found) for found in measured.values()}:
        shared |= {found} | {found & other for other in shared}
    candidates = [(names, [m for m in sorted(measured) if names <= measured[m]]) for names in shared if len(names) > 1]
    most = 1
    for names, complete in sorted(candidates, key=lambda one: (-len(one[0]), -len(one[1]), sorted(one[0]))):
        if len(complete) > most:
            most = len(complete)
            yield _ranking(key, pool, {task: own[task] for task in sorted(names)}, complete)


def _ranking(
    key: tuple[str, ...], pool: Pool, tasks: Mapping[str, Mapping[str, Entry]], complete: Sequence[str]
) -> Ranking:
    protocol, budget, track, learner = key
    labels = {method: e.row["label"] for methods in tasks.values() for method, e in sorted(methods.items())}
    found = places([{method: methods[method].units for method in complete} for methods in tasks.values()])
    standings = [_standing(labels[method], [block[method] for block in found]) for method in complete]
    holes = tuple(
        (labels[method], tuple(task for task in tasks if method not in tasks[task]))
        for method in sorted(labels)
        if method not in complete
    )
    ordered = tuple(sorted(standings, key=lambda s: (s.mean, s.label)))
    return Ranking(protocol, budget, track, learner, pool, tuple(tasks), ordered, holes)


def _standing(label: str, own: Sequence[Place]) -> Standing:
    count = len(own)
    rank, low, high = (math.fsum(getattr(place, name) for place in own) / count for name in ("rank", "low", "high"))
    return Standing(label, tuple(own), rank, low, high)


def place_text(place: Place) -> str:
    """Writes a place, such as `2 [1, 5]`."""
    return f"{place.rank} [{place.low}, {place.high}]"


def standing_texts(one: Standing) -> list[str]:
    """Writes an entrant's name, mean rank with its bounds, and places by task."""
    return [one.label, f"{one.mean:.1f} [{one.low:.1f}, {one.high:.1f}]", *(place_text(place) for place in one.places)]
