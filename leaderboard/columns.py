"""The registry of display columns. Markdown, page and terminal show the same texts under the same headings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from leaderboard.schema import Row

MISSING = "\N{EN DASH}"
"""A visible hole."""
TIMES = "\N{MULTIPLICATION SIGN}"

Output = Literal["markdown", "page", "console"]
Viewpoint = Literal["learner", "source", "unseen"]
EVERYWHERE: frozenset[Output] = frozenset({"markdown", "page", "console"})
IN_DOCUMENTS: frozenset[Output] = frozenset({"markdown", "page"})
ON_PAGE: frozenset[Output] = frozenset({"page"})


@dataclass(frozen=True)
class Column:
    """How one fact about a row is shown.

    Attributes:
        key: Stable name.
        heading: Text above the column; `{learner}` is filled in.
        description: One sentence for the legend.
        show: Writes the cell.
        order: Number that sorts the cell; null sorts last.
        viewpoint: Whose row is read: `learner` makes one column per learner, `source` reads the source learner's
            row, `unseen` the mean over the others.
        outputs: Where the column appears.
        optional: True when the column is left out of tables in which every cell is missing.
        tracks: Tracks whose tables have the column; null for all.
        metric: Headline of the tables that have the column; null for all.
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


def percent(fraction: float | None) -> str:
    """Writes a fraction as a percentage without its sign."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def score_text(row: Row) -> str:
    """Writes the headline with half the width of its interval, such as `83.1 ± 0.9`."""
    low, high = row["ci_low"], row["ci_high"]
    if row["score_frac"] is None or low is None or high is None:
        return percent(row["score_frac"])
    return f"{percent(row['score_frac'])} ± {percent((high - low) / 2)}"


def difference_text(value: float | None, low: float | None, high: float | None) -> str:
    """Writes a difference in points with its interval, such as `+4.2 [1.0, 7.4]`."""
    if value is None:
        return MISSING
    points = f"{100 * value + 0.0:+.1f}"
    return points if low is None or high is None else f"{points} [{100 * low + 0.0:.1f}, {100 * high + 0.0:.1f}]"


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


def epsilon_text(row: Row) -> str:
    """Writes a privacy budget; methods without a promise have none."""
    epsilon = row["epsilon"]
    if epsilon is None:
        return MISSING
    return "inf" if math.isinf(float(epsilon)) else f"{float(epsilon):g}"


def runs_text(row: Row) -> str:
    """Writes how many sets and seeds stand behind a row."""
    return f"{row['n_sets']} {TIMES} {row['n_seeds']}" if row["n_sets"] else MISSING


def standing_text(row: Row) -> str:
    """Writes `ranked` or why not."""
    return "ranked" if row["ranked"] else row["unranked_reason"]


def perplexity_text(row: Row) -> str:
    """Writes a perplexity with the real texts' in brackets."""
    value, real = row["judge_perplexity"], row["judge_perplexity_real"]
    return MISSING if value is None or real is None else f"{value:.0f} ({real:.0f})"


def _audit_text(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


COLUMNS: tuple[Column, ...] = (
    Column(
        "score",
        "{learner}",
        "Test accuracy in percent (macro-F1 where the table says so) of a model of this kind trained on the distilled set, "
        "with half the width of its 95 % t interval over distilled sets (over seeds for deterministic methods).",
        score_text,
        lambda row: row["score_frac"],
        viewpoint="learner",
    ),
    Column(
        "accuracy",
        "accuracy",
        "Test accuracy in percent where the score is macro-F1; source learner.",
        lambda row: percent(row["accuracy_frac"]),
        lambda row: row["accuracy_frac"],
        metric="macro_f1_frac",
    ),
    Column(
        "macro_f1",
        "macro-F1",
        "Mean over classes of F1 in percent; source learner.",
        lambda row: percent(row["macro_f1_frac"]),
        lambda row: row["macro_f1_frac"],
        outputs=IN_DOCUMENTS,
        metric="accuracy_frac",
    ),
    Column(
        "unseen_mean",
        "unseen mean",
        "Mean score over the learners that the method did not distil with. A learner enters only where random with "
        "50 texts per class beats majority by 5 points (without that run: random at the table's own budget). One "
        "missing learner leaves a hole, never a partial mean.",
        score_text,
        lambda row: row["score_frac"],
        viewpoint="unseen",
    ),
    Column(
        "diff_random",
        "Δ random",
        "Difference to random selection in points, with its 95 % Welch interval; source learner.",
        lambda row: difference_text(row["diff_random"], row["diff_random_low"], row["diff_random_high"]),
        lambda row: row["diff_random"],
    ),
    Column(
        "diff_kmeans",
        "Δ kmeans",
        "The same difference to k-means medoids.",
        lambda row: difference_text(row["diff_kmeans"], row["diff_kmeans_low"], row["diff_kmeans_high"]),
        lambda row: row["diff_kmeans"],
    ),
    Column(
        "diff_reference",
        "Δ reference",
        "The same difference to the track's own reference: random with teacher labels (text+soft) or the class-mean "
        "sequence (learner-bound).",
        lambda row: difference_text(row["diff_reference"], row["diff_reference_low"], row["diff_reference_high"]),
        lambda row: row["diff_reference"],
        tracks=frozenset({"text+soft", "learner-bound"}),
    ),
    Column(
        "p_holm",
        "p (Holm)",
        "Two-sided Welch p value of the difference to the track's reference, Holm-adjusted over all methods and "
        "learners of the table.",
        lambda row: p_text(row["p_holm"]),
        lambda row: row["p_holm"],
        outputs=IN_DOCUMENTS,
    ),
    Column(
        "gap_closed",
        "gap closed",
        "Share of the way from random (0 %) to training on all data (100 %); source learner.",
        lambda row: MISSING if row["gap_closed_frac"] is None else f"{100 * row['gap_closed_frac']:.0f} %",
        lambda row: row["gap_closed_frac"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "collapse",
        "collapsed",
        "Share of trained models that stay within two points of always predicting the most frequent class, or below.",
        lambda row: MISSING if row["collapse_frac"] is None else f"{100 * row['collapse_frac']:.0f} %",
        lambda row: row["collapse_frac"],
        outputs=ON_PAGE,
    ),
    Column(
        "epsilon",
        "ε",
        "Privacy budget of the distilled set; smaller is stricter.",
        epsilon_text,
        lambda row: None if row["epsilon"] is None else float(row["epsilon"]),
        optional=True,
    ),
    Column(
        "t1_auc",
        "MIA set",
        "AUC of membership inference on the distilled set; 0.5 is no leak.",
        lambda row: _audit_text(row["t1_auc"]),
        lambda row: row["t1_auc"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "t2_auc",
        "MIA model",
        "AUC of membership inference on the trained model; 0.5 is no leak.",
        lambda row: _audit_text(row["t2_auc"]),
        lambda row: row["t2_auc"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "judge_perplexity",
        "perplexity",
        "Perplexity per token of generated texts by a language model of the task that had no part in them, and that of held-out real texts "
        "in brackets. Above it the texts are odd, far below it commonplace.",
        perplexity_text,
        lambda row: row["judge_perplexity"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "distinct_2",
        "distinct-2",
        "Share of different pairs of neighbouring words in generated texts, 0 to 1.",
        lambda row: MISSING if row["distinct_2"] is None else f"{row['distinct_2']:.2f}",
        lambda row: row["distinct_2"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "distil_wall",
        "distil time",
        "Wall time to distil one set, models and caches at their first cost. Compare within one device only.",
        lambda row: duration_text(row["distil_wall_s"]),
        lambda row: row["distil_wall_s"],
    ),
    Column(
        "train_wall",
        "train time",
        "Wall time to train the source learner once and read the test split.",
        lambda row: duration_text(row["train_wall_s"]),
        lambda row: row["train_wall_s"],
        outputs=ON_PAGE,
    ),
    Column(
        "runs",
        f"sets {TIMES} seeds",
        "Distilled sets, and trained models per set.",
        runs_text,
        lambda row: float(row["n_sets"] * row["n_seeds"]),
        outputs=IN_DOCUMENTS,
    ),
    Column(
        "standing",
        "standing",
        "Ranked, or why not. Incomplete, custom and superseded rows are never ranked.",
        standing_text,
        lambda row: float(row["ranked"]),
        outputs=IN_DOCUMENTS,
    ),
)
