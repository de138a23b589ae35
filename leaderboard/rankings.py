"""Ranks of methods with their confidence intervals, in one table and over tasks. A missing result is never averaged away."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

from tdbench.leaderboard.runs import Entry
from tdbench.leaderboard.schema import ALL_BUDGET, TRANSFER, Row, budget_order
from tdbench.leaderboard.stats import family_p, holm

_IDENTITY = (
    *("task", "task_options", "data_kind", "protocol", "custom_id", "budget", "track", "method", "options"),
    *("method_version", "task_version", "data_fingerprint", "test_fingerprint", "learner"),
)

LEVEL = 0.05
"""Chance that any bound of one ranking is wrong."""


@dataclass(frozen=True)
class RankInterval:
    """A rank, 1 being the best, with the bounds of its confidence interval."""

    rank: int
    low: int
    high: int
    average: float
    """The rank, or the mean of the ranks that methods with equal means share."""
    n_ranked: int = field(default=0, compare=False)
    """Methods that are ranked together."""


def rank_intervals(
    blocks: Sequence[Mapping[str, Sequence[float]]], level: float = LEVEL
) -> list[dict[str, RankInterval]]:
    """Ranks methods by their means in every block, with simultaneous bounds.

    A method stands below all that are better than it by a two-sided test (`family_p`), and above all that are worse. Holm's procedure
    runs over all pairs of all blocks, so that with probability 1 - level no bound is wrong (Mogstad, Romano, Shaikh and Wilhelm, 2024). A
    pair whose spread is unknown counts as not different.

    Args:
        blocks: For every block, such as a task: method -> one score per distilled set.
        level: Familywise error rate.

    Returns:
        For every block, the rank of every method. Those with equal means share the better one.
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
    return [_intervals(block, above[number], below[number]) for number, block in enumerate(blocks)]


def _intervals(
    block: Mapping[str, Sequence[float]], above: dict[str, int], below: dict[str, int]
) -> dict[str, RankInterval]:
    means = {name: fmean(values) for name, values in block.items()}
    found = {}
    for name, mean in means.items():
        rank = 1 + sum(other > mean for other in means.values())
        shared = sum(other == mean for other in means.values())
        found[name] = RankInterval(rank, 1 + above[name], len(block) - below[name], rank + (shared - 1) / 2, len(block))
    return found


PoolRanks: TypeAlias = dict[tuple[Any, ...], dict[str, RankInterval]]
"""Identity of a row -> pool -> rank; see `row_id`."""


def row_id(row: Row) -> tuple[Any, ...]:
    """Returns what tells a row from all others of a board."""
    return tuple(row[name] for name in _IDENTITY)


def pool_ranks(entries: Iterable[Entry]) -> PoolRanks:
    """Ranks the default configurations of every table, for each learner by itself, in every pool of methods.

    Args:
        entries: All rows of the board.
    """
    tables: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if competes(entry.row):
            key = entry.key
            tables[key.scope, key.data_version, key.budget, key.track, entry.learner].append(entry)
    found: PoolRanks = defaultdict(dict)
    pools = pools_of(entry.row for table in tables.values() for entry in table)
    for table in tables.values():
        for pool in pools:
            own = {entry.key.method: entry for entry in table if pool.admits(entry.row)}
            (ranked,) = rank_intervals([{name: entry.units for name, entry in own.items()}])
            for name, interval in ranked.items():
                found[row_id(own[name].row)][pool.name] = interval
    return dict(found)


@dataclass(frozen=True)
class MethodPool:
    """Methods that are ranked among themselves."""

    name: str
    description: str
    admits: Callable[[Row], bool]


ALL = MethodPool("all", "every default configuration", lambda _: True)

_FIXED = (
    ALL,
    MethodPool("selections", "methods that choose rows of the train split", lambda row: row["output"] == "rows"),
    MethodPool("generated", "methods that write new texts", lambda row: row["output"] == "text"),
    MethodPool("private", "methods with a promise of differential privacy", lambda row: row["private"]),
    MethodPool("no-llm", "methods that ask no language model in words", lambda row: not row["llm"]),
    MethodPool(
        "seconds",
        "methods that declare the cost class seconds: 20 sets each",
        lambda row: row["cost_class"] == "seconds",
    ),
)


def pools_of(rows: Iterable[Row]) -> list[MethodPool]:
    """Returns the fixed pools and, for every tag of a method, the pool without it.

    Args:
        rows: Rows of the board. A tag is a fact for which someone would reasonably exclude a method.
    """
    tags = sorted({tag for row in rows for tag in row["tags"]})
    return [*_FIXED, *(_without(tag) for tag in tags)]


def _without(tag: str) -> MethodPool:
    return MethodPool(f"no-{tag}", f"methods without the tag {tag}", lambda row: tag not in row["tags"])


def competes(row: Row) -> bool:
    """Tells whether a row has a rank: the default configuration of a method, complete and under a published protocol."""
    return row["ranked"] and not row["options"] and row["budget"] != ALL_BUDGET


RANKING_NOTE = (
    "Ranks of default configurations among those that were measured on every task listed, by score, with confidence intervals from "
    "pairwise Welch tests (Holm over all pairs and tasks, 5 %). The mean rank is about these tasks, with the means of the bounds; equal "
    "scores share the mean of their ranks. Tasks of which a subset was read, or which a learner may have seen, are marked."
)

LEAST_TASKS = 8
"""Tasks from which mean ranks are compared by a critical difference; with fewer it says little."""

NOT_RUN = "not run"

_Tasks: TypeAlias = Mapping[str, Mapping[str, Entry]]
"""Task as it is shown -> method -> its default configuration, ranked or not."""


def critical_difference(n_methods: int, n_tasks: int, level: float = LEVEL) -> float:
    """Returns Nemenyi's critical difference of mean ranks (Demšar, 2006, section 3.2.2).

    Args:
        n_methods: Methods that are ranked on every task.
        n_tasks: Tasks.
        level: Familywise error rate.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, n_methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_tasks))


def friedman_p(scores: Sequence[Sequence[float]]) -> float | None:
    """Returns the p value of Friedman's test that all methods are equally good.

    Null with fewer than three of them, or where no task finds any difference.

    Args:
        scores: For every task, the mean score of every method.
    """
    from scipy.stats import friedmanchisquare

    if len(scores[0]) < 3 or all(len(set(own)) == 1 for own in scores):
        return None
    return float(friedmanchisquare(*zip(*scores, strict=True)).pvalue)


@dataclass(frozen=True)
class MeanRank:
    """One method over all tasks of a ranking."""

    label: str
    ranks: tuple[RankInterval, ...]
    """In the order of the ranking's tasks."""
    mean: float
    low: float
    """Mean of the lower bounds."""
    high: float


@dataclass(frozen=True)
class Unranked:
    """A method without a mean rank, and what it lacks."""

    label: str
    missing: tuple[tuple[str, str], ...]
    """(task, why)."""

    @property
    def text(self) -> str:
        """Writes what is missing."""
        return f"{self.label} ({'; '.join(f'{task}: {why}' for task, why in self.missing)})"


@dataclass(frozen=True)
class Ranking:
    """Methods of one pool that have been measured on all tasks, ranked by their mean rank."""

    protocol: str
    budget: str
    track: str
    learner: str
    """`source` or `transfer`."""
    pool: MethodPool
    tasks: tuple[str, ...]
    """With `(subset)` or `(contaminated)` behind the name where that holds."""
    mean_ranks: tuple[MeanRank, ...]
    """Best first."""
    unranked: tuple[Unranked, ...]
    """Default configurations that lack a task; they are not ranked."""
    friedman: float | None
    """p value of Friedman's test; null with fewer than eight tasks."""

    @property
    def title(self) -> str:
        """Heading of the ranking."""
        pool = "" if self.pool is ALL else f" · pool {self.pool.name}"
        return f"{self.budget} · {self.track} · {self.protocol} · {self.learner} · {', '.join(self.tasks)}{pool}"

    @property
    def critical(self) -> float | None:
        """Difference of mean ranks from which two methods differ (Nemenyi); null with fewer than eight tasks."""
        enough = len(self.tasks) >= LEAST_TASKS
        return critical_difference(len(self.mean_ranks), len(self.tasks)) if enough else None


def rankings(entries: Iterable[Entry]) -> list[Ranking]:
    """Ranks methods over tasks, for every protocol, budget, track, kind of learner and pool.

    A mean over the tasks that happen to be there would favour those who left out the hard ones: a method without a result on one of
    the tasks has no mean rank. Ranks are taken among the methods that are complete. Where more methods share fewer tasks, these have a
    ranking besides. Real and subset data of one task are two tasks.
    """
    found: dict[tuple[str, ...], dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        row = entry.row
        if _is_default(row) and (row["is_source"] or row["learner"] == TRANSFER):
            kind = "source" if row["is_source"] else TRANSFER
            own = found[row["protocol"], row["budget"], row["track"], kind][_task(row)]
            if row["method"] not in own or competes(row):  # an older version may stand beside a newer one
                own[row["method"]] = entry
    pools = pools_of(entry.row for tasks in found.values() for methods in tasks.values() for entry in methods.values())
    built = [
        ranking for key, tasks in found.items() for pool in pools for ranking in _rankings(key, _marked(tasks), pool)
    ]
    order = {pool.name: number for number, pool in enumerate(pools)}
    return sorted(
        built, key=lambda r: (r.protocol, budget_order(r.budget), r.track, r.learner, order[r.pool.name], -len(r.tasks))
    )


def _is_default(row: Row) -> bool:
    """Tells whether a row is a method's default configuration under a published protocol, complete or not."""
    out = row["options"] or row["superseded"] or row["custom"] or row["external"] or row["full_data"]
    return not out and row["budget"] != ALL_BUDGET and row["data_kind"] != "standin"


def _task(row: Row) -> str:
    options = f" ({row['task_options']})" if row["task_options"] else ""
    return f"{row['task']}{options}{' (subset)' if row['data_kind'] == 'real-subset' else ''}"


def _marked(tasks: _Tasks) -> _Tasks:
    """Marks tasks that the learner may have seen."""

    def mark(methods: Mapping[str, Entry]) -> str:
        return " (contaminated)" if any(entry.row["contamination"] for entry in methods.values()) else ""

    return {task + mark(methods): methods for task, methods in tasks.items()}


def _rankings(key: tuple[str, ...], tasks: _Tasks, pool: MethodPool) -> Iterator[Ranking]:
    """Ranks one pool on all tasks, and on those fewer tasks that more methods share.

    Of the sets of tasks that some methods share, one is left out where a set of as many or more tasks has as many methods; scores have
    no part in the choice.
    """
    own = {task: {method: e for method, e in tasks[task].items() if pool.admits(e.row)} for task in sorted(tasks)}
    measured: dict[str, set[str]] = defaultdict(set)
    for task, methods in own.items():
        for method, entry in methods.items():
            if competes(entry.row):
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


def _ranking(key: tuple[str, ...], pool: MethodPool, tasks: _Tasks, complete: Sequence[str]) -> Ranking:
    protocol, budget, track, learner = key
    labels = {method: e.row["label"] for methods in tasks.values() for method, e in sorted(methods.items())}
    found = rank_intervals([{method: methods[method].units for method in complete} for methods in tasks.values()])
    mean_ranks = [_mean_rank(labels[method], [block[method] for block in found]) for method in complete]
    scores = [[methods[method].row["score_frac"] or 0.0 for method in complete] for methods in tasks.values()]
    return Ranking(
        protocol=protocol,
        budget=budget,
        track=track,
        learner=learner,
        pool=pool,
        tasks=tuple(tasks),
        mean_ranks=tuple(sorted(mean_ranks, key=lambda s: (s.mean, s.label))),
        unranked=tuple(_unranked(labels[method], method, tasks) for method in sorted(labels) if method not in complete),
        friedman=friedman_p(scores) if len(tasks) >= LEAST_TASKS else None,
    )


def _unranked(label: str, method: str, tasks: _Tasks) -> Unranked:
    rows = {task: methods[method].row if method in methods else None for task, methods in tasks.items()}
    return Unranked(
        label,
        tuple(
            (task, NOT_RUN if row is None else row["unranked_reason"])
            for task, row in rows.items()
            if row is None or not competes(row)
        ),
    )


def _mean_rank(label: str, own: Sequence[RankInterval]) -> MeanRank:
    count = len(own)
    rank, low, high = (math.fsum(getattr(one, name) for one in own) / count for name in ("average", "low", "high"))
    return MeanRank(label, tuple(own), rank, low, high)


def rank_interval_text(interval: RankInterval) -> str:
    """Writes a rank with its interval, such as `2 [1, 5]`."""
    return f"{interval.rank} [{interval.low}, {interval.high}]"


def ranking_texts(one: MeanRank) -> list[str]:
    """Writes a method's name, mean rank with its bounds, and ranks by task."""
    return [
        one.label,
        f"{one.mean:.1f} [{one.low:.1f}, {one.high:.1f}]",
        *(rank_interval_text(interval) for interval in one.ranks),
    ]
