"""The registry of display columns. Markdown, page and terminal show the same texts under the same headings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tdbench.leaderboard.column import (
    IN_DOCUMENTS,
    MISSING,
    ON_PAGE,
    ON_REQUEST,
    TIMES,
    Column,
    bytes_text,
    data_equivalence_text,
    difference_text,
    duration_text,
    flags_text,
    hardware_text,
    llm_text,
    number_of,
    p_text,
    percent,
    reference_text,
    reproductions_text,
    runs_text,
    score_text,
    status_text,
)
from tdbench.leaderboard.privacy_columns import PRIVACY_COLUMNS
from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.text_columns import TEXT_COLUMNS

EQUIVALENCES = ("data_equivalence", "data_equivalence_above", "data_equivalence_below")


def rank_text(row: Row) -> str:
    """Writes a rank with the places that the data leave open."""
    return MISSING if row["rank"] is None else f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"


def trainings_text(trainings: float | None, least: bool = False) -> str:
    """Writes a break-even point; `least` for one that rests on a lower bound of the cost."""
    if trainings is None:
        return MISSING
    if math.isinf(trainings):
        return "never"
    return f"{'≥ ' if least else ''}{trainings:,.0f}"


def count_text(value: float | None) -> str:
    """Writes a large count with its power of ten."""
    return MISSING if value is None else f"{value:.2g}"


def _gap(key: str, heading: str, description: str) -> Column:
    """Returns the column of a gap that has an interval."""

    def show(row: Row) -> str:
        return difference_text(number_of(row, key), number_of(row, f"{key}_low"), number_of(row, f"{key}_high"))

    return _asked(key, heading, description, show)


def _asked(key: str, heading: str, description: str, show: Callable[[Row], str]) -> Column:
    """Returns a column that the page shows on request."""
    return Column(
        key,
        heading,
        description,
        show,
        lambda row: number_of(row, key),
        outputs=ON_REQUEST,
        optional=True,
        viewpoint="set" if key.startswith("distil") else "source",
        rising=key.endswith(("_s", "_gb", "_flops", "_cpu", "_counted")),
    )


def _pays(against: str, unit: str, name: str, others: str) -> Column:
    key = f"breakeven_{against}_{unit}"

    def show(row: Row) -> str:
        return trainings_text(
            number_of(row, key), key == "breakeven_full_flops" and bool(row["distil_flops_uncounted"])
        )

    return _asked(key, f"break-even against {against}, {name}", f"The same in {name}, against {others}.", show)


RANK_COLUMN = Column(
    "rank",
    "rank",
    "Place among the ranked default configurations of the table, with the places that pairwise Welch tests leave open (Holm over all "
    "pairs, 5 %); source learner. Other options of a method have no place of their own.",
    rank_text,
    lambda row: row["rank"],
    outputs=IN_DOCUMENTS,
    optional=True,
    rising=True,
)

MORE_COLUMNS: tuple[Column, ...] = (
    Column(
        "breakeven_full_cpu",
        "break-even (trainings)",
        "Trainings of the source learner from which on making the set and training on it has cost no more processor time than training on "
        "all data as often; said only where both were measured on the same hardware. It says nothing about the score.",
        lambda row: trainings_text(row["breakeven_full_cpu"]),
        lambda row: row["breakeven_full_cpu"],
        outputs=IN_DOCUMENTS,
        optional=True,
        rising=True,
    ),
    _pays("full", "gpu", "GPU time", "training on all data"),
    _pays("full", "flops", "FLOPs", "training on all data; at least, where some of the work was not counted"),
    _pays("kmeans", "cpu", "processor time", "K-means medoids; never, where a training costs no less than one on them"),
    _pays("kmeans", "gpu", "GPU time", "K-means medoids"),
    _pays("kmeans", "flops", "FLOPs", "K-means medoids; only where all operations were counted"),
    Column(
        "discretisation_gap",
        "discretisation gap",
        "Discretisation gap in points, with its 95 % Welch interval: score of the same method's token vectors less that of its texts; "
        "source learner. Options differ in the output, and for the default in what token vectors need.",
        lambda row: difference_text(
            row["discretisation_gap"], row["discretisation_gap_low"], row["discretisation_gap_high"]
        ),
        lambda row: row["discretisation_gap"],
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    _gap(
        "transfer_gap",
        "transfer gap",
        "Score of the source learner less the transfer score, in points, paired by set, with its 95 % t interval.",
    ),
    _gap(
        "transfer_excess",
        "transfer gap over random",
        "The transfer gap less that of random texts: what a set gives the learner it was distilled with and no other. 95 % Welch interval.",
    ),
    _asked(
        "hard_label_recovery_frac",
        "of full",
        "Score in percent of that of training on all data, at most 100; hard labels only.",
        lambda row: percent(row["hard_label_recovery_frac"]),
    ),
    _asked(
        "gain_random_frac",
        "gain over random",
        "Percent of random selection's errors that are gone; below random, minus the percent of its score that is lost.",
        lambda row: percent(row["gain_random_frac"]),
    ),
    _asked(
        "distil_cpu_s",
        "distil CPU time",
        "Processor time to distil one set, all cores together.",
        lambda row: duration_text(row["distil_cpu_s"]),
    ),
    _asked(
        "distil_gpu_s", "distil GPU time", "GPU time to distil one set.", lambda row: duration_text(row["distil_gpu_s"])
    ),
    _asked(
        "distil_peak_gb",
        "distil memory",
        "Largest resident memory while a set was distilled, in GB.",
        lambda row: MISSING if row["distil_peak_gb"] is None else f"{row['distil_peak_gb']:.1f}",
    ),
    _asked(
        "distil_flops_counted",
        "distil FLOPs",
        "Operations of distilling one set, as far as they were counted; the card names what was not.",
        lambda row: (
            ("≥ " if row["distil_flops_uncounted"] and row["distil_flops_counted"] is not None else "")
            + count_text(row["distil_flops_counted"])
        ),
    ),
    _asked(
        "train_cpu_s",
        "train CPU time",
        "Processor time to train the source learner once and read the test split.",
        lambda row: duration_text(row["train_cpu_s"]),
    ),
    _asked("train_flops", "train FLOPs", "Operations of the same.", lambda row: count_text(row["train_flops"])),
)

COLUMNS: tuple[Column, ...] = (
    Column(
        "score",
        "{learner}",
        "Test accuracy in percent (macro-F1 where the table says so) of a model of this kind trained on the distilled set, "
        "with half the width of its 95 % t interval over distilled sets; † where all sets are the same: over trainings.",
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
        "transfer",
        "transfer score",
        "Mean score over the learners that the method did not distil with. A learner enters only where random with "
        "50 texts per class beats majority by 5 points (without that run: random at the table's own budget). One "
        "missing learner leaves a hole, never a partial mean.",
        score_text,
        lambda row: row["score_frac"],
        viewpoint="unseen",
    ),
    RANK_COLUMN,
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
        "The same difference to the reference with the same extras: random with teacher labels (text+soft); or the best of "
        "the class-mean sequence and the method's own references, which learn all but the vectors (learner-bound).",
        reference_text,
        lambda row: row["diff_reference"],
        tracks=frozenset({"text+soft", "learner-bound"}),
    ),
    Column(
        "p_holm",
        "p (Holm)",
        "Two-sided Welch p value of the difference to the track's reference, Holm-adjusted over the ranked default configurations and all "
        "learners of the table; other rows among themselves. Missing where the reference lacks sets.",
        lambda row: p_text(row["p_holm"]),
        lambda row: row["p_holm"],
        outputs=IN_DOCUMENTS,
        rising=True,
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
        "data_equivalence",
        "equivalent random samples",
        "How many random real texts one distilled text is worth: the number with which random selection has the same error by its fitted "
        "curve, for each distilled text, with its 95 % interval; ? beyond what random was measured at.",
        data_equivalence_text,
        lambda row: next(
            (
                row[k]
                for k in ("data_equivalence", "data_equivalence_above", "data_equivalence_below")
                if row[k] is not None
            ),
            None,
        ),
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
        rising=True,
    ),
    *PRIVACY_COLUMNS,
    Column(
        "failure_flags",
        "warnings",
        "What tells that a method failed, whatever its score: generated texts that are not language (perplexity ten times that of real "
        "texts), an empty one, repetitive ones (a tenth of them), texts drawn by weights that few of the pool carry, a score whose "
        "interval reaches the majority's plus two points, and private rows that are not shown to beat their own controls (epsilon 0, noise "
        "alone), with the difference. References have none; what could not be looked for is said.",
        flags_text,
        lambda row: float(row["failure_flags"].count(";") + 1) if row["failure_flags"] else 0.0,
        outputs=IN_DOCUMENTS,
        optional=True,
    ),
    Column(
        "n_bytes",
        "size",
        "Mean bytes of a set, with all labels, step sizes and attention that it brings; real rows count as their text.",
        lambda row: bytes_text(row["n_bytes"]),
        lambda row: row["n_bytes"],
        outputs=IN_DOCUMENTS,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "distil_wall",
        "distil time",
        "Wall time to distil one set, models and caches at their first cost. Compare within one device only.",
        lambda row: duration_text(row["distil_wall_s"]),
        lambda row: row["distil_wall_s"],
        viewpoint="set",
        rising=True,
    ),
    Column(
        "hardware",
        "hardware",
        "What sets were made on: processor with the cores that the run could use, or GPU. Times compare within one kind only; where two "
        "are named, times are means over both.",
        hardware_text,
        lambda _: None,
        viewpoint="set",
        outputs=IN_DOCUMENTS,
    ),
    Column(
        "llm",
        "language model",
        "Language models that were asked, with calls and tokens (asked + replied) for one set as if every reply had been asked for anew, "
        "and US dollars where prices were given.",
        llm_text,
        lambda row: row["llm_calls"],
        outputs=IN_DOCUMENTS,
        optional=True,
        viewpoint="set",
        rising=True,
    ),
    Column(
        "train_wall",
        "train time",
        "Wall time to train the source learner once and read the test split.",
        lambda row: duration_text(row["train_wall_s"]),
        lambda row: row["train_wall_s"],
        outputs=ON_PAGE,
        rising=True,
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
        "verified",
        "reproduced",
        "Trainings of the source learner that were run again from the task's data on (`tdbench reproduce`): reproduced means the same set "
        "and a score within a point; consistent, that rounding on other hardware led to another set or score, which lies where the row's "
        "sets do (95 % prediction interval). The card says when and where.",
        reproductions_text,
        lambda row: float(row["n_reproduced"] - row["n_not_reproduced"]),
        outputs=IN_DOCUMENTS,
        viewpoint="set",
        optional=True,
    ),
    Column(
        "status",
        "status",
        "Ranked, or why not. Incomplete, custom and superseded rows are never ranked; of the options of a method the default has the rank.",
        status_text,
        lambda row: float(row["ranked"]),
        outputs=IN_DOCUMENTS,
    ),
    *MORE_COLUMNS,
    *TEXT_COLUMNS,
)


@dataclass(frozen=True)
class View:
    """A choice of columns with a name; the page keeps their order."""

    name: str
    keys: frozenset[str]


_WHO = ("score", "transfer", "rank")

VIEWS = (
    View(
        "overview",
        frozenset(
            {
                *(*_WHO, "accuracy", "diff_random", "diff_reference", "epsilon", "copied", "t1_auc"),
                *("distil_wall", "hardware", "verified", "status"),
            }
        ),
    ),
    View(
        "cost",
        frozenset({"score", "rank", "hardware", "llm", "n_bytes"})
        | {column.key for column in COLUMNS if column.key.startswith(("distil_", "train_", "breakeven"))},
    ),
    View(
        "transfer",
        frozenset(
            {
                *_WHO,
                "transfer_gap",
                "transfer_excess",
                "discretisation_gap",
                "gap_closed",
                "data_equivalence",
                "collapse",
            }
        ),
    ),
    View(
        "privacy",
        frozenset({"score", "epsilon", "copied", "t1_auc", "t1_tpr", "t2_auc", "epsilon_lower", "failure_flags"}),
    ),
    View("texts", frozenset({"score", "failure_flags"}) | {column.key for column in TEXT_COLUMNS}),
    View(
        "statistics",
        frozenset(
            {
                *(*_WHO, "macro_f1", "diff_random", "diff_kmeans", "diff_reference", "p_holm", "gap_closed", "runs"),
                *("hard_label_recovery_frac", "gain_random_frac", "status"),
            }
        ),
    ),
    View("everything", frozenset(column.key for column in COLUMNS)),
)
"""The first is what readers see before they choose."""
