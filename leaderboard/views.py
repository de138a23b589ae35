"""Choices of columns that the page offers."""

from __future__ import annotations

from dataclasses import dataclass

from tdbench.leaderboard.columns import COLUMNS
from tdbench.leaderboard.text_columns import TEXT_COLUMNS


@dataclass(frozen=True)
class View:
    """A choice of columns with a name; the page keeps their order."""

    name: str
    keys: frozenset[str]


_WHO = ("score", "unseen_mean", "rank")
VIEWS = (
    View(
        "overview",
        frozenset(
            {
                *(*_WHO, "accuracy", "diff_random", "diff_reference", "epsilon", "copied", "t1_auc"),
                *("distil_wall", "hardware", "verified", "standing"),
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
        frozenset({*_WHO, "transfer_gap", "transfer_excess", "discretisation_gap", "gap_closed", "worth", "collapse"}),
    ),
    View(
        "privacy",
        frozenset({"score", "epsilon", "copied", "t1_auc", "t1_tpr", "t2_auc", "epsilon_lower", "failure_signs"}),
    ),
    View("texts", frozenset({"score", "failure_signs"}) | {column.key for column in TEXT_COLUMNS}),
    View(
        "statistics",
        frozenset(
            {
                *(*_WHO, "macro_f1", "diff_random", "diff_kmeans", "diff_reference", "p_holm", "gap_closed", "runs"),
                *("hard_label_recovery_frac", "gain_random_frac", "standing"),
            }
        ),
    ),
    View("everything", frozenset(column.key for column in COLUMNS)),
)
"""The first is what readers see before they choose."""
