"""The fields of a row that say what a distilled text is worth."""

from __future__ import annotations

from typing_extensions import TypedDict


class WorthFields(TypedDict):
    """How many random real texts one distilled text is worth; source learner, budgets in texts a class, where random has a curve."""

    worth: float | None
    """Null where the error lies outside of what random texts were measured at."""
    worth_low: float | None
    """Lower bound of the 95 % interval; null also where it lies below the smallest random set."""
    worth_high: float | None
    """Null also where the bound lies beyond the largest random set."""
    worth_above: float | None
    """Where the whole interval lies beyond the largest random set: a text is worth more than this."""
    worth_below: float | None
    """Where the whole interval lies below the smallest random set: a text is worth less than this."""


NO_WORTH: WorthFields = {"worth": None, "worth_low": None, "worth_high": None, "worth_above": None, "worth_below": None}
"""Of a row before curves are fitted, and of rows that have none beside them."""
