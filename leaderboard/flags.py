"""Failure flags: what tells that a method did not do what it is for, though its row may look like a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tdbench.leaderboard.columns import difference_text
from tdbench.leaderboard.measures import COLLAPSE_MARGIN_FRAC
from tdbench.leaderboard.runs import Entry, options_text
from tdbench.leaderboard.schema import Row, Texts
from tdbench.leaderboard.stats import welch

ODD_TIMES = 10.0
"""Texts whose perplexity is so many times that of real texts are not language (Ochs and Habernal, 2025)."""
REPETITIVE_FRAC = 0.1
"""Share of repetitive texts from which on a set is called so."""
LEAST_EFFECTIVE = 2.0
"""Effective size of a pool's weights, over the texts that are drawn from it, below which few texts carry the set."""
_PRIVACY = ("epsilon", "delta", "group", "oracle")
"""Options in which a private row and its controls differ."""


class Controls:
    """Controls of private rows: the same method at epsilon 0, and with noise alone.

    Args:
        entries: All rows of the board.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_method: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.row["private"] and entry.row["reference"] and not entry.row["superseded"]:
                self._by_method[_method_of(entry)].append(entry)

    def of(self, entry: Entry) -> list[Entry]:
        """Returns the control of epsilon 0, and that of noise alone: the one of the row's own budget, or the best of the others."""
        controls = self._by_method.get(_method_of(entry), []) if entry.row["private"] else []
        zero_budget = [one for one in controls if not _is_noise(one)]
        noise = [one for one in controls if _is_noise(one)]
        same = [one for one in noise if _without(one.options, ("oracle",)) == entry.options]
        return [
            max(group, key=lambda one: (one.row["score_frac"] or 0.0, one.key.options))
            for group in (zero_budget, same or noise)
            if group
        ]


def failure_flags(entry: Entry, controls: Iterable[Entry]) -> Texts:
    """Returns what tells that a row's method failed; references have none.

    Args:
        entry: The row.
        controls: Of a private row.
    """
    row = entry.row
    if row["reference"] or row["full_data"]:
        return ()
    return (*_of_texts(row), *_of_score(row), *(flag for control in controls for flag in _of_control(entry, control)))


def _of_texts(row: Row) -> Iterator[str]:
    judged, real = row["judge_perplexity"], row["judge_perplexity_real"]
    if judged is not None and real and judged >= ODD_TIMES * real:
        yield f"not language: perplexity {judged / real:.0f} times that of real texts"
    if row["empty_frac"]:
        share = 100 * row["empty_frac"]
        yield f"empty texts: {'under 0.1' if share < 0.1 else f'{share:.1f}'} %"
    ratio = row["effective_ratio"]
    if ratio is not None and ratio < LEAST_EFFECTIVE:
        yield f"few texts carry the weights: effective size {ratio:.1f} times the texts drawn, below {LEAST_EFFECTIVE:.0f}"
    if row["repetitive_frac"] is not None and row["repetitive_frac"] >= REPETITIVE_FRAC:
        yield f"repetitive texts: {100 * row['repetitive_frac']:.0f} %"


def _of_score(row: Row) -> Iterator[str]:
    low = row["score_frac"] if row["ci_low"] is None else row["ci_low"]
    majority = row["majority_frac"]
    if low is not None and majority is not None and low <= majority + COLLAPSE_MARGIN_FRAC:
        what = "its score" if row["ci_low"] is None else "the interval"
        least = f"{100 * majority:.1f} plus {100 * COLLAPSE_MARGIN_FRAC:.0f}"
        yield f"may be chance: {what} does not keep clear of the most frequent class's {least}"


def _of_control(entry: Entry, control: Entry) -> Iterator[str]:
    """Yields a flag where the row is no better; single sets are compared without an interval."""
    difference = welch(entry.units, control.units)
    if difference.value is not None and (difference.value if difference.low is None else difference.low) <= 0:
        what = "noise alone" if _is_noise(control) else "epsilon 0"
        shown = difference_text(difference.value, difference.low, difference.high)
        yield f"not shown to beat its control of {what}: {shown}"


def _is_noise(control: Entry) -> bool:
    return control.options.get("oracle") == "noise-only"


def _without(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


def _method_of(entry: Entry) -> tuple[Any, ...]:
    """Returns what a row shares with its controls: all but the promise and the oracle."""
    key, options = entry.key, options_text(_without(entry.options, _PRIVACY))
    return key.scope, key.data_version, key.budget, key.track, key.method, key.method_version, options, entry.learner
