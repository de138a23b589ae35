"""Measurements of a row from the runs behind it: origin, costs, texts, promises of privacy, audits and reproductions."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Literal, TypeAlias

from tdbench.bench.record import (
    AttackResult,
    Cell,
    DistilResult,
    PhaseCost,
    PrivacyStatement,
    PrivateQuery,
    Record,
    TrainResult,
)
from tdbench.leaderboard.audits import Audit
from tdbench.leaderboard.runs import METRICS, Grid, Group, MethodKey, Scores, Status, status_of
from tdbench.leaderboard.schema import Texts
from tdbench.leaderboard.stats import prediction_interval

TOLERANCE_FRAC = 0.01
"""Scores may differ by this much between processors with other number formats; training differs by rounding."""
COLLAPSE_MARGIN_FRAC = 0.02
"""A model at most this far above majority has learnt nothing that the board would call learning."""
NEAR_P = 0.05
"""The MMD test rejects that texts are real ones at this p value."""
_ARITHMETIC = ("train", "predict")
"""Phases of a training that do floating-point operations."""
_ROUNDING = 1e-9

Verdict: TypeAlias = Literal["reproduced", "consistent", "not reproduced"]
"""`consistent`: on other hardware, not the same, but with a score that the method's sets have."""


@dataclass(frozen=True)
class Measurement:
    """Context of a row's measured fields: the runs of one method with one learner, and what was found out about them.

    Attributes:
        group: The runs.
        metric: The task's headline.
        audit: Audit of the method, or None.
        reproductions: Stage id -> a training as it was reproduced.
    """

    group: Group
    metric: str
    audit: Audit | None
    reproductions: Mapping[str, Record]

    @property
    def key(self) -> MethodKey:
        """Identity of the method within its scope."""
        return self.group.key

    @cached_property
    def trainings(self) -> list[Record]:
        """Records of finished trainings."""
        return self.group.trainings

    @cached_property
    def trained(self) -> list[TrainResult]:
        """What the trainings gave."""
        return [record.train for record in self.trainings if record.train is not None]

    @cached_property
    def sets(self) -> list[Record]:
        """Records of the distilled sets."""
        return list(self.group.distils.values())

    @cached_property
    def distilled(self) -> list[DistilResult]:
        """What distilling gave, of the sets that did not fail."""
        return [record.distil for record in self.sets if record.distil is not None]

    @cached_property
    def status(self) -> Status:
        """Whether the row may be ranked."""
        return status_of(self.group)

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """Metric -> values of the trained models."""
        return {
            name: {
                index: {seed: getattr(record.train, name) for seed, record in seeds.items() if record.train is not None}
                for index, seeds in self.group.runs.items()
            }
            for name in METRICS
        }

    @cached_property
    def n_distinct_sets(self) -> int:
        """Distilled sets with different contents."""
        return len({record.set_sha256 for record in self.trainings})

    @property
    def fixed(self) -> bool:
        """Whether every set of the method is the same: by its nature, or as its sets turned out to be."""
        facts = self.group.facts
        return facts.deterministic or facts.full_data or (len(self.group.runs) > 1 and self.n_distinct_sets == 1)

    @cached_property
    def scores(self) -> Scores:
        """Means and intervals of the trained models."""
        return Scores.of(self.grids, self.metric, self.fixed)

    @cached_property
    def majority(self) -> float | None:
        """Headline of always predicting the most frequent class of the test rows."""
        if not self.trained:
            return None
        share = fmean(train.majority_frac for train in self.trained)
        if self.metric != "macro_f1_frac":
            return share
        # The majority class has precision p and recall 1, all others have an F1 of zero.
        n_classes = largest(len(result.rows_per_class) for result in self.distilled)
        return None if n_classes is None else 2 * share / (1 + share) / n_classes

    @property
    def collapse(self) -> float | None:
        """Share of trained models that are at most two points better than majority."""
        if self.majority is None:
            return None
        limit = self.majority + COLLAPSE_MARGIN_FRAC + _ROUNDING
        return fmean(getattr(train, self.metric) <= limit for train in self.trained)

    @cached_property
    def promise(self) -> Promise:
        """What the sets promise together."""
        return Promise.of([record.distil for record in self.sets], mixed=bool(self.group.protocol.real_per_class))

    @property
    def set_attack(self) -> AttackResult | None:
        """Headline attack on the set."""
        return None if self.audit is None else self.audit.headline("text")

    @property
    def model_attack(self) -> AttackResult | None:
        """Headline attack on the model; what a model leaks is said of the audited learner alone."""
        known = self.audit is not None and self.group.learner == self.audit.learner
        return self.audit.headline("model") if known and self.audit is not None else None

    @property
    def refuted(self) -> bool:
        """Whether a valid audit proves more leakage than was promised."""
        if self.audit is None or self.audit.invalid:
            return False
        claim = self.audit.result.epsilon_claim
        return claim is not None and self.audit.result.epsilon_lower > float(claim)

    @cached_property
    def verdicts(self) -> Counter[Verdict]:
        """Verdicts on the trainings that were reproduced."""
        scores = [getattr(train, train.metric) for train in self.trained]
        return Counter(verdict(first, second, scores) for first, second in self._pairs)

    @property
    def reproduced_on(self) -> Texts:
        """When, at which commit and on what."""
        return distinct(
            f"{record.created[:10]}, {(record.provenance.git_commit or 'unknown commit')[:10]}, {machine(record)}"
            for _, record in self._pairs
        )

    @property
    def _pairs(self) -> list[tuple[Record, Record]]:
        """Trainings with their reproductions; a copy of the first record counts for nothing."""
        pairs = [(one, self.reproductions[one.id]) for one in self.trainings if one.id in self.reproductions]
        return [(first, second) for first, second in pairs if first.created != second.created]

    @property
    def days(self) -> str:
        """Days of the first and the last training."""
        days = sorted({record.created[:10] for record in self.trainings})
        return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""

    @property
    def commits(self) -> Texts:
        """Short commits of the suite, with `+` behind one with local changes."""
        origins = [record.provenance for record in self.trainings]
        return distinct(o.git_commit[:10] + ("+" if o.git_dirty else "") for o in origins if o.git_commit is not None)

    @property
    def command(self) -> str:
        """The command that makes the row's runs."""
        scope = self.key.scope
        repeatable = not self.group.facts.external and not scope.custom_id
        return run_command(self.group.cell, scope.protocol) if repeatable else ""

    def quality(self, name: str) -> float | None:
        """Averages a measure of the texts over sets."""
        return mean(values[name] for values in self._qualities if name in values)

    def rejections(self, space: str) -> float | None:
        """Returns the share of sets of which the MMD test in a space rejects that they are real texts."""
        p_name = f"mmd_p_{space}"
        return mean(float(values[p_name] <= NEAR_P) for values in self._qualities if p_name in values)

    def diagnostic(self, name: str) -> float | None:
        """Averages what the method noted about its sets."""
        return mean(result.diagnostics[name] for result in self.distilled if name in result.diagnostics)

    @property
    def _qualities(self) -> list[Mapping[str, float]]:
        return [result.quality.values for result in self.distilled if result.quality is not None]


def distinct(values: Iterable[str]) -> Texts:
    """Returns the different values in order, without empty ones."""
    return tuple(sorted(set(values) - {""}))


def mean(values: Iterable[float]) -> float | None:
    """Returns the mean; null of nothing."""
    known = list(values)
    return fmean(known) if known else None


def largest(values: Iterable[Any]) -> Any:
    """Returns the largest value; null when one is unknown or there is none."""
    known = list(values)
    return max(known) if known and None not in known else None


def machine(record: Record) -> str:
    """Returns the hardware of a record: the GPU, or the processor with its cores."""
    origin = record.provenance
    return origin.gpu or f"{origin.cpu} ({origin.cores} core{'s' if origin.cores > 1 else ''})"


def verdict(first: Record, second: Record, scores: Sequence[float]) -> Verdict:
    """Compares a training with its reproduction.

    A method whose every step hangs on the one before is not the same on a processor that rounds otherwise, and nobody could tell it
    from a forgery by its hash; its scores are draws from the same distribution all the same.

    Args:
        first: A finished training.
        second: The same training, reproduced.
        scores: The headline of all trainings of the row.
    """
    if first.train is None or second.train is None:
        return "not reproduced"
    metric = first.train.metric
    old, new = getattr(first.train, metric), getattr(second.train, metric)
    if first.set_sha256 == second.set_sha256 and abs(new - old) <= TOLERANCE_FRAC:
        return "reproduced"
    low, high = prediction_interval(scores)
    elsewhere = first.provenance.hardware != second.provenance.hardware
    return "consistent" if elsewhere and low <= new <= high else "not reproduced"


def mean_cost(records: Iterable[Record], unit: str) -> float | None:
    """Averages a cost over records; one unknown phase makes the whole unknown."""
    totals = [_total(record.cost, unit) for record in records]
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def peak(records: Iterable[Record], unit: str) -> float | None:
    """Returns the largest value of any phase; null where none was measured."""
    return max((value for r in records for p in r.cost if (value := getattr(p, unit)) is not None), default=None)


def counted_flops(records: Iterable[Record]) -> float | None:
    """Returns the mean of the operations that were counted; null where a record counted none."""
    counted = [[phase.flops for phase in record.cost if phase.flops is not None] for record in records]
    return fmean(math.fsum(own) for own in counted) if counted and all(counted) else None


def uncounted_phases(records: Iterable[Record]) -> Texts:
    """Returns the phases whose operations were not counted."""
    return distinct(phase.phase for record in records for phase in record.cost if phase.flops is None)


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


def mean_calls(records: Iterable[Record], name: str) -> float | None:
    """Averages over sets what language models were asked for; what one call does not know, the mean does not.

    Args:
        records: Of the sets.
        name: Field of `LLMCost`.
    """
    values = [[getattr(phase.llm, name) for phase in record.cost if phase.llm is not None] for record in records]
    if not any(values) or any(None in own for own in values):
        return None
    return fmean(sum(own) for own in values)


@dataclass(frozen=True)
class Promise:
    """Promise of differential privacy: the weakest of a row's sets, and of all sets together; empty where there is none.

    Attributes:
        delta: Of the same promise as epsilon.
        epsilon_all_sets: Of all sets together, at the same delta.
        sentences: What it says.
        released: Everything that leaves the method's hands.
    """

    delta: float | None = None
    epsilon_all_sets: float | None = None
    sentences: Texts = ()
    released: Texts = ()

    @classmethod
    def of(cls, results: Sequence[DistilResult | None], mixed: bool = False) -> Promise:
        """Writes down the promise of a row's sets.

        Args:
            results: Of the sets; None for those that failed, which may have asked their questions.
            mixed: Whether learners read real rows besides.
        """
        known = [result.privacy for result in results if result is not None and result.privacy is not None]
        if not known:
            return cls()
        weakest = max(known, key=lambda one: (float(one.epsilon), one.epsilon_spent or 0.0))
        together = _of_sets(weakest, len(results))
        about = ("It is about the set: the models of this row read real rows besides, without noise",) if mixed else ()
        return cls(
            weakest.delta,
            together,
            (*_sentences(weakest, len(results), together), *about),
            tuple(dict.fromkeys(part for one in known for part in one.released)),
        )


def _of_sets(statement: PrivacyStatement, count: int) -> float | None:
    """Returns epsilon of so many sets together; an upper bound by the next larger number that is known."""
    if statement.epsilon_spent is None:
        return None
    known = {1: statement.epsilon_spent, **statement.epsilon_of_sets}
    larger = [n for n in known if n >= count]
    return known[min(larger)] if larger else None


def _sentences(statement: PrivacyStatement, count: int, together: float | None) -> list[str]:
    queries = "; ".join(_query(query) for query in statement.queries) or "no question about the rows"
    parts = ["CONTROL: every answer is the noise alone"] if statement.oracle == "noise-only" else []
    parts += [_claim(statement, count, together), f"Number of rows, public: {statement.n_rows:,}", f"Asked: {queries}"]
    parts += [f"Rows were read outside of any mechanism: {reason}" for reason in statement.raw_reads]
    parts += [f"Public: {one.name} ({one.sha256[:16]}; overlap: {one.overlap})" for one in statement.public]
    return [*parts, f"Noise: {statement.noise}"]


def _claim(statement: PrivacyStatement, count: int, together: float | None) -> str:
    unit = f"adding or removing one {'row' if statement.group == 1 else f'group of {statement.group} rows'} of the train split"
    if statement.epsilon == "inf":
        return f"No promise: epsilon is infinite under {unit}"
    spent = "" if statement.epsilon_spent is None else f", spent {statement.epsilon_spent:.3f}"
    check = "" if statement.epsilon_check is None else f", checked {statement.epsilon_check:.3f}"
    by = f" ({'; '.join(statement.accountants)})" if statement.accountants else ""
    all_sets = "" if together is None or count == 1 else f"; all {count} sets together {together:.2f}"
    return f"Epsilon {statement.epsilon:g} at delta {statement.delta:.2g} under {unit}{spent}{check}{by}{all_sets}"


def _query(query: PrivateQuery) -> str:
    times = f"{query.steps} time{'s' if query.steps != 1 else ''}"
    which = "of all rows (q = 1)" if query.rate == 1 else f"of Poisson samples (q = {query.rate:.4g})"
    measure = "scale" if query.mechanism == "laplace" else "sigma"
    noise = f"noise of {measure} {query.noise_multiplier:.3f} times that" if query.noise_multiplier else "no noise"
    return f"'{query.name}' {times}, {query.mechanism}, sums {which}, sensitivity (clipping norm) {query.sensitivity:.3g}, {noise}"


_BARE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)

_WORDS = frozenset({"true", "false", "null", "nan", "inf"})
"""Bare words that would be read as something other than text."""


def run_command(cell: Cell, protocol: str) -> str:
    """Writes the `tdbench run` command for a method, its options, task and budget.

    Args:
        cell: A cell of the row.
        protocol: Name of a published protocol.

    Returns:
        A line for a shell. Every word that comes from a record is quoted.
    """
    words = [f"task={cell.task}", f"method={cell.method}", f"budget={cell.budget}", f"protocol={protocol}"]
    if cell.budget == "all":
        words.pop(2)
    words += [f"method.{key}={hydra_value(value)}" for key, value in sorted(cell.options.items())]
    words += [f"task.{key}={hydra_value(value)}" for key, value in sorted(cell.task_options.items())]
    words += ["data.kind=standin"] if cell.data_kind == "standin" else []
    return " ".join(["tdbench run", *map(shlex.quote, words)])


def hydra_value(value: Any) -> str:
    """Writes a JSON value in Hydra's override grammar."""
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        escaped = value.replace("\\", "\\\\") if value.endswith("\\") or "\\'" in value else value
        return "'" + escaped.replace("'", "\\'").replace("${", "\\${") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{hydra_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value)
