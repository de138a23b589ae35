"""Formats of cells. Markdown, page and terminal show the same texts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tdbench.leaderboard.schema import Row

MISSING = "\N{EN DASH}"
"""In the place of a result that is missing."""
NOT_APPLICABLE = "n/a"
"""A cell that cannot be filled."""
INVALID = "invalid"
"""In the place of results that are not to be believed."""
SAME_SETS = "\N{DAGGER}"
"""Behind an interval over trainings, where all sets are the same."""
TIMES = "\N{MULTIPLICATION SIGN}"


def joined(texts: Iterable[str], separator: str = "; ") -> str:
    """Writes a field of several texts."""
    return separator.join(texts)


def percent(fraction: float | None) -> str:
    """Writes a fraction as a percentage without its sign."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


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
    """Writes how many of a row's trainings were reproduced, such as `2 reproduced`."""
    counts = (
        ("reproduced", row["n_reproduced"]),
        ("consistent", row["n_consistent"]),
        ("NOT reproduced", row["n_not_reproduced"]),
    )
    return ", ".join(f"{count} {name}" for name, count in counts if count) or MISSING


def flags_text(row: Row) -> str:
    """Writes warnings, and what could not be looked for."""
    unchecked = (f"unchecked: {joined(row['flags_unchecked'])}",) if row["flags_unchecked"] else ()
    return joined((*row["failure_flags"], *unchecked)) or MISSING


def status_text(row: Row) -> str:
    """Writes `ranked` or why not."""
    if not row["ranked"]:
        return row["unranked_reason"]
    return "ranked" if not row["options"] else "complete; not the default options"


def hardware_text(row: Row) -> str:
    """Writes the hardware of the sets."""
    return joined(row["distil_hardware"]).replace("(R)", "") or MISSING


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
    return f"{joined(row['llm'], ', ')}: {calls} calls, {' + '.join(counts)} tokens{money}"


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


def distil_flops_text(row: Row) -> str:
    """Writes operations; a lower bound where some were not counted."""
    bound = row["distil_flops_uncounted"] and row["distil_flops_counted"] is not None
    return f"{'≥ ' if bound else ''}{count_text(row['distil_flops_counted'])}"


def count_text(value: float | None) -> str:
    """Writes a large count with its power of ten."""
    return MISSING if value is None else f"{value:.2g}"


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
    """Writes distances in thousandths with the share of sets that the MMD test rejects."""
    rejected = [row["mmd_rejection_minilm_frac"], row["mmd_rejection_words_frac"]]
    values = [None if value is None else 1000 * value for value in (row["mmd2_minilm"], row["mmd2_words"])]
    if all(value is None for value in values):
        return MISSING
    shares = " / ".join(MISSING if share is None else f"{100 * share:.0f} %" for share in rejected)
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


def epsilon_text(row: Row) -> str:
    """Writes a privacy budget, and whether the audit refutes it; methods without a promise have none."""
    epsilon = row["epsilon"]
    if epsilon is None:
        return MISSING
    text = "inf" if math.isinf(float(epsilon)) else f"{float(epsilon):g}"
    return f"{text} REFUTED" if row["claim_refuted"] else text


def copied_text(row: Row) -> str:
    """Writes how many texts of an audited set are members'."""
    copied, released = row["t1_exact_matches"], row["t1_released"]
    return MISSING if copied is None or released is None else f"{copied} of {released:,}"


def auc_text(value: float | None, low: float | None, high: float | None, finds: float | None) -> str:
    """Writes an AUC with its interval; one that may be chance, with what would have been found."""
    if value is None or low is None or high is None:
        return MISSING
    text = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return f"{text}, finds {finds:.3f}" if low <= 0.5 <= high and finds is not None else text


def set_text(row: Row) -> str:
    """Writes the AUC of membership inference on the set."""
    if row["t1_invalid"]:
        return INVALID
    text = auc_text(row["t1_auc"], row["t1_auc_low"], row["t1_auc_high"], row["t1_detectable_auc"])
    return f"{text}, one set" if row["audit_runs"] == 1 and text != MISSING else text


def model_text(row: Row) -> str:
    """Writes the AUC of membership inference on the model."""
    if row["t2_invalid"]:
        return INVALID
    return auc_text(row["t2_auc"], row["t2_auc_low"], row["t2_auc_high"], row["t2_detectable_auc"])


def bound_text(row: Row) -> str:
    """Writes the lower bound on epsilon."""
    bound = row["epsilon_lower"]
    if bound is None:
        return MISSING
    return INVALID if row["t1_invalid"] or row["t2_invalid"] else f"{bound:.2f}"


def rate_text(row: Row) -> str:
    """Writes a true-positive rate."""
    rate = row["t1_tpr_at_1pct"]
    if rate is None:
        return MISSING
    return INVALID if row["t1_invalid"] else f"{100 * rate:.1f} %"
