"""Columns about places, gaps, and what it takes for a distilled set to pay off."""

from __future__ import annotations

import math
from collections.abc import Callable

from tdbench.leaderboard.column import (
    IN_DOCUMENTS,
    MISSING,
    ON_REQUEST,
    Column,
    difference_text,
    duration_text,
    number_of,
    percent,
)
from tdbench.leaderboard.schema import Row


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

    return _asked(key, f"pays off against {against}, {name}", f"The same in {name}, against {others}.", show)


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
        "pays off after",
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
        "lost to words",
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
        "Score of the source learner less the unseen mean, in points, paired by set, with its 95 % t interval.",
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
