"""Row, field and column of the board; `fields.py` declares them. Names are a contract with readers of `leaderboard.json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

BOARD_SCHEMA_VERSION = 6
"""Raised when a field of a row comes, goes away or changes its meaning."""

TRANSFER = "transfer"
"""In the place of a learner's name on rows of the transfer score: the mean over the learners that a method did not distil with."""
MIXED = "+real"
"""Ends the track of rows whose learners also read real texts."""
ALL_BUDGET = "all"
"""Budget of methods that ignore the budget, such as majority and full."""

Row: TypeAlias = Mapping[str, Any]
"""One method under one protocol with one learner: field -> value. Null means unknown."""
Texts: TypeAlias = tuple[str, ...]
"""Type of a field with several texts: a list in JSON, joined by `; ` in CSV and frames."""
Number: TypeAlias = float | None
Count: TypeAlias = int | None

Output = Literal["main", "markdown", "page", "console", "texts", "request"]
"""`main`: first table of a task. `texts`: its table about the texts. `request`: the page, once a reader asks for the column."""
Viewpoint = Literal["learner", "source", "transfer", "set"]
EVERYWHERE: frozenset[Output] = frozenset({"markdown", "page", "console"})
MAIN: frozenset[Output] = frozenset({"main", "markdown", "page", "console"})
IN_DOCUMENTS: frozenset[Output] = frozenset({"markdown", "page"})
ON_PAGE: frozenset[Output] = frozenset({"page"})
ON_REQUEST: frozenset[Output] = frozenset({"request"})
OF_TEXTS: frozenset[Output] = frozenset({"texts"})


@dataclass(frozen=True)
class Column:
    """How one fact about a row is shown.

    Attributes:
        heading: Text above the column; `{learner}` is filled in.
        description: One sentence for the legend.
        show: Writes the cell.
        views: Choices of columns on the page that hold it.
        viewpoint: Whose row is read: `learner` makes one column per learner, `source` reads the row of the source learner, or on the page
            of the one that is chosen, `transfer` that of the transfer score, `set` any: it is about the set, whoever is trained on it.
        outputs: Where the column appears.
        optional: True when the column is left out of tables in which every cell is missing.
        tracks: Tracks whose tables have the column; null for all.
        metric: Headline of the tables that have the column; null for all.
        rising: Whether small numbers come first when a reader sorts by it.
        order: Number that sorts the cell, null last; a field's own number by default.
        key: Stable name; the field's by default.
    """

    heading: str
    description: str
    show: Callable[[Row], str]
    views: tuple[str, ...] = ()
    viewpoint: Viewpoint = "source"
    outputs: frozenset[Output] = IN_DOCUMENTS
    optional: bool = False
    tracks: frozenset[str] | None = None
    metric: str | None = None
    rising: bool = False
    order: Callable[[Row], Number] | None = None
    key: str = ""

    def of(self, field: str) -> Column:
        """Returns the column bound to a field: its key and order are the field's unless they were given."""

        def value(row: Row) -> Number:
            return float(row[field]) if isinstance(row[field], int | float) else None

        return replace(self, key=self.key or field, order=self.order or value)

    def number(self, row: Row) -> Number:
        """Returns what sorts the cell of a row."""
        return None if self.order is None else self.order(row)


Rule: TypeAlias = Literal["same", "empty", "mean"] | Callable[[Any], Any]
"""Value on the row of the transfer score: that of the method's other rows (`same`), nothing (`empty`), the mean over its learners, or a
function of `compare.TransferScore`."""


@dataclass(frozen=True)
class Field:
    """One fact of a row, declared once.

    Attributes:
        name: Its key; units are in the name.
        type: Of the value.
        description: For the JSON Schema.
        produce: Computes it: from `measures.Measurement`, or from `compare.Comparison` where `compared`.
        transfer: Value on the row of the transfer score. Of compared fields `same` means that it is computed there as everywhere.
        columns: How it is shown.
        compared: Whether it follows from other rows too.
        infinite: Whether it may be infinite; JSON has no infinity, so that it is written as the text `inf`.
        small: Whether its digits are counted from the first that is not 0.
    """

    name: str
    type: Any
    description: str
    produce: Callable[[Any], Any]
    transfer: Rule = "empty"
    columns: tuple[Column, ...] = ()
    compared: bool = False
    infinite: bool = False
    small: bool = False

    @property
    def empty(self) -> Any:
        """Value where there is nothing to say."""
        return {str: "", bool: False, int: 0, Texts: ()}.get(self.type)

    @property
    def unit(self) -> str:
        """Unit of the value, by its name; empty without one."""
        units = {"_frac": "fraction", "_s": "s", "_gb": "GB", "_usd": "USD", "_bytes": "bytes", "_words": "words"}
        return next((unit for suffix, unit in units.items() if self.name.endswith(suffix)), "")


def budget_order(budget: str) -> tuple[float, str]:
    """Sorts budgets by the number in their name; `all` comes last."""
    if budget == ALL_BUDGET:
        return math.inf, budget
    digits = "".join(character for character in budget if character in "0123456789")
    return float(digits or 0), budget
