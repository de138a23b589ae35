"""The registry of display columns. Markdown, page and terminal show the same texts under the same headings."""

from __future__ import annotations

from tdbench.leaderboard.column import (
    IN_DOCUMENTS,
    MISSING,
    ON_PAGE,
    TIMES,
    Column,
    bytes_text,
    difference_text,
    duration_text,
    hardware_text,
    llm_text,
    p_text,
    percent,
    reference_text,
    runs_text,
    score_text,
    signs_text,
    standing_text,
    verified_text,
    worth_text,
)
from tdbench.leaderboard.more_columns import MORE_COLUMNS, RANK_COLUMN
from tdbench.leaderboard.privacy_columns import PRIVACY_COLUMNS
from tdbench.leaderboard.text_columns import TEXT_COLUMNS

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
        "unseen_mean",
        "unseen mean",
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
        "worth",
        "worth in random texts",
        "How many random real texts one distilled text is worth: the number with which random selection has the same error by its fitted "
        "curve, for each distilled text, with its 95 % interval; ? beyond what random was measured at.",
        worth_text,
        lambda row: next((row[k] for k in ("worth", "worth_above", "worth_below") if row[k] is not None), None),
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
        "failure_signs",
        "signs of failure",
        "What tells that a method failed, whatever its score: generated texts that are not language (perplexity ten times that of real "
        "texts), an empty one, repetitive ones (a tenth of them), texts drawn by weights that few of the pool carry, a score whose "
        "interval reaches the majority's plus two points, and private rows that are not shown to beat their own controls (epsilon 0, noise "
        "alone), with the difference. References have none; what could not be looked for is said.",
        signs_text,
        lambda row: float(row["failure_signs"].count(";") + 1) if row["failure_signs"] else 0.0,
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
        "made on",
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
        "run again",
        "Trainings of the source learner that were run again from the task's data on (`tdbench reproduce`): reproduced means the same set "
        "and a score within a point; consistent, that rounding on other hardware led to another set or score, which lies where the row's "
        "sets do (95 % prediction interval). The card says when and where.",
        verified_text,
        lambda row: float(row["n_reproduced"] - row["n_not_reproduced"]),
        outputs=IN_DOCUMENTS,
        viewpoint="set",
        optional=True,
    ),
    Column(
        "standing",
        "standing",
        "Ranked, or why not. Incomplete, custom and superseded rows are never ranked; of the options of a method the default has the rank.",
        standing_text,
        lambda row: float(row["ranked"]),
        outputs=IN_DOCUMENTS,
    ),
    *MORE_COLUMNS,
    *TEXT_COLUMNS,
)
