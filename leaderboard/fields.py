"""Registry of fields: name, type, meaning, producer, rule for the transfer score, and how the field is shown.

A new measure is an entry here, a producer in `measures.py` or `compare.py`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tdbench.leaderboard import columns as show
from tdbench.leaderboard.columns import MISSING, TIMES, difference_text, duration_text, percent
from tdbench.leaderboard.compare import Comparison, TransferScore
from tdbench.leaderboard.measures import (
    Measurement,
    counted_flops,
    distinct,
    largest,
    machine,
    mean,
    mean_calls,
    mean_cost,
    peak,
    training_flops,
    uncounted_phases,
)
from tdbench.leaderboard.schema import (
    EVERYWHERE,
    MAIN,
    MIXED,
    OF_TEXTS,
    ON_PAGE,
    ON_REQUEST,
    TRANSFER,
    Column,
    Count,
    Field,
    Number,
    Row,
    Rule,
    Texts,
)
from tdbench.leaderboard.stats import Difference, MeanInterval

_OF_SET: Any = {"viewpoint": "set", "optional": True, "rising": True}


def _measured(
    name: str, kind: Any, text: str, produce: Callable[[Measurement], Any], rule: Rule, *columns: Column, **more: Any
) -> Field:
    return Field(name, kind, text, produce, rule, columns, **more)


def _compared(
    name: str, kind: Any, text: str, produce: Callable[[Comparison], Any], rule: Rule, *columns: Column, **more: Any
) -> Field:
    return Field(name, kind, text, produce, rule, columns, compared=True, **more)


def _interval(
    name: str,
    text: str,
    interval: str,
    produce: Callable[[Comparison], Difference | MeanInterval],
    *columns: Column,
    rule: Rule = "same",
) -> tuple[Field, ...]:
    """Declares a compared value with the bounds of its interval."""

    def value(context: Comparison) -> Number:
        found = produce(context)
        return found.mean if isinstance(found, MeanInterval) else found.value

    low = _compared(f"{name}_low", Number, f"Lower bound of the {interval}.", lambda c: produce(c).low, rule)
    high = _compared(f"{name}_high", Number, "Upper bound of the same.", lambda c: produce(c).high, rule)
    return _compared(name, Number, text, value, rule, *columns), low, high


def _with_interval(name: str) -> Callable[[Row], str]:
    return lambda row: difference_text(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _duration(name: str) -> Callable[[Row], str]:
    return lambda row: duration_text(row[name])


def _percent(name: str) -> Callable[[Row], str]:
    return lambda row: percent(row[name])


def _whole_percent(name: str) -> Callable[[Row], str]:
    return lambda row: MISSING if row[name] is None else f"{100 * row[name]:.0f} %"


def _decimals(name: str, digits: int = 2) -> Callable[[Row], str]:
    return lambda row: MISSING if row[name] is None else f"{row[name]:.{digits}f}"


def _of_audit(name: str, kind: Any, text: str, produce: Callable[[Any], Any], *columns: Column, **more: Any) -> Field:
    """Declares what an audit found; null where there is none."""
    return _measured(name, kind, text, lambda m: m.audit and produce(m.audit), "same", *columns, **more)


def _of_attack(name: str, text: str, attribute: str, *columns: Column) -> Field:
    """Declares a number of the headline attack on the set (`t1_`), or on the model (`t2_`), which is about the audited learner alone."""
    if name.startswith("t1_"):
        produce: Callable[[Measurement], Any] = lambda m: m.set_attack and getattr(m.set_attack, attribute)  # noqa: E731
        return _measured(name, Number, text, produce, "same", *columns)
    return _measured(
        name, Number, text, lambda m: m.model_attack and getattr(m.model_attack, attribute), "empty", *columns
    )


def _request(text: str, description: str, write: Callable[[Row], str], *views: str, **more: Any) -> Column:
    """Declares a column that the page shows on request."""
    return Column(text, description, write, views, outputs=ON_REQUEST, optional=True, **more)


def _breakeven(against: str, unit: str, text: str, *columns: Column) -> Field:
    """Declares trainings of the row's learner from which on making the set has paid off; infinity means never, null unknown."""
    name = f"breakeven_{against}_{unit}"
    return _compared(name, Number, text, lambda c: c.breakeven(against, unit), "empty", *columns, infinite=True)


def _breakeven_column(against: str, unit: str, name: str, others: str) -> Column:
    key, bounded = f"breakeven_{against}_{unit}", (against, unit) == ("full", "flops")
    return _request(
        f"break-even against {against}, {name}",
        f"The same in {name}, against {others}.",
        lambda row: show.trainings_text(row[key], bounded and bool(row["distil_flops_uncounted"])),
        "cost",
        rising=True,
    )


def _quality(name: str, text: str, *columns: Column) -> Field:
    """Declares a measure of the texts; mean over sets, null where it was not measured. See docs on text quality."""
    return _measured(name, Number, text, lambda m: m.quality(name), "same", *columns)


def _of_texts(heading: str, description: str, write: Callable[[Row], str], key: str = "") -> Column:
    """Declares a column of the second table."""
    return Column(heading, description, write, ("texts",), "set", OF_TEXTS, optional=True, key=key)


def _of_parts(name: str) -> Callable[[TransferScore], Texts]:
    return lambda t: t.joined(name)


# A table of declarations: one entry, as few lines as it needs.
# fmt: off
_WELCH = "95 % Welch interval, for itself alone"

IDENTITY = (
    _measured("task", str, "Name of the task.", lambda m: m.key.scope.task, "same"),
    _measured("data_kind", str, "`real`, `real-subset` or `standin`.", lambda m: m.key.scope.data_kind, "same"),
    _measured("method", str, "Name of the method.", lambda m: m.key.method, "same"),
    _measured("options", str, "Options that differ from the defaults, as `key=value, ...`; empty for the defaults.",
        lambda m: m.key.options, "same"),
    _measured("track", str, "`text`, `text+soft` or `learner-bound`; `+real` behind it for mixtures with real texts.",
        lambda m: m.key.track + (MIXED if m.group.protocol.real_per_class else ""), "same"),
    _measured("private", bool, "Whether the method claims differential privacy.", lambda m: m.group.facts.private, "same"),
    _measured("budget", str, "Texts a class as `dpcN`, or `all` for methods that ignore the budget.", lambda m: m.key.budget, "same"),
    _measured("protocol", str, "Name of the protocol.", lambda m: m.key.scope.protocol, "same"),
    _measured("learner", str, "Name of the trained learner, or `transfer`.", lambda m: m.group.learner, lambda _: TRANSFER),
    _measured("is_source", bool, "Whether methods distil with this learner.", lambda m: m.group.is_source, "empty"),
    _measured("label", str, "Name in tables: the preset's, or the method's.", lambda m: m.group.facts.label, "same"),
    _measured("family", str, "Family of the method, such as `coreset`.", lambda m: m.group.facts.family, "same"),
    _measured("output", str, "`rows` of the train split, new `text`, or token vectors (`embedding`); empty where no set is known.",
        lambda m: ", ".join(distinct(result.output for result in m.distilled)), "same"),
    _measured("tags", Texts, "Facts for which someone would reasonably exclude the method.", lambda m: distinct(m.group.facts.tags),
        "same"),
    _measured("cost_class", str, "`seconds`, `minutes` or `hours`, as the method declares: it decides how many sets a protocol asks for.",
        lambda m: m.group.facts.cost_class, "same"),
    _measured("mode", str,
        "How models were trained: `recipe`, the protocol's, or `learned-schedule`, the steps that were learned with the set.",
        lambda m: ", ".join(distinct(train.mode for train in m.trained)) or "recipe",
        lambda t: ", ".join(distinct(part.row["mode"] for part in t.parts)) or "recipe"),
    _measured("reference", bool, "Whether others are compared with it; references are shown apart.", lambda m: m.group.facts.reference,
        "same"),
    _measured("full_data", bool, "Whether it trains on all real data.", lambda m: m.group.facts.full_data, "same"),
    _measured("external", bool, "True for a set read from a file.", lambda m: m.group.facts.external, "same"),
)

SCORES = (
    _measured("metric", str,
        "The task's headline, `accuracy_frac` or `macro_f1_frac`: rows are ranked by it; intervals and comparisons are about it.",
        lambda m: m.metric, "same"),
    _measured("score_frac", Number, "Mean of the headline.", lambda m: m.scores.headline.mean, lambda t: t.scores.headline.mean,
        Column("{learner}", "Test accuracy in percent (macro-F1 where the table says so) of a model of this kind trained on the "
            "distilled set, with half the width of its 95 % t interval over distilled sets; † where all sets are the same: over "
            "trainings.", show.score_text, ("overview", "cost", "transfer", "privacy", "texts", "statistics"), "learner", MAIN,
            key="score")),
    _measured("ci_low", Number,
        "Lower bound of the 95 % t interval of `score_frac`, over distinct sets, cut at 0 and 1; null with one value.",
        lambda m: m.scores.headline.low, lambda t: t.scores.headline.low),
    _measured("ci_high", Number, "Upper bound of the same.", lambda m: m.scores.headline.high, lambda t: t.scores.headline.high),
    _measured("accuracy_frac", Number, "Mean test accuracy.", lambda m: m.scores.means["accuracy_frac"],
        lambda t: t.scores.means["accuracy_frac"],
        Column("accuracy", "Test accuracy in percent where the score is macro-F1; source learner.", _percent("accuracy_frac"),
            ("overview",), outputs=EVERYWHERE, metric="macro_f1_frac", key="accuracy")),
    _measured("macro_f1_frac", Number, "Mean over classes of the test F1.", lambda m: m.scores.means["macro_f1_frac"],
        lambda t: t.scores.means["macro_f1_frac"],
        Column("macro-F1", "Mean over classes of F1 in percent; source learner.", _percent("macro_f1_frac"), ("statistics",),
            metric="accuracy_frac", key="macro_f1")),
    _measured("transfer_learners", Texts, "Of a transfer score, the learners that it averages; empty otherwise.", lambda _: (),
        lambda t: t.learners,
        Column("transfer score", "Mean score over the learners that the method did not distil with. A learner enters only where random "
            "with 50 texts per class beats majority by 5 points (without that run: random at the table's own budget). With one learner "
            "missing there is no score, never a partial mean.", show.score_text, ("overview", "transfer", "statistics"), "transfer", MAIN,
            order=lambda row: row["score_frac"], key="transfer")),
    _compared("rank", Count, "1 is the best score among the ranked default configurations of a table, by one learner; equal scores share "
        "the better rank. Null for rows that are not among them.", lambda c: c.rank and c.rank.rank, "same",
        Column("rank", "Rank among the ranked default configurations of the table with its confidence interval, from pairwise Welch "
            "tests (Holm over all pairs, 5 %); source learner. Other options of a method have no rank of their own.", show.rank_text,
            ("overview", "cost", "transfer", "statistics"), outputs=frozenset({"main", "markdown", "page"}), optional=True, rising=True)),
    _compared("rank_low", Count,
        "Best rank of the confidence interval (pairwise Welch tests, Holm over all pairs of the table's learner, 5 %).",
        lambda c: c.rank and c.rank.low, "same"),
    _compared("rank_high", Count, "Worst rank of the same.", lambda c: c.rank and c.rank.high, "same"),
    _compared("n_entrants", Count, "Rows that are ranked with it.", lambda c: c.rank and c.rank.n_ranked, "same"),
    _measured("majority_frac", Number, "Headline of always predicting the most frequent class of the test rows.", lambda m: m.majority,
        "mean"),
)

COMPARISONS = (
    *_interval("diff_random", "`score_frac` less that of random selection.", _WELCH, lambda c: c.to_random,
        Column("Δ random", "Difference to random selection in points, with its 95 % Welch interval; source learner.",
            _with_interval("diff_random"), ("overview", "statistics"), outputs=MAIN)),
    *_interval("diff_kmeans", "`score_frac` less that of K-means medoids.", _WELCH, lambda c: c.to_kmeans,
        Column("Δ kmeans", "The same difference to k-means medoids.", _with_interval("diff_kmeans"), ("statistics",),
            outputs=EVERYWHERE)),
    *_interval("diff_reference", "To the track's own reference, or to the method's own where that is better.", _WELCH,
        lambda c: c.to_reference,
        Column("Δ reference", "The same difference to the reference with the same extras: random with teacher labels (text+soft); or the "
            "best of the class-mean sequence and the method's own references, which learn all but the vectors (learner-bound).",
            show.reference_text, ("overview", "statistics"), outputs=MAIN, tracks=frozenset({"text+soft", "learner-bound"}))),
    _compared("diff_reference_to", str, "Name of the reference behind `diff_reference`; empty without one.", lambda c: c.reference_label,
        "same"),
    _compared("incomplete_references", Texts, "References behind the differences that lack sets, with how many they have.",
        lambda c: c.incomplete_references, "same"),
    _compared("p_holm", Number, "Of `diff_reference`: Holm-adjusted over the ranked default configurations of one task, protocol, track "
        "and budget with all learners, other rows among themselves. Null where the reference lacks sets.", lambda c: c.p_value, "empty",
        Column("p (Holm)", "Two-sided Welch p value of the difference to the track's reference, Holm-adjusted over the ranked default "
            "configurations and all learners of the table; other rows among themselves. Missing where the reference lacks sets.",
            lambda row: show.p_text(row["p_holm"]), ("statistics",), rising=True), small=True),
    _compared("gap_closed_frac", Number, "(score - random) / (full - random).", lambda c: c.gap_closed, "same",
        Column("gap closed", "Share of the way from random (0 %) to training on all data (100 %); source learner.",
            _whole_percent("gap_closed_frac"), ("transfer", "statistics"), optional=True, key="gap_closed")),
    _compared("data_equivalence", Number, "Random real texts that reach the same error, for each distilled one; source learner, budgets "
        "in texts a class, where random has a curve. Null where the error lies outside of what random texts were measured at.",
        lambda c: c.equivalence and c.equivalence.value, "empty",
        Column("equivalent random samples", "How many random real texts one distilled text is worth: the number with which random "
            "selection has the same error by its fitted curve, for each distilled text, with its 95 % interval; ? beyond what random was "
            "measured at.", show.data_equivalence_text, ("transfer",), optional=True,
            order=lambda row: next((row[f"data_equivalence{end}"] for end in ("", "_above", "_below") if row[f"data_equivalence{end}"]),
            None))),
    _compared("data_equivalence_low", Number, "Lower bound of the 95 % interval; null also where it lies below the smallest random set.",
        lambda c: c.equivalence and c.equivalence.low, "empty"),
    _compared("data_equivalence_high", Number, "Null also where the bound lies beyond the largest random set.",
        lambda c: c.equivalence and c.equivalence.high, "empty"),
    _compared("data_equivalence_above", Number,
        "Where the whole interval lies beyond the largest random set: a text is worth more than this.",
        lambda c: c.equivalence.most if c.equivalence and c.equivalence.beyond else None, "empty"),
    _compared("data_equivalence_below", Number,
        "Where the whole interval lies below the smallest random set: a text is worth less than this.",
        lambda c: c.equivalence.least if c.equivalence and c.equivalence.below else None, "empty"),
    _measured("collapse_frac", Number, "Share of trained models that are at most two points better than majority.", lambda m: m.collapse,
        "mean",
        Column("collapsed", "Share of trained models that stay within two points of always predicting the most frequent class, or below.",
            _whole_percent("collapse_frac"), ("transfer",), outputs=ON_PAGE, rising=True, key="collapse")),
)


PRIVACY = (
    _measured("epsilon", Number, "The largest of the sets; infinity is written as the text `inf`.",
        lambda m: largest(None if result.epsilon is None else float(result.epsilon) for result in m.distilled), "same",
        Column("ε", "Privacy budget that the method promises; smaller is stricter. REFUTED where the audit proves a larger one.",
            show.epsilon_text, ("overview", "privacy"), outputs=MAIN, **_OF_SET), infinite=True),
    _measured("delta", Number, "Of the same promise as `epsilon`: the weakest of the sets'.", lambda m: m.promise.delta, "same",
        small=True),
    _measured("epsilon_all_sets", Number, "Epsilon of all of the row's sets together, at the same delta; an upper bound.",
        lambda m: m.promise.epsilon_all_sets, "same", infinite=True),
    _measured("promise", Texts,
        "Sentences: unit, relation, accountants, mechanisms with sensitivity, noise, sampling rate and steps, public resources.",
        lambda m: m.promise.sentences, "same"),
    _measured("released", Texts, "Everything that leaves the method's hands.", lambda m: m.promise.released, "same"),
    _of_audit("t1_exact_matches", Count, "Texts of an audited set that equal a member; worst run.", lambda audit: audit.worst_copies[0],
        Column("copied", "Texts of an audited set that are verbatim one of the rows that it was made from, of all its texts (worst run). "
            "Audited sets are made like the ranked ones, but from a random half of some 2,200 rows.", show.copied_text, ("overview",
            "privacy"), key="copied", **_OF_SET)),
    _of_audit("t1_released", Count, "Texts of the set behind `t1_exact_matches`.", lambda audit: audit.worst_copies[1]),
    _of_audit("t1_members", Count, "Members of that run.", lambda audit: audit.worst_copies[2]),
    _of_attack("t1_auc",
        "Of membership inference on the set, by the attack named beforehand; mean over runs. Audited sets are not the ranked ones.",
        "auc",
        Column("MIA set", "AUC of membership inference on the released set with its 95 % interval; 0.5 is chance. An AUC that may be "
            "chance stands with the smallest one that the audit would have found: below it nothing is known. Copies hardly move an AUC: "
            "read it beside `copied`.", show.set_text, ("overview", "privacy"), **_OF_SET)),
    _of_attack("t1_auc_low", "Lower bound of the 95 % interval.", "auc_low"),
    _of_attack("t1_auc_high", "Upper bound of the same.", "auc_high"),
    _of_attack("t1_detectable_auc", "Smallest AUC that the audit would have found (one-sided 5 %, power 0.8).", "detectable_auc"),
    _of_attack("t1_tpr_at_1pct", "True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members.",
        "tpr_at_1pct",
        Column("TPR at 1 %",
            "Share of members that the same attack finds while it takes one in a hundred non-members for a member; chance is 1 %.",
            show.rate_text, ("privacy",), key="t1_tpr", **_OF_SET)),
    _of_attack("t1_null_auc", "The same attack on a set that was made from other rows.", "null_auc"),
    _measured("t1_invalid", bool, "Whether the attack on the set finds members where there are none, so that it is not to be believed.",
        lambda m: m.audit is not None and "text" in m.audit.invalid, "same"),
    _of_attack("t2_auc", "Of membership inference on the trained model, of the audited learner only.", "auc",
        Column("MIA model", "The AUC where the attacker sees the scores of the source learner that was trained on the set.",
            show.model_text, ("privacy",), optional=True, rising=True)),
    _of_attack("t2_auc_low", "Lower bound of the 95 % interval of `t2_auc`.", "auc_low"),
    _of_attack("t2_auc_high", "Upper bound of the same.", "auc_high"),
    _of_attack("t2_detectable_auc", "Smallest AUC on the model that the audit would have found.", "detectable_auc"),
    _of_attack("t2_null_auc", "The attack on a model trained on a set from other rows.", "null_auc"),
    _measured("t2_invalid", bool, "The same of the attack on the model.",
        lambda m: m.audit is not None and m.model_attack is not None and ("model" in m.audit.invalid), "empty"),
    _of_audit("epsilon_lower", Number, "Largest lower bound on epsilon that the audit proves, at familywise 95 %.",
        lambda audit: audit.result.epsilon_lower,
        Column("empirical ε lower bound", "Lower bound on epsilon (delta 1e-5) that guesses of memberships prove, at 95 % for all tests "
            "of the audit together; 0 proves nothing.", show.bound_text, ("privacy",), **_OF_SET)),
    _measured("claim_refuted", bool, "Whether it is larger than `epsilon`.", lambda m: m.refuted, "same"),
    _of_audit("audit_runs", Count, "Sets that were made for the audit, without its null run.", lambda audit: len(audit.result.n_members)),
    _measured("audit_id", str, "Stage id of the audit; empty where there is none.", lambda m: "" if m.audit is None else m.audit.audit_id,
        "same"),
    _compared("failure_flags", Texts, "Warnings in plain words; empty where there is none, and for references.", lambda c: c.flags,
        "same",
        Column("warnings", "What tells that a method failed, whatever its score: generated texts that are not language (perplexity ten "
            "times that of real texts), an empty one, repetitive ones (a tenth of them), texts drawn by weights that few of the pool "
            "carry, a score whose interval reaches the majority's plus two points, and private rows that are not shown to beat their own "
            "controls (epsilon 0, noise alone), with the difference. References have none; what could not be looked for is said.",
            show.flags_text, ("privacy", "texts"), optional=True, order=lambda row: float(len(row["failure_flags"])))),
    _compared("flags_unchecked", Texts,
        "Of a private row, what could not be looked for: `texts` of records from before they were read, `control`.",
        lambda c: c.unchecked, "same"),
)


COSTS = (
    _measured("n_bytes", Number, "Mean over sets, with everything that they bring.",
        lambda m: mean(result.n_bytes for result in m.distilled), "same",
        Column("size", "Mean bytes of a set, with all labels, step sizes and attention that it brings; real rows count as their text.",
            lambda row: show.bytes_text(row["n_bytes"]), ("cost",), "set", rising=True)),
    _measured("distil_wall_s", Number, "Wall time of making one set; mean over sets.", lambda m: mean_cost(m.sets, "wall_s"), "same",
        Column("distil time", "Wall time to distil one set, models and caches at their first cost. Compare within one device only.",
            _duration("distil_wall_s"), ("overview", "cost"), "set", MAIN, rising=True, key="distil_wall")),
    _measured("distil_hardware", Texts, "Hardware on which the sets were distilled; `hardware` is that of the trainings.",
        lambda m: distinct(machine(record) for record in m.sets), "same",
        Column("hardware", "Hardware on which sets were distilled: processor with the cores that the run could use, or GPU. Times compare "
            "within one kind only; where two are named, times are means over both.", show.hardware_text, ("overview", "cost"), "set",
            key="hardware")),
    _measured("llm", Texts,
        "Names of the language models that were asked, as if every reply had been asked for anew; empty where none was.",
        lambda m: distinct(model for record in m.sets for phase in record.cost if phase.llm is not None for model in phase.llm.models),
        "same",
        Column("language model", "Language models that were asked, with calls and tokens (asked + replied) for one set as if every reply "
            "had been asked for anew, and US dollars where prices were given.", show.llm_text, ("cost",),
            order=lambda row: row["llm_calls"], **_OF_SET)),
    *(
        _measured(f"llm_{name}", Number, text, lambda m, name=name: mean_calls(m.sets, name), "same")
        for name, text in (
            ("calls", "Calls of language models for one set; mean over sets."),
            ("tokens_in", "Tokens asked for one set."),
            ("tokens_out", "Tokens replied for one set."),
            ("usd", "US dollars for one set; null where a price was not given."),
        )
    ),
    _measured("train_wall_s", Number, "Mean over trained models, test reading included.", lambda m: mean_cost(m.trainings, "wall_s"),
        "mean",
        Column("train time", "Wall time to train the source learner once and read the test split.", _duration("train_wall_s"), ("cost",),
            outputs=ON_PAGE, rising=True, key="train_wall")),
    _measured("n_sets", int, "Distilled sets that models were trained on.", lambda m: len(m.group.runs),
        lambda t: len(t.grids["accuracy_frac"]),
        Column(f"sets {TIMES} seeds", "Distilled sets, and trained models per set.", show.runs_text, ("statistics",),
            order=lambda row: float(row["n_sets"] * row["n_seeds"]), key="runs")),
    _measured("n_seeds", int, "Training seeds of every set; the smallest number where sets differ.", lambda m: m.group.fewest_seeds,
        lambda t: t.least("n_seeds")),
    _measured("n_distinct_sets", int, "Distilled sets with different contents; where there is one, intervals are over trainings.",
        lambda m: m.n_distinct_sets, lambda t: t.least("n_distinct_sets")),
    _measured("n_reproduced", int, "Reproduced trainings, from the task's data on: the same set and a score within a point.",
        lambda m: m.verdicts["reproduced"], "empty",
        Column("reproduced", "Trainings of the source learner that were made a second time from the task's data on (`tdbench "
            "reproduce`): reproduced means the same set and a score within a point; consistent, that rounding on other hardware led to "
            "another set or score, which lies where the row's sets do (95 % prediction interval). The card says when and where.",
            show.reproductions_text, ("overview",), "set", optional=True,
            order=lambda row: float(row["n_reproduced"] - row["n_not_reproduced"]), key="reproduced")),
    _measured("n_consistent", int,
        "Those that rounding on other hardware led to another set or score, within the 95 % prediction interval of the row's own.",
        lambda m: m.verdicts["consistent"], "empty"),
    _measured("n_not_reproduced", int, "The others.", lambda m: m.verdicts["not reproduced"], "empty"),
    _measured("reproduced_on", Texts, "When, at which commit and on what they were reproduced.", lambda m: m.reproduced_on, "empty"),
    _measured("ranked", bool, "Whether it may be ranked; a rank of its own has only a default configuration.",
        lambda m: not m.status.reason, lambda t: not t.status.reason,
        Column("status", "Ranked, or why not. Incomplete, custom and superseded rows are never ranked; of the options of a method the "
            "default has the rank.", show.status_text, ("overview", "statistics"), key="status")),
    _measured("unranked_reason", str, "Plain words; empty for ranked rows.", lambda m: m.status.reason, lambda t: t.status.reason),
    _measured("complete", bool, "Whether all sets and seeds that the protocol asks for are there, and none failed.",
        lambda m: not m.status.missing, lambda t: not t.status.missing),
    _measured("n_failed", int, "Runs that failed.", lambda m: m.group.n_failed, lambda t: t.n_failed),
    _measured("superseded", bool, "True when newer data or a newer version of the method has replaced these results.",
        lambda m: bool(m.group.stale), "same"),
    _measured("custom", bool, "Whether keys of the protocol were overridden.", lambda m: bool(m.key.scope.custom_id), "same"),
    _measured("custom_id", str, "Tells custom protocols of one name apart; empty otherwise.", lambda m: m.key.scope.custom_id, "same"),
    _breakeven("full", "cpu", "Trainings from which on making the set has paid off against training on all data, in processor seconds on "
        "one kind of hardware; `inf` means never.",
        Column("break-even (trainings)", "Trainings of the source learner from which on making the set and training on it has cost no "
            "more processor time than training on all data as often; said only where both were measured on the same hardware. It says "
            "nothing about the score.", lambda row: show.trainings_text(row["breakeven_full_cpu"]), ("cost",), optional=True,
            rising=True)),
    _breakeven("full", "gpu", "The same in GPU seconds.", _breakeven_column("full", "gpu", "GPU time", "training on all data")),
    _breakeven("full", "flops", "The same in operations; a bound from below where `distil_flops_uncounted` names something.",
        _breakeven_column("full", "flops", "FLOPs", "training on all data; at least, where some of the work was not counted")),
    _breakeven("kmeans", "cpu", "Against K-means medoids, which are trained on by the same recipe, in processor seconds on one kind of "
        "hardware. Null also where the set is cheaper than theirs and a training on it dearer.",
        _breakeven_column("kmeans", "cpu", "processor time", "K-means medoids; never, where a training costs no less than one on them")),
    _breakeven("kmeans", "gpu", "The same in GPU seconds.", _breakeven_column("kmeans", "gpu", "GPU time", "K-means medoids")),
    _breakeven("kmeans", "flops", "The same in operations; null where some were not counted.",
        _breakeven_column("kmeans", "flops", "FLOPs", "K-means medoids; only where all operations were counted")),
    *_interval("discretisation_gap", "The same method's token vectors (`output=embedding`) - its texts.", "95 % Welch interval",
        lambda c: c.discretisation_gap,
        Column("discretisation gap", "Score of the same method's token vectors less that of its texts, in points, with its 95 % Welch "
            "interval; source learner. Options differ in the output, and for the default in what token vectors need.",
            _with_interval("discretisation_gap"), ("transfer",), optional=True)),
    *_interval("transfer_gap", "Source learner - transfer score, paired by set; on rows of the source learner.", "95 % t interval",
        lambda c: c.transfer_gap,
        _request("transfer gap",
            "Score of the source learner less the transfer score, in points, paired by set, with its 95 % t interval.",
            _with_interval("transfer_gap"), "transfer"), rule="empty"),
    *_interval("transfer_excess", "`transfer_gap` - that of random texts: what a set gives its own learner and no other.",
        "95 % Welch interval", lambda c: c.transfer_excess,
        _request("transfer gap over random", "The transfer gap less that of random texts: what a set gives the learner it was distilled "
            "with and no other. 95 % Welch interval.", _with_interval("transfer_excess"), "transfer"), rule="empty"),
    _compared("hard_label_recovery_frac", Number,
        "score / full, at most 1; track `text` alone, because training on all data has neither soft labels nor learned steps.",
        lambda c: c.recovery, "same",
        _request("of full", "Score in percent of that of training on all data, at most 100; hard labels only.",
            _percent("hard_label_recovery_frac"), "statistics")),
    _compared("gain_random_frac", Number,
        "From -1 to 1: share of random's errors that are gone, (score - random) / (1 - random); below random, (score - random) / random.",
        lambda c: c.gain, "same",
        _request("gain over random",
            "Percent of random selection's errors that are gone; below random, minus the percent of its score that is lost.",
            _percent("gain_random_frac"), "statistics")),
    _measured("distil_cpu_s", Number, "Processor seconds of making one set, all cores together; mean over sets.",
        lambda m: mean_cost(m.sets, "cpu_s"), "same",
        _request("distil CPU time", "Processor time to distil one set, all cores together.", _duration("distil_cpu_s"), "cost",
            viewpoint="set", rising=True)),
    _measured("distil_gpu_s", Number, "Seconds for which making one set held a GPU.", lambda m: mean_cost(m.sets, "gpu_s"), "same",
        _request("distil GPU time", "GPU time to distil one set.", _duration("distil_gpu_s"), "cost", viewpoint="set", rising=True)),
    _measured("distil_peak_gb", Number, "Largest resident memory of a phase of any set.", lambda m: peak(m.sets, "peak_rss_gb"), "same",
        _request("distil memory", "Largest resident memory while a set was distilled, in GB.", _decimals("distil_peak_gb", 1), "cost",
            viewpoint="set", rising=True)),
    _measured("distil_flops_counted", Number, "Operations that were counted; the whole, where `distil_flops_uncounted` is empty.",
        lambda m: counted_flops(m.sets), "same",
        _request("distil FLOPs", "Operations of distilling one set, as far as they were counted; the card names what was not.",
            show.distil_flops_text, "cost", viewpoint="set", rising=True)),
    _measured("distil_flops_uncounted", Texts, "Phases whose operations were not counted.", lambda m: uncounted_phases(m.sets), "same"),
    _measured("train_cpu_s", Number, "Processor seconds of one training and reading the test split.", lambda m: mean_cost(m.trainings,
        "cpu_s"), "mean",
        _request("train CPU time", "Processor time to train the source learner once and read the test split.", _duration("train_cpu_s"),
            "cost", rising=True)),
    _measured("train_gpu_s", Number, "Seconds for which it held a GPU.", lambda m: mean_cost(m.trainings, "gpu_s"), "mean"),
    _measured("train_flops", Number, "Of training and reading the test split.", lambda m: training_flops(m.trainings), "mean",
        _request("train FLOPs", "Operations of the same.", lambda row: show.count_text(row["train_flops"]), "cost", rising=True)),
)


TEXTS = (
    _quality("mean_words", "Mean words of a text.",
        _of_texts("words", "Mean words of a text, and of real texts of the task in brackets.", show.words_text)),
    _quality("mean_words_real", "The same of real texts of the task."),
    _quality("length_gap_words", "Wasserstein distance between the lengths of the set's and of real texts."),
    _quality("distinct_1", "Share of different words in a set."),
    _quality("distinct_2", "Share of different pairs of neighbouring words.",
        _of_texts("distinct-2", "Share of different pairs of neighbouring words in the set, 0 to 1.", _decimals("distinct_2"))),
    _quality("self_bleu_frac", "Mean BLEU of a text against the others of its set.",
        _of_texts("self-BLEU", "Mean BLEU of a text against the others of its set, 0 to 1: large where texts repeat one another. More "
            "texts find more that is alike, so compare within a budget.", _decimals("self_bleu_frac"), "self_bleu")),
    _quality("vendi_minilm", "Entirely different texts that the set is worth, by sentences."),
    _quality("vendi_words", "The same by words.",
        _of_texts("Vendi (MiniLM / words)", "Vendi score: how many entirely different texts the set is worth, by sentence features of "
            "MiniLM and by tf-idf of words. Methods that select with MiniLM spread in its space by construction; of the words they know "
            "nothing.", show.vendi_text, "vendi")),
    _quality("mmd2_minilm", "Unbiased squared MMD to real texts, by sentences."),
    _quality("mmd2_words", "The same by words.",
        _of_texts("distance to real (MiniLM / words)", "Unbiased squared MMD to 250 real texts of each class, in thousandths; about 0 "
            "for real texts. The MMD test rejects a set that is further away than real texts would be (permutation test, p at most 0.05).",
            show.distance_text, "mmd2")),
    *(
        _measured(f"mmd_rejection_{space}_frac", Number, text, partial(Measurement.rejections, space=space), "same")
        for space, text in (
            (
                "minilm",
                "Share of sets that a permutation test of the MMD tells from real texts (p at most 0.05), by sentences.",
            ),
            ("words", "The same by words."),
        )
    ),
    _quality("mauve_minilm", "MAUVE of the texts and real ones, 0 to 1.",
        _of_texts("MAUVE", "MAUVE in MiniLM's space, 0 to 1, 1 for real texts; only for sets of more than 200 texts.",
            _decimals("mauve_minilm"), "mauve")),
    _quality("label_agreement_frac", "Share of texts whose label a classifier of words gives; generated texts only.",
        _of_texts("labels agree", "Percent of generated texts to which a classifier of words, trained on the whole train split, gives "
            "their label; its accuracy on held-out real texts in brackets.", show.agreement_text, "label_agreement")),
    _quality("label_agreement_real_frac", "The same of held-out real texts."),
    _quality("near_train_frac", "Share of texts with a near-duplicate in the train split; generated texts only.",
        _of_texts("near-duplicates (train / test)", "Percent of texts with a near-duplicate (Jaccard index of word pairs above 0.8) in "
            "the train split, for generated texts, and in the test split.", show.near_text, "near_duplicates")),
    _quality("near_test_frac", "The same in the test split."),
    _quality("judge_perplexity", "Per token, by a language model that had no part in the texts; generated texts only.",
        _of_texts("perplexity", "Perplexity per token of generated texts by a language model of the task that had no part in them, and "
            "that of held-out real texts in brackets. Above it the texts are odd, far below it commonplace.", show.perplexity_text)),
    _quality("judge_perplexity_real", "The same of held-out real texts."),
    _quality("empty_frac", "Share of texts with a field without a word."),
    _quality("repetitive_frac", "Share of texts that repeat an earlier text of the set, or themselves."),
    *(
        _measured(name, Number, text, partial(Measurement.diagnostic, name=name), "same")
        for name, text in (
            (
                "effective_ratio",
                "Effective size of the weights that texts were drawn from, over the texts of a class; of methods that draw so.",
            ),
            (
                "teacher_agreement_frac",
                "Share of texts to which a head trained on the real texts by the method gives the label that they bear.",
            ),
        )
    ),
    _measured("n_rows", Count, "Rows of the largest set.", lambda m: largest(result.n_rows for result in m.distilled), "same"),
    _measured("n_test_exact", Count, "Distilled texts that equal a test text, in the worst set.",
        lambda m: largest(result.n_test_exact for result in m.distilled), "same"),
)


ORIGIN = (
    _measured("device", Texts, "`cpu` or `cuda`, of the trainings.",
        lambda m: distinct(record.provenance.device for record in m.trainings), _of_parts("device")),
    _measured("hardware", Texts, "Processor with its cores, or GPU, that models were trained on.",
        lambda m: distinct(machine(record) for record in m.trainings), _of_parts("hardware")),
    _measured("task_options", str, "Options of the task that differ from its defaults.", lambda m: m.key.scope.task_options, "same"),
    _measured("task_version", int, "Version of the task.", lambda m: m.key.data_version.task_version, "same"),
    _measured("method_version", int, "Version of the method.", lambda m: m.key.method_version, "same"),
    _measured("data_fingerprint", str, "Hash of the train split.", lambda m: m.key.data_version.data_fingerprint, "same"),
    _measured("test_fingerprint", str, "Hash of the test rows.", lambda m: m.key.data_version.test_fingerprint, "same"),
    _measured("protocol_learners", Texts, "The protocol's learners in its own order.", lambda m: m.group.protocol.learners, "same"),
    _measured("contamination", Texts, "Why the learner's pre-training may have seen the task; empty where nothing is known.",
        lambda m: distinct(train.contamination or "" for train in m.trained), _of_parts("contamination")),
    _measured("distil_contamination", Texts, "The same of the encoder that the method read.",
        lambda m: distinct(result.contamination or "" for result in m.distilled), "same"),
    _measured("notes", Texts, "Remarks of the harness on the trained models.",
        lambda m: distinct(note for train in m.trained for note in train.notes), _of_parts("notes")),
    _measured("measured", str, "Days of the first and the last training, such as `2026-11-02 to 2026-11-05`; empty where none ended.",
        lambda m: m.days, "empty"),
    _measured("commits", Texts, "Short commits of the suite that made the runs; `+` marks one with local changes.", lambda m: m.commits,
        _of_parts("commits")),
    _measured("command", str, "Makes the row's runs; empty for sets from files and for custom protocols.", lambda m: m.command, "same"),
    _measured("first_set_id", str, "Stage id of the first set; empty where none is known.", lambda m: m.sets[0].id if m.sets else "",
        "same"),
    _measured("first_train_id", str, "Stage id of the first set's first training, for `tdbench reproduce`; empty where none ended.",
        lambda m: m.trainings[0].id if m.trainings else "", "empty"),
)

# fmt: on

FIELDS: tuple[Field, ...] = (*IDENTITY, *SCORES, *COMPARISONS, *PRIVACY, *COSTS, *TEXTS, *ORIGIN)
"""All fields in the order in which files hold them."""
ROW_KEYS = tuple(field.name for field in FIELDS)
MEASURED = tuple(field for field in FIELDS if not field.compared)
COMPARED = tuple(field for field in FIELDS if field.compared)
INFINITE = frozenset(field.name for field in FIELDS if field.infinite)
COLUMNS: tuple[Column, ...] = tuple(column.of(field.name) for field in FIELDS for column in field.columns)
"""All columns in the order in which tables show them."""


@dataclass(frozen=True)
class View:
    """A choice of columns with a name; the page keeps their order."""

    name: str
    keys: frozenset[str]


VIEWS = (
    *(
        View(name, frozenset(column.key for column in COLUMNS if name in column.views))
        for name in ("overview", "cost", "transfer", "privacy", "texts", "statistics")
    ),
    View("everything", frozenset(column.key for column in COLUMNS)),
)
"""The first is what readers see before they choose."""
