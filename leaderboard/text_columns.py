"""Columns of the second table: how the texts of sets read, and how varied they are."""

from __future__ import annotations

from collections.abc import Callable

from tdbench.leaderboard.column import MISSING, OF_TEXTS, Column, number_of
from tdbench.leaderboard.schema import Row


def perplexity_text(row: Row) -> str:
    """Writes a perplexity with the real texts' in brackets."""
    value, real = row["judge_perplexity"], row["judge_perplexity_real"]
    return MISSING if value is None or real is None else f"{value:.0f} ({real:.0f})"


def words_text(row: Row) -> str:
    """Writes the mean length with the real texts' in brackets."""
    value, real = row["mean_words"], row["mean_words_real"]
    return MISSING if value is None or real is None else f"{value:.1f} ({real:.1f})"


def vendi_text(row: Row) -> str:
    """Writes how many different texts a set is worth: by sentences, and by words."""
    return _both(row["vendi_minilm"], row["vendi_words"], ".1f")


def distance_text(row: Row) -> str:
    """Writes distances in thousandths with the share of sets that are told from real texts."""
    told = [row["mmd_rejection_minilm_frac"], row["mmd_rejection_words_frac"]]
    values = [None if value is None else 1000 * value for value in (row["mmd2_minilm"], row["mmd2_words"])]
    if all(value is None for value in values):
        return MISSING
    shares = " / ".join(MISSING if share is None else f"{100 * share:.0f} %" for share in told)
    return f"{_both(values[0], values[1], '.1f')}; MMD test rejects in {shares} of sets"


def agreement_text(row: Row) -> str:
    """Writes the share of texts whose label a classifier gives, with that of real texts in brackets."""
    value, real = row["label_agreement_frac"], row["label_agreement_real_frac"]
    return MISSING if value is None or real is None else f"{100 * value:.0f} ({100 * real:.0f})"


def near_text(row: Row) -> str:
    """Writes the shares of texts with a near-duplicate in the train and in the test split."""
    train, test = row["near_train_frac"], row["near_test_frac"]
    if train is None and test is None:
        return MISSING
    return " / ".join(MISSING if share is None else f"{100 * share:.1f}" for share in (train, test))


def _both(left: float | None, right: float | None, form: str) -> str:
    if left is None and right is None:
        return MISSING
    return " / ".join(MISSING if value is None else f"{value:{form}}" for value in (left, right))


def _plain(name: str) -> Callable[[Row], str]:
    """Returns what writes a number of two decimals."""
    return lambda row: MISSING if (value := number_of(row, name)) is None else f"{value:.2f}"


def _column(key: str, heading: str, description: str, show: Callable[[Row], str], number: str) -> Column:
    """Returns a column of the second table; `number` names the field that sorts it."""
    return Column(key, heading, description, show, lambda row: number_of(row, number), "set", OF_TEXTS, optional=True)


TEXT_COLUMNS: tuple[Column, ...] = (
    _column(
        "mean_words",
        "words",
        "Mean words of a text, and of real texts of the task in brackets.",
        words_text,
        "mean_words",
    ),
    _column(
        "distinct_2",
        "distinct-2",
        "Share of different pairs of neighbouring words in the set, 0 to 1.",
        _plain("distinct_2"),
        "distinct_2",
    ),
    _column(
        "self_bleu",
        "self-BLEU",
        "Mean BLEU of a text against the others of its set, 0 to 1: large where texts repeat one another. More texts find more that is "
        "alike, so compare within a budget.",
        _plain("self_bleu_frac"),
        "self_bleu_frac",
    ),
    _column(
        "vendi",
        "Vendi (MiniLM / words)",
        "Vendi score: how many entirely different texts the set is worth, by sentence features of MiniLM and by tf-idf of words. Methods "
        "that select with MiniLM spread in its space by construction; of the words they know nothing.",
        vendi_text,
        "vendi_words",
    ),
    _column(
        "mmd2",
        "distance to real (MiniLM / words)",
        "Unbiased squared MMD to 250 real texts of each class, in thousandths; about 0 for real texts. Told apart: the share of sets that "
        "are further away than real texts would be (permutation test, p at most 0.05).",
        distance_text,
        "mmd2_words",
    ),
    _column(
        "mauve",
        "MAUVE",
        "MAUVE in MiniLM's space, 0 to 1, 1 for real texts; only for sets of more than 200 texts.",
        _plain("mauve_minilm"),
        "mauve_minilm",
    ),
    _column(
        "label_agreement",
        "labels agree",
        "Percent of generated texts to which a classifier of words, trained on the whole train split, gives their label; its accuracy on "
        "held-out real texts in brackets.",
        agreement_text,
        "label_agreement_frac",
    ),
    _column(
        "near_duplicates",
        "near-duplicates (train / test)",
        "Percent of texts with a near-duplicate (Jaccard index of word pairs above 0.8) in the train split, for generated texts, "
        "and in the test split.",
        near_text,
        "near_train_frac",
    ),
    _column(
        "judge_perplexity",
        "perplexity",
        "Perplexity per token of generated texts by a language model of the task that had no part in them, and that of held-out real texts "
        "in brackets. Above it the texts are odd, far below it commonplace.",
        perplexity_text,
        "judge_perplexity",
    ),
)
