"""Audit pool: candidates, half of them members at random in every run, and auxiliary rows of the attacker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.data.text import LabelledText
from tdbench.bench.data.word_pairs import WordPairs
from tdbench.bench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.loading import TaskData

POOL_VERSION = 1

POOL_SHARE = 2 / 3
"""Largest share of a train split that the pool takes; the rest is the attacker's."""

LEAST_ROWS = 200


@dataclass(frozen=True, eq=False)
class Pool:
    """One random split of a train split. Shapes: R candidate rows in G duplicate groups, A auxiliary rows.

    Members and non-members are drawn from the same R rows, each with probability 1/2, independently for every group, so nothing but
    membership tells them apart. Run 2k takes the groups of the k-th membership mask, run 2k + 1 the others.

    Args:
        rows: The R candidates.
        group_R: Group of every candidate.
        auxiliary: Rows that are in no run and have no near-duplicate in the pool: the attacker's own text.
        seed: Of the membership masks.
    """

    rows: LabelledText
    group_R: NDArray[np.int64]
    auxiliary: LabelledText
    seed: int

    @cached_property
    def n_groups(self) -> int:
        """Number of groups G, the units that are counted."""
        return int(self.group_R.max()) + 1

    @cached_property
    def single_G(self) -> NDArray[np.bool_]:  # noqa: N802 - a shape suffix
        """(G,) whether a group has one record: a promise for one record says less about larger ones."""
        return np.bincount(self.group_R) == 1

    def membership_mask(self, run: int) -> NDArray[np.bool_]:
        """Returns the (G,) membership of a run."""
        mask_G = np.random.default_rng(seed_from(self.seed, "coins", run // 2)).random(self.n_groups) < 0.5
        return ~mask_G if run % 2 else mask_G

    def membership(self, n_runs: int) -> NDArray[np.bool_]:
        """Returns the (S, G) membership of runs 0 to S - 1."""
        return np.array([self.membership_mask(run) for run in range(n_runs)])

    def members(self, run: int) -> LabelledText:
        """Returns the rows that a method sees in a run."""
        return self.rows.take(np.flatnonzero(self.membership_mask(run)[self.group_R]))

    @cached_property
    def null_rows(self) -> LabelledText:
        """What the null run distils from: half of the auxiliary set, at most as many rows as a run's members."""
        return self.auxiliary.take(np.arange(min(len(self.auxiliary), len(self.rows)) // 2))

    @cached_property
    def population(self) -> LabelledText:
        """The other half, which no run and no null run sees: RMIA's population."""
        return self.auxiliary.take(np.arange(len(self.null_rows), len(self.auxiliary)))

    @cached_property
    def queries(self) -> LabelledText:
        """What target models are asked about: the candidates, then the population."""
        return joined(self.rows, self.population)

    def by_group(self, scores_R: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the (G,) largest score of every group."""
        best = np.full(self.n_groups, -np.inf)
        np.maximum.at(best, self.group_R, scores_R)
        return best


def compared(data: TaskData, members: LabelledText, n_rows: int, n_auxiliary: int) -> tuple[Pool, NDArray[np.bool_]]:
    """Sets given members beside as many other train rows, for a set whose members were not drawn at random.

    Near-duplicates across the two sides are left out.

    Args:
        data: The task.
        members: Train rows that a set was made from.
        n_rows: Candidates, half of them members, where there are so many.
        n_auxiliary: Auxiliary rows.

    Returns:
        The pool, and the (G,) membership of its groups.

    Raises:
        DataError: There are too few members or others.
    """
    train = data.train
    rng = np.random.default_rng(seed_from("audit of given members", data.task.name, members.fingerprint))
    inside = np.isin(train.row_ids_N, members.row_ids_N)
    own, other = (rng.permutation(np.flatnonzero(side)) for side in (inside, ~inside))
    n = min(n_rows // 2, len(own), int(len(other) * POOL_SHARE))
    if 2 * n < LEAST_ROWS:
        raise DataError(
            f"{len(own)} members and {len(other)} other train rows; an audit needs at least {LEAST_ROWS // 2} members, and half as "
            "many others again."
        )
    places = np.concatenate([own[:n], other[:n], other[n : n + n_auxiliary]])
    rows = train.take(places)
    group = duplicate_groups(rows)
    sides = [set(group[:n]), set(group[n : 2 * n])]
    kept = np.flatnonzero(~np.isin(group[: 2 * n], list(sides[0] & sides[1])))
    _, first, renumbered = np.unique(group[kept], return_index=True, return_inverse=True)
    apart = ~np.isin(group[2 * n :], group[: 2 * n])
    pool = Pool(rows.take(kept), renumbered, rows.take(2 * n + np.flatnonzero(apart)), seed_from("given members"))
    return pool, kept[first] < n


def joined(first: LabelledText, second: LabelledText) -> LabelledText:
    """Returns the rows of one text and then those of another with the same fields."""
    fields = {name: [*column, *second.fields[name]] for name, column in first.fields.items()}
    labels_N, row_ids_N = (
        np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("labels_N", "row_ids_N")
    )
    return LabelledText(fields, labels_N, first.label_names, row_ids_N)


def draw_pool(data: TaskData, n_rows: int, n_auxiliary: int) -> Pool:
    """Draws a task's pool; the same for all methods.

    Args:
        data: The task.
        n_rows: Candidates wanted; at most two thirds of the train split are taken.
        n_auxiliary: Auxiliary rows wanted; fewer where there are no more, or where some have a near-duplicate in the pool.

    Raises:
        DataError: The train split is too small.
    """
    train, task = data.train, data.task
    n_pool = min(n_rows, int(len(train) * POOL_SHARE))
    if n_pool < LEAST_ROWS:
        raise DataError(
            f"task '{task.name}' has {len(train)} train rows; an audit needs at least {int(LEAST_ROWS / POOL_SHARE)}."
        )
    seed = seed_from("audit pool", task.name, task.version, POOL_VERSION)
    drawn = np.random.default_rng(seed).permutation(len(train))[: n_pool + n_auxiliary]
    candidates = train.take(drawn)
    group = duplicate_groups(candidates)
    own = ~np.isin(group[n_pool:], group[:n_pool])
    return Pool(
        rows=candidates.take(np.arange(n_pool)),
        group_R=group[:n_pool],  # numbered by their first row, so the pool's groups come first and without a gap
        auxiliary=candidates.take(n_pool + np.flatnonzero(own)),
        seed=seed,
    )


LONG_FIELD_WORDS = 6
"""A field of a pair with at least so many words makes twins by itself: pair tasks use one premise several times."""


def duplicate_groups(rows: LabelledText) -> NDArray[np.int64]:
    """Groups rows whose texts are near-duplicates; of a pair, also rows that share a long field.

    Returns:
        (N,) group numbers from 0, in the order of each group's first row. A group is closed: a duplicate of a duplicate belongs to it.
    """
    from scipy.sparse.csgraph import connected_components

    links = _within(rows.joined())
    if len(rows.fields) > 1:
        for column in rows.fields.values():
            links = links + _within(column, LONG_FIELD_WORDS)
    _, labels = connected_components(links, directed=False)
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group]


def _within(texts: Sequence[str], least_words: int = 0) -> Any:
    """Returns the (N, N) sparse matrix of near-duplicates among texts with at least so many words."""
    pairs = WordPairs.of(texts, least_words)
    return pairs.near(pairs)
