"""Signs of failure: what tells that a method did not do what it is for, though its row may look like a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tdbench.leaderboard.column import difference_text
from tdbench.leaderboard.runs import Entry
from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.stats import welch

COLLAPSE_MARGIN_FRAC = 0.02
"""A model at most this far above majority has learnt nothing that the board would call learning."""
ODD_TIMES = 10.0
"""Texts whose perplexity is so many times that of real texts are not language (Ochs and Habernal, 2025)."""
REPETITIVE_FRAC = 0.1
"""Share of repetitive texts from which on a set is called so."""
LEAST_EFFECTIVE = 2.0
"""Effective size of a pool's weights, over the texts that are drawn from it, below which few texts carry the set."""
_PRIVACY = ("epsilon=", "delta=", "group=", "oracle=")


def find_flags(entries: list[Entry]) -> None:
    """Fills `failure_flags` and `flags_unchecked` of all rows in place; references have none.

    Args:
        entries: All entries of the board; a private method's controls (epsilon 0, noise alone) are found among them.
    """
    controls: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.row["private"] and entry.row["reference"] and not entry.row["superseded"]:
            controls[_method_of(entry)].append(entry)
    for entry in entries:
        row = entry.row
        if row["reference"] or row["full_data"]:
            continue
        found = [*_of_texts(row), *_of_score(row)]
        if row["private"]:
            own = list(_own_controls(entry, controls[_method_of(entry)]))
            found += [sign for control in own for sign in _of_control(entry, control)]
            old = row["distinct_2"] is not None and row["empty_frac"] is None
            row["flags_unchecked"] = "; ".join([*["texts"] * old, *["control"] * (not own)])
        row["failure_flags"] = "; ".join(found)


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


def _own_controls(entry: Entry, controls: list[Entry]) -> Iterator[Entry]:
    """Yields the control of epsilon 0, and that of noise alone: the one of the row's own budget, or the best of the others."""
    silent = [one for one in controls if "oracle=noise-only" not in _options(one)]
    noise = [one for one in controls if "oracle=noise-only" in _options(one)]
    same = [one for one in noise if _options(one) - {"oracle=noise-only"} == _options(entry)]
    for found in (silent, same or noise):
        if found:
            yield max(found, key=lambda one: (one.row["score_frac"] or 0.0, one.key.options))


def _of_control(entry: Entry, control: Entry) -> Iterator[str]:
    """Yields a sign where the row is no better; single sets are compared without an interval."""
    difference = welch(entry.units, control.units)
    if difference.value is not None and (difference.value if difference.low is None else difference.low) <= 0:
        what = "noise alone" if "oracle=noise-only" in _options(control) else "epsilon 0"
        shown = difference_text(difference.value, difference.low, difference.high)
        yield f"not shown to beat its control of {what}: {shown}"


def _options(entry: Entry) -> frozenset[str]:
    return frozenset(filter(None, entry.key.options.split(", ")))


def _method_of(entry: Entry) -> tuple[Any, ...]:
    """Returns what a row shares with its controls: all but the promise and the oracle."""
    key = entry.key
    options = sorted(part for part in _options(entry) if not part.startswith(_PRIVACY))
    return (
        key.scope,
        key.data_version,
        key.budget,
        key.track,
        key.method,
        key.method_version,
        *options,
        entry.row["learner"],
    )
