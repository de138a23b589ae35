"""Pools of entrants: who competes decides who ranks where, so every pool is ranked anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tdbench.leaderboard.schema import ALL_BUDGET, Row


@dataclass(frozen=True)
class Pool:
    """Entrants that are ranked among themselves."""

    name: str
    description: str
    admits: Callable[[Row], bool]


ALL = Pool("all", "every default configuration", lambda _: True)
_FIXED = (
    ALL,
    Pool("selections", "methods that choose rows of the train split", lambda row: row["output"] == "rows"),
    Pool("generated", "methods that write new texts", lambda row: row["output"] == "text"),
    Pool("private", "methods with a promise of differential privacy", lambda row: row["private"]),
    Pool("no-llm", "methods that ask no language model in words", lambda row: not row["llm"]),
    Pool(
        "seconds",
        "methods that declare the cost class seconds: 20 sets each",
        lambda row: row["cost_class"] == "seconds",
    ),
)


def pools_of(rows: Iterable[Row]) -> list[Pool]:
    """Returns the fixed pools and, for every tag of a method, the pool without it.

    Args:
        rows: Rows of the board. A tag is a fact for which someone would reasonably exclude a method.
    """
    tags = sorted({tag for row in rows for tag in row["tags"].split(", ") if tag})
    return [*_FIXED, *(_without(tag) for tag in tags)]


def _without(tag: str) -> Pool:
    return Pool(f"no-{tag}", f"methods without the tag {tag}", lambda row: tag not in row["tags"].split(", "))


def competes(row: Row) -> bool:
    """Tells whether a row is an entrant: the default configuration of a method, complete and under a published protocol."""
    return row["ranked"] and not row["options"] and row["budget"] != ALL_BUDGET
