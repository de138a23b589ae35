"""Which results were run again: records of `tdbench reproduce --save` beside the accepted ones of the same ids."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal, TypeAlias

from typing_extensions import TypedDict

from tdbench.bench.record import DistilResult, LLMCost, PhaseCost, PrivacyStatement, PrivateQuery, Record
from tdbench.leaderboard.stats import prediction_interval

TOLERANCE_FRAC = 0.01
"""Scores may differ by this much between processors with other number formats; training differs by rounding."""

Verdict: TypeAlias = Literal["reproduced", "consistent", "not reproduced"]
"""`consistent`: on other hardware, not the same, but with a score that the method's sets have."""


class ReproductionFields(TypedDict):
    """Trainings that were run again from the task's data on, distilled set and all."""

    n_reproduced: int
    """Those with the same set and a score within a point."""
    n_consistent: int
    """Those that rounding on other hardware led to another set or score, within the 95 % prediction interval of the row's own."""
    n_not_reproduced: int
    """The others."""
    reproduced_on: str
    """When, at which commit and on what, joined by `; `; empty where nothing was run again."""


NOT_REPRODUCED: ReproductionFields = {"n_reproduced": 0, "n_consistent": 0, "n_not_reproduced": 0, "reproduced_on": ""}


def machine(record: Record) -> str:
    """Returns what a record was made on: the GPU, or the processor with its cores."""
    found = record.provenance
    return found.gpu or f"{found.cpu} ({found.cores} core{'s' if found.cores > 1 else ''})"


def verdict(first: Record, again: Record, scores: Sequence[float]) -> Verdict:
    """Compares a training with what running it again gave.

    A method whose every step hangs on the one before is not the same on a processor that rounds otherwise, and nobody could tell it
    from a forgery by its hash; its scores are draws from the same distribution all the same.

    Args:
        first: A finished training.
        again: The same training, run once more.
        scores: The headline of all trainings of the row.
    """
    if first.train is None or again.train is None:
        return "not reproduced"
    metric = first.train.metric
    old, new = getattr(first.train, metric), getattr(again.train, metric)
    if first.set_sha256 == again.set_sha256 and abs(new - old) <= TOLERANCE_FRAC:
        return "reproduced"
    low, high = prediction_interval(scores)
    elsewhere = first.provenance.hardware != again.provenance.hardware
    return "consistent" if elsewhere and low <= new <= high else "not reproduced"


def reproduction_fields(records: Iterable[Record], again: Mapping[str, Record]) -> ReproductionFields:
    """Compares the trainings behind a row with what running them again gave.

    Args:
        records: Trainings of the row.
        again: Stage id -> the training as it was run again. A copy of the first record counts for nothing.
    """
    own = list(records)
    pairs = [(one, again[one.id]) for one in own if one.id in again and one.created != again[one.id].created]
    scores = [getattr(one.train, one.train.metric) for one in own if one.train is not None]
    found = Counter(verdict(first, second, scores) for first, second in pairs)
    return {
        "n_reproduced": found["reproduced"],
        "n_consistent": found["consistent"],
        "n_not_reproduced": found["not reproduced"],
        "reproduced_on": "; ".join(sorted({_where(second) for _, second in pairs})),
    }


def _where(record: Record) -> str:
    return f"{record.created[:10]}, {(record.provenance.git_commit or 'unknown commit')[:10]}, {machine(record)}"


class CostFields(TypedDict):
    """What it cost."""

    distil_wall_s: float | None
    """Mean over sets."""
    distil_cpu_s: float | None
    """Mean over sets of the processor seconds of making one, all cores together."""
    train_wall_s: float | None
    """Mean over trained models, test reading included."""


class CostDetailFields(TypedDict):
    """Costs in other units; means over sets, and over trained models."""

    distil_gpu_s: float | None
    """Seconds for which making one set held a GPU."""
    distil_peak_gb: float | None
    """Largest resident memory of a phase of any set."""
    distil_flops_counted: float | None
    """Operations that were counted; the whole, where `distil_flops_uncounted` is empty."""
    distil_flops_uncounted: str
    """Phases whose operations were not counted, joined by `, `."""
    train_cpu_s: float | None
    """Processor seconds of one training and reading the test split."""
    train_gpu_s: float | None
    """Seconds for which it held a GPU."""
    train_flops: float | None
    """Of training and reading the test split."""


_ARITHMETIC = ("train", "predict")


def cost_fields(distils: Iterable[Record], trains: Iterable[Record]) -> CostFields:
    """Returns the costs of a row in seconds.

    Args:
        distils: Records of its sets.
        trains: Records of its trained models.
    """
    sets, models = list(distils), list(trains)
    return {
        "distil_wall_s": mean_cost(sets, "wall_s"),
        "distil_cpu_s": mean_cost(sets, "cpu_s"),
        "train_wall_s": mean_cost(models, "wall_s"),
    }


def cost_detail_fields(distils: Iterable[Record], trains: Iterable[Record]) -> CostDetailFields:
    """Returns the costs of a row in other units; see `cost_fields`."""
    sets, models = list(distils), list(trains)
    flops, uncounted = counted_flops(sets)
    return {
        "distil_gpu_s": mean_cost(sets, "gpu_s"),
        "distil_peak_gb": peak(sets, "peak_rss_gb"),
        "distil_flops_counted": flops,
        "distil_flops_uncounted": uncounted,
        "train_cpu_s": mean_cost(models, "cpu_s"),
        "train_gpu_s": mean_cost(models, "gpu_s"),
        "train_flops": training_flops(models),
    }


def mean_cost(records: Iterable[Record], unit: str) -> float | None:
    """Averages a cost over records; one unknown phase makes the whole unknown."""
    totals = [_total(record.cost, unit) for record in records]
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def peak(records: Iterable[Record], unit: str) -> float | None:
    """Returns the largest value of any phase; null where none was measured."""
    return max((value for r in records for p in r.cost if (value := getattr(p, unit)) is not None), default=None)


def counted_flops(records: Iterable[Record]) -> tuple[float | None, str]:
    """Returns the mean of the operations that were counted, and the phases in which they were not."""
    found = list(records)
    counted = [[phase.flops for phase in record.cost if phase.flops is not None] for record in found]
    gaps = {phase.phase for record in found for phase in record.cost if phase.flops is None}
    mean = fmean(math.fsum(own) for own in counted) if counted and all(counted) else None
    return mean, ", ".join(sorted(gaps))


def training_flops(records: Iterable[Record]) -> float | None:
    """Returns the mean operations of training and reading the test split; building and tokenising do none."""
    totals = []
    for record in records:
        phases = [phase.flops for phase in record.cost if phase.phase in _ARITHMETIC]
        totals.append(None if not phases or None in phases else math.fsum(f for f in phases if f is not None))
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def _total(phases: tuple[PhaseCost, ...], unit: str) -> float | None:
    values: list[float | None] = [getattr(phase, unit) for phase in phases]
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


class LLMFields(TypedDict):
    """Calls of language models for one set, as if every reply had been asked for anew; means over sets."""

    llm: str
    """Names of the models, joined by `, `; empty where none was asked."""
    llm_calls: float | None
    """Calls of language models for one set."""
    llm_tokens_in: float | None
    """Tokens asked for one set."""
    llm_tokens_out: float | None
    """Tokens replied for one set."""
    llm_usd: float | None
    """US dollars; null where a price was not given."""


def llm_fields(records: Iterable[Record]) -> LLMFields:
    """Adds up the calls of every set and averages them; what one call does not know, the mean does not."""
    of_sets = [[phase.llm for phase in record.cost if phase.llm is not None] for record in records]
    models = sorted({model for calls in of_sets for call in calls for model in call.models})
    return {
        "llm": ", ".join(models),
        "llm_calls": _mean_call(of_sets, "calls"),
        "llm_tokens_in": _mean_call(of_sets, "tokens_in"),
        "llm_tokens_out": _mean_call(of_sets, "tokens_out"),
        "llm_usd": _mean_call(of_sets, "usd"),
    }


def _mean_call(of_sets: list[list[LLMCost]], name: str) -> float | None:
    values = [[getattr(call, name) for call in calls] for calls in of_sets]
    if not any(values) or any(None in own for own in values):
        return None
    return fmean(sum(own) for own in values)


NEAR_P = 0.05
"""Texts that real ones would be as far from the real sample as with at most this probability are told apart."""


class TextFields(TypedDict):
    """How the texts read, see docs/reference/text-quality.md; means over sets, null where it was not measured."""

    judge_perplexity: float | None
    """Per token, by a language model that had no part in the texts; generated texts only."""
    judge_perplexity_real: float | None
    """The same of held-out real texts."""
    distinct_2: float | None
    """Share of different pairs of neighbouring words."""
    empty_frac: float | None
    """Share of texts with a field without a word."""
    repetitive_frac: float | None
    """Share of texts that repeat an earlier text of the set, or themselves."""
    effective_ratio: float | None
    """Effective size of the weights that texts were drawn from, over the texts of a class; of methods that draw so."""
    teacher_agreement_frac: float | None
    """Share of texts to which a head trained on the real texts by the method gives the label that they bear."""

    distinct_1: float | None
    """Share of different words in a set."""
    self_bleu_frac: float | None
    """Mean BLEU of a text against the others of its set."""
    mean_words: float | None
    """Mean words of a text."""
    mean_words_real: float | None
    """The same of real texts of the task."""
    length_gap_words: float | None
    """Wasserstein distance between the lengths of the set's and of real texts."""
    vendi_minilm: float | None
    """Entirely different texts that the set is worth, by sentences."""
    vendi_words: float | None
    """The same by words."""
    mmd2_minilm: float | None
    """Unbiased squared MMD to real texts, by sentences."""
    mmd2_words: float | None
    """The same by words."""
    mmd_rejection_minilm_frac: float | None
    """Share of sets that a permutation test tells from real texts (p at most 0.05), by sentences."""
    mmd_rejection_words_frac: float | None
    """The same by words."""
    mauve_minilm: float | None
    """MAUVE of the texts and real ones, 0 to 1."""
    label_agreement_frac: float | None
    """Share of texts whose label a classifier of words gives; generated texts only."""
    label_agreement_real_frac: float | None
    """The same of held-out real texts."""
    near_train_frac: float | None
    """Share of texts with a near-duplicate in the train split; generated texts only."""
    near_test_frac: float | None
    """The same in the test split."""


def text_fields(distils: Iterable[Record]) -> TextFields:
    """Averages what was measured about the texts of sets."""
    found = [record.distil for record in distils if record.distil is not None]
    measured = [distil.quality.values for distil in found if distil.quality is not None]
    noted = [distil.diagnostics for distil in found]

    def value(name: str) -> float | None:
        if name in ("teacher_agreement_frac", "effective_ratio"):  # the method's own
            return _mean([numbers[name] for numbers in noted if name in numbers])
        if name.startswith("mmd_rejection_"):
            p = f"mmd_p_{name.removeprefix('mmd_rejection_').removesuffix('_frac')}"
            return _mean([float(numbers[p] <= NEAR_P) for numbers in measured if p in numbers])
        return _mean([numbers[name] for numbers in measured if name in numbers])

    return {name: value(name) for name in TextFields.__annotations__}  # type: ignore[return-value] - exactly its fields


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


class PrivacyFields(TypedDict):
    """What it leaks and what it promises."""

    epsilon: float | None
    """The largest of the sets; infinity is written as the text `inf`."""
    t1_auc: float | None
    """Of membership inference on the set, by the attack named beforehand; mean over runs. Audited sets are not the ranked ones."""
    t1_auc_low: float | None
    """Lower bound of the 95 % interval."""
    t1_auc_high: float | None
    """Upper bound of the same."""
    t1_exact_matches: int | None
    """Texts of an audited set that equal a member; worst run."""
    t1_members: int | None
    """Members of that run."""
    t2_auc: float | None
    """Of membership inference on the trained model, of the audited learner only."""


class PromiseFields(TypedDict):
    """What a promise of differential privacy rests on; null or empty where there is none."""

    delta: float | None
    """Of the same promise as `epsilon`: the weakest of the sets'."""
    epsilon_all_sets: float | None
    """Epsilon of all of the row's sets together, at the same delta; an upper bound."""
    promise: str
    """Unit, relation, accountants, mechanisms with sensitivity, noise, sampling rate and steps, public resources."""
    released: str
    """Everything that leaves the method's hands, joined by `, `."""


class AuditFields(TypedDict):
    """How far the audit's findings reach."""

    t1_released: int | None
    """Texts of the set behind `t1_exact_matches`."""
    t1_detectable_auc: float | None
    """Smallest AUC that the audit would have found (one-sided 5 %, power 0.8)."""
    t1_tpr_at_1pct: float | None
    """True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members."""
    t1_null_auc: float | None
    """The same attack on a set that was made from other rows."""
    t2_auc_low: float | None
    """Lower bound of the 95 % interval of `t2_auc`."""
    t2_auc_high: float | None
    """Upper bound of the same."""
    t2_detectable_auc: float | None
    """Smallest AUC on the model that the audit would have found."""
    t2_null_auc: float | None
    """The attack on a model trained on a set from other rows."""
    epsilon_lower: float | None
    """Largest lower bound on epsilon that the audit proves, at familywise 95 %."""
    claim_refuted: bool
    """Whether it is larger than `epsilon`."""
    t1_invalid: bool
    """Whether the attack on the set finds members where there are none, so that it is not to be believed."""
    t2_invalid: bool
    """The same of the attack on the model."""
    audit_runs: int | None
    """Sets that were made for the audit, without its null run."""
    audit_id: str
    """Stage id of the audit; empty where there is none."""


NO_PROMISE: PromiseFields = {"delta": None, "epsilon_all_sets": None, "promise": "", "released": ""}


def promise_fields(results: Iterable[DistilResult | None]) -> PromiseFields:
    """Writes down the weakest of the sets' promises, and what all sets together cost.

    Args:
        results: Of a row's sets; None for those that failed.
    """
    asked = list(results)
    found = [one.privacy for one in asked if one is not None and one.privacy is not None]
    if not found:
        return NO_PROMISE
    weakest = max(found, key=lambda one: (float(one.epsilon), one.epsilon_spent or 0.0))
    together = _of_sets(weakest, len(asked))  # one that failed may have asked its questions
    return {
        "delta": weakest.delta,
        "epsilon_all_sets": together,
        "promise": _sentence(weakest, len(asked), together),
        "released": ", ".join(dict.fromkeys(part for one in found for part in one.released)),
    }


def _of_sets(said: PrivacyStatement, count: int) -> float | None:
    """Returns epsilon of so many sets together; an upper bound by the next larger number that is known."""
    if said.epsilon_spent is None:
        return None
    known = {1: said.epsilon_spent, **said.epsilon_of_sets}
    larger = [n for n in known if n >= count]
    return known[min(larger)] if larger else None


def _sentence(said: PrivacyStatement, count: int, together: float | None) -> str:
    queries = "; ".join(_query(one) for one in said.queries) or "no question about the rows"
    parts = ["CONTROL: every answer is the noise alone"] if said.oracle == "noise-only" else []
    parts += [_claim(said, count, together), f"Number of rows, public: {said.n_rows:,}", f"Asked: {queries}"]
    parts += [f"Rows were read outside of any mechanism: {reason}" for reason in said.raw_reads]
    parts += [f"Public: {one.name} ({one.sha256[:16]}; overlap: {one.overlap})" for one in said.public]
    return ". ".join([*parts, f"Noise: {said.noise}"]) + "."


def _claim(said: PrivacyStatement, count: int, together: float | None) -> str:
    unit = f"adding or removing one {'row' if said.group == 1 else f'group of {said.group} rows'} of the train split"
    if said.epsilon == "inf":
        return f"No promise: epsilon is infinite under {unit}"
    spent = "" if said.epsilon_spent is None else f", spent {said.epsilon_spent:.3f}"
    check = "" if said.epsilon_check is None else f", checked {said.epsilon_check:.3f}"
    by = f" ({'; '.join(said.accountants)})" if said.accountants else ""
    all_sets = "" if together is None or count == 1 else f"; all {count} sets together {together:.2f}"
    return f"Epsilon {said.epsilon:g} at delta {said.delta:.2g} under {unit}{spent}{check}{by}{all_sets}"


def _query(one: PrivateQuery) -> str:
    times = f"{one.steps} time{'s' if one.steps != 1 else ''}"
    which = "of all rows (q = 1)" if one.rate == 1 else f"of Poisson samples (q = {one.rate:.4g})"
    measure = "scale" if one.mechanism == "laplace" else "sigma"
    noise = f"noise of {measure} {one.noise_multiplier:.3f} times that" if one.noise_multiplier else "no noise"
    return f"'{one.name}' {times}, {one.mechanism}, sums {which}, sensitivity (clipping norm) {one.sensitivity:.3g}, {noise}"
