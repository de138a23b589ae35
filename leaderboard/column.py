"""What a display column is, and how numbers are written in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tdbench.leaderboard.schema import Row

MISSING = "\N{EN DASH}"
"""A visible hole."""
NOT_APPLICABLE = "n/a"
"""A cell that cannot be filled."""
SAME_SETS = "\N{DAGGER}"
"""Behind an interval over trainings, where all sets are the same."""
TIMES = "\N{MULTIPLICATION SIGN}"

Output = Literal["markdown", "page", "console", "texts", "request"]
"""`texts`: the second table of a document, about the texts themselves. `request`: the page, once a reader asks for the column."""
Viewpoint = Literal["learner", "source", "unseen", "set"]
EVERYWHERE: frozenset[Output] = frozenset({"markdown", "page", "console"})
IN_DOCUMENTS: frozenset[Output] = frozenset({"markdown", "page"})
ON_PAGE: frozenset[Output] = frozenset({"page"})
ON_REQUEST: frozenset[Output] = frozenset({"request"})
OF_TEXTS: frozenset[Output] = frozenset({"texts"})


@dataclass(frozen=True)
class Column:
    """How one fact about a row is shown.

    Attributes:
        key: Stable name.
        heading: Text above the column; `{learner}` is filled in.
        description: One sentence for the legend.
        show: Writes the cell.
        order: Number that sorts the cell; null sorts last.
        viewpoint: Whose row is read: `learner` makes one column per learner, `source` reads the row of the source learner, or on the page
            of the one that is chosen, `unseen` the mean over the others, `set` any: it is about the set, whoever is trained on it.
        outputs: Where the column appears.
        optional: True when the column is left out of tables in which every cell is missing.
        tracks: Tracks whose tables have the column; null for all.
        metric: Headline of the tables that have the column; null for all.
        rising: Whether small numbers come first when a reader sorts by it.
    """

    key: str
    heading: str
    description: str
    show: Callable[[Row], str]
    order: Callable[[Row], float | None]
    viewpoint: Viewpoint = "source"
    outputs: frozenset[Output] = EVERYWHERE
    optional: bool = False
    tracks: frozenset[str] | None = None
    metric: str | None = None
    rising: bool = False


def percent(fraction: float | None) -> str:
    """Writes a fraction as a percentage without its sign."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def number_of(row: Row, name: str) -> float | None:
    """Returns a field of numbers by its name."""
    return row[name]  # type: ignore[literal-required]


def shortened(text: str, most: int = 30) -> str:
    """Cuts a label of a figure to a number of letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def score_text(row: Row) -> str:
    """Writes the headline with half the width of its interval, such as `83.1 ± 0.9`; its bounds where they are cut."""
    low, high = row["ci_low"], row["ci_high"]
    if row["score_frac"] is None or low is None or high is None:
        return percent(row["score_frac"])
    mark = SAME_SETS if row["n_distinct_sets"] == 1 else ""
    if abs(row["score_frac"] - (low + high) / 2) > 1e-6:  # cut at 0 or 1
        return f"{percent(row['score_frac'])} [{percent(low)}, {percent(high)}]{mark}"
    return f"{percent(row['score_frac'])} ± {percent((high - low) / 2)}{mark}"


def difference_text(value: float | None, low: float | None, high: float | None) -> str:
    """Writes a difference in points with its interval, such as `+4.2 [1.0, 7.4]`."""
    if value is None:
        return MISSING
    points = f"{100 * value + 0.0:+.1f}"
    return points if low is None or high is None else f"{points} [{100 * low + 0.0:.1f}, {100 * high + 0.0:.1f}]"


def reference_text(row: Row) -> str:
    """Writes the difference to the row's own reference, and which that is."""
    text = difference_text(row["diff_reference"], row["diff_reference_low"], row["diff_reference_high"])
    return text if not row["diff_reference_to"] else f"{text} to {row['diff_reference_to']}"


def bytes_text(n_bytes: float | None) -> str:
    """Writes a size in thousands of bytes."""
    return MISSING if n_bytes is None else f"{n_bytes / 1000:.{1 if n_bytes < 1e5 else 0}f} kB"


def duration_text(seconds: float | None) -> str:
    """Writes a duration with a unit that keeps it short."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def p_text(p: float | None) -> str:
    """Writes a p value with three decimals."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def runs_text(row: Row) -> str:
    """Writes how many sets and seeds stand behind a row."""
    return f"{row['n_sets']} {TIMES} {row['n_seeds']}" if row["n_sets"] else MISSING


def reproductions_text(row: Row) -> str:
    """Writes how many of a row's trainings were run again, such as `2 reproduced`."""
    counts = (
        ("reproduced", row["n_reproduced"]),
        ("consistent", row["n_consistent"]),
        ("NOT reproduced", row["n_not_reproduced"]),
    )
    return ", ".join(f"{count} {name}" for name, count in counts if count) or MISSING


def flags_text(row: Row) -> str:
    """Writes signs of failure, and what could not be looked for."""
    unchecked = f"unchecked: {row['flags_unchecked']}" if row["flags_unchecked"] else ""
    return "; ".join(filter(None, (row["failure_flags"], unchecked))) or MISSING


def status_text(row: Row) -> str:
    """Writes `ranked` or why not."""
    if not row["ranked"]:
        return row["unranked_reason"]
    return "ranked" if not row["options"] else "complete; not the default options"


def hardware_text(row: Row) -> str:
    """Writes what a set was made on."""
    return row["distil_hardware"].replace("(R)", "") or MISSING


def data_equivalence_text(row: Row) -> str:
    """Writes what a text is worth in random ones, such as `2.3 [1.8, 3.1]`, or `> 5` and `< 0.1` beyond what was measured."""
    for sign, bound in ((">", row["data_equivalence_above"]), ("<", row["data_equivalence_below"])):
        if bound is not None:
            return f"{sign} {bound:.3g}"
    if row["data_equivalence"] is None and row["data_equivalence_low"] is None and row["data_equivalence_high"] is None:
        return MISSING
    low = "?" if row["data_equivalence_low"] is None else f"{row['data_equivalence_low']:.2g}"
    high = "?" if row["data_equivalence_high"] is None else f"{row['data_equivalence_high']:.2g}"
    value = "?" if row["data_equivalence"] is None else f"{row['data_equivalence']:.2g}"
    return f"{value} [{low}, {high}]" if (low, high) != ("?", "?") else value


def llm_text(row: Row) -> str:
    """Writes who was asked and how much, such as `task-lm: 96 calls, 200 + 2,100 tokens`."""
    if not row["llm"]:
        return MISSING
    counts = [MISSING if value is None else f"{value:,.0f}" for value in (row["llm_tokens_in"], row["llm_tokens_out"])]
    money = "" if row["llm_usd"] is None else f", {row['llm_usd']:.2f} US dollars"
    calls = MISSING if row["llm_calls"] is None else f"{row['llm_calls']:,.0f}"
    return f"{row['llm']}: {calls} calls, {' + '.join(counts)} tokens{money}"
