"""Checks against the data: scores from predictions, rows and texts of sets, leaks of test texts. They need the task's data."""

from __future__ import annotations

import secrets
import unicodedata
from collections import defaultdict
from typing import Literal, TypeAlias

import numpy as np

from tdbench.bench.budget import Budget
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.loading import TaskData
from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.experiment.cell_data import data_of
from tdbench.bench.experiment.external import External
from tdbench.bench.experiment.jobs import DistilJob, TrainJob, recipe_for
from tdbench.bench.experiment.stages import fitted_scores, train_inputs, train_seed
from tdbench.bench.metrics import score
from tdbench.bench.record import Record
from tdbench.bench.registry import LEARNERS, TASKS
from tdbench.bench.settings import Protocol, check_values
from tdbench.bench.submission.intake import Contents, Report
from tdbench.bench.training.resolve import resolve_learner
from tdbench.bench.training.training_set import TrainContext

TOLERANCE = 1e-9
LONG_TEXT = 40
"""Letters and digits from which a text inside another is no accident."""
MOST_NEAR_FRAC = 0.05
"""Short texts that anyone might write may equal a test text but for punctuation; more than so many are copies."""
_Key: TypeAlias = tuple[str, str, str]
"""Task, its options, kind of data."""


def _key(record: Record) -> _Key:
    cell = record.cell
    return cell.task, str(sorted(cell.task_options.items())), cell.data_kind


def _holds(text: str, known: frozenset[str]) -> bool:
    """Tells whether a bare text is one of those known, or has a long one of them in it."""
    return text in known or any(len(other) >= LONG_TEXT and other in text for other in known)


class _Texts:
    """The texts of a task, folded once for all sets of a submission."""

    def __init__(self, data: TaskData) -> None:
        self.data = data
        self._exact: dict[str, frozenset[str]] = {}
        self._bare: frozenset[str] | None = None

    def equal(self, split: Literal["train", "test"], texts: list[str]) -> int:
        """Counts texts that equal one of a split but for case and white space."""
        if split not in self._exact:
            self._exact[split] = frozenset(map(normalised, getattr(self.data, split).joined()))
        return sum(normalised(text) in self._exact[split] for text in texts)

    def holding_test(self, texts: list[str]) -> int:
        """Counts texts that are or hold a test text but for everything else than letters and digits."""
        if self._bare is None:
            self._bare = frozenset(map(bare, self.data.test.joined()))
        return sum(_holds(bare(text), self._bare) for text in texts)


_LOOKALIKES = str.maketrans("аеорсухіјѕһԁοαερυνικ", "aeopcyxijshdoaepuvik")
"""Cyrillic and Greek letters that stand in for Latin ones."""


def bare(text: str) -> str:
    """Returns the letters and digits of a text in lower case, compatibility forms and letters that look like Latin ones folded."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_LOOKALIKES)
    return "".join(letter for letter in folded if letter.isalnum())


def check_data(contents: Contents, accepted: Archive, report: Report) -> None:
    """Loads data into `contents.data` and checks everything that they decide; where they are missing, that is reported as unchecked."""
    known = {_key(record): record.cell.data_fingerprint for record in accepted.records()}
    groups: dict[tuple[_Key, str], list[Record]] = defaultdict(list)
    for record in contents.records.values():
        groups[_key(record), record.cell.data_fingerprint].append(record)
    for (key, fingerprint), records in groups.items():
        task = records[0].cell.task
        if fingerprint != known.get(key, fingerprint):
            report.error(
                "data",
                task,
                f"results are on other data (fingerprint {fingerprint}) than accepted ones ({known[key]}).",
            )
        data = _load(records[0], report)
        if data is None:
            continue
        texts = _Texts(data)
        for record in records:
            contents.data[record.id] = data
            where = contents.where(record)
            if record.train is not None:
                _check_scores(record, data, where, report)
            elif record.stage == "distil" and record.id in contents.distilled:
                _check_set(record, contents.distilled[record.id], texts, where, report)
                _check_promise(record, data, where, report)


def _load(record: Record, report: Report) -> TaskData | None:
    """Loads the task's data; null where they are not here or others."""
    cell = record.cell
    if cell.task not in TASKS.names():
        report.error("data", cell.task, "the suite has no task of that name.")
        return None
    try:
        data = data_of(cell)
    except (TDBenchError, ValueError, TypeError, OSError) as error:
        report.add(
            "unchecked",
            "data",
            cell.task,
            f"its data cannot be loaded here, so scores and leaks are not checked: {error}",
        )
        return None
    if record.cell.task_version != data.task.version:
        report.error(
            "data",
            cell.task,
            f"results are of version {record.cell.task_version} of the task, today's is {data.task.version}.",
        )
        return None
    if (data.fingerprint, data.data_kind) != (cell.data_fingerprint, cell.data_kind):
        here = f"{data.data_kind} with fingerprint {data.fingerprint}"
        message = f"results are on {cell.data_kind} data with fingerprint {cell.data_fingerprint}; here are {here}."
        report.add("unchecked", "data", cell.task, message)
        return None
    return data


def _check_scores(record: Record, data: TaskData, where: str, report: Report) -> None:
    train = record.train
    assert train is not None
    test = data.test_draw((record.protocol or {}).get("test_rows"))
    if test.fingerprint != train.test_fingerprint:
        report.error(
            "test-rows",
            where,
            f"its test rows have fingerprint {train.test_fingerprint}; the protocol draws {test.fingerprint}.",
        )
        return
    predictions = np.array(train.predictions, dtype=np.int64)
    if len(predictions) != len(test) or train.n_test != len(test):
        report.error(
            "predictions",
            where,
            f"it has {len(predictions)} predictions, says {train.n_test}; there are {len(test)} test rows.",
        )
        return
    if len(predictions) and (predictions.min() < 0 or predictions.max() >= test.n_classes):
        report.error("predictions", where, f"it predicts class {predictions.max()}; there are {test.n_classes}.")
        return
    majority = float(np.bincount(test.labels_N, minlength=test.n_classes).max() / len(test))
    recomputed = {**score(predictions, test.labels_N, test.n_classes), "majority_frac": majority}
    for name, value in recomputed.items():
        if abs(getattr(train, name) - value) > TOLERANCE:
            report.error(
                "metric-differs", where, f"{name} is {getattr(train, name):.6f}; its predictions give {value:.6f}."
            )
    if train.metric != data.task.metric:
        report.error(
            "metric-differs", where, f"its headline is {train.metric}; that of the task is {data.task.metric}."
        )


def _check_set(record: Record, distilled: DistilledSet, texts: _Texts, where: str, report: Report) -> None:
    recorded = record.distil
    assert recorded is not None
    real, cell = texts.data.train, record.cell
    try:
        distilled.check(Budget(cell.budget, cell.per_class, cell.tokens_per_class), real)
        resolved = distilled.resolve(real)
        tokens = sum(distilled.token_counts(real))
    except TDBenchError as error:
        report.error("budget" if "allows" in str(error) else "set", where, f"{error}")
        return
    except (IndexError, KeyError, ValueError) as error:
        report.error("set", where, f"it does not fit the train split ({error}).")
        return
    if (tokens, distilled.n_bytes(real)) != (recorded.n_tokens, recorded.n_bytes):
        sizes = f"{tokens:,} tokens, {distilled.n_bytes(real):,} bytes; recorded are {recorded.n_tokens:,}, {recorded.n_bytes:,}"
        report.error("count", where, f"it has {sizes}.")
    if distilled.soft is None:
        _check_leaks(record, resolved, texts, where, report)
    if distilled.row_ids_M is not None:
        labels = real.labels_N[real.positions_of_rows(distilled.row_ids_M)]
        if (resolved.labels_N != labels).any() and distilled.soft_labels_MC is None:
            differing = int((resolved.labels_N != labels).sum())
            report.add("warning", "labels", where, f"{differing} of its rows have another label than in the data.")


def _check_leaks(record: Record, resolved: LabelledText, texts: _Texts, where: str, report: Report) -> None:
    recorded = record.distil
    assert recorded is not None
    joined = resolved.joined()
    leaked = texts.equal("test", joined)
    if leaked != recorded.n_test_exact:
        report.error("leak", where, f"{leaked} of its texts equal a test text; recorded are {recorded.n_test_exact}.")
    elif leaked and recorded.output == "text":
        report.error("leak", where, f"{leaked} of its new texts equal a test text.")
    if recorded.output != "text":
        return
    near = texts.holding_test(joined)
    if near > MOST_NEAR_FRAC * len(joined):
        report.error(
            "leak", where, f"{near} of its {len(joined)} new texts are or hold a test text but for punctuation."
        )
    elif near:
        report.add(
            "warning",
            "leak",
            where,
            f"{near} of its {len(joined)} new texts are or hold a test text but for punctuation.",
        )
    copied = texts.equal("train", joined)
    if copied != recorded.n_train_exact:
        report.error("leak", where, f"{copied} of its texts equal a train text; recorded are {recorded.n_train_exact}.")


def _check_promise(record: Record, data: TaskData, where: str, report: Report) -> None:
    promise = record.distil.privacy if record.distil else None
    if promise is not None and promise.n_rows != len(data.train):
        report.error(
            "privacy", where, f"its promise is about {promise.n_rows:,} rows; the train split has {len(data.train):,}."
        )


LEAST_EQUAL_FRAC, TOLERANCE_FRAC = 0.95, 0.02
"""Predictions that are equal, and how far accuracies may differ, between processors with other number formats."""
QUICK_EQUAL_FRAC, QUICK_TOLERANCE_FRAC = 0.995, 0.003
"""The same of learners that are fitted in closed form."""


def check_by_training(contents: Contents, report: Report, *, count: int, device: str) -> None:
    """Trains cheap learners on every set that is here, and others on a few, and compares predictions.

    Args:
        contents: The submission, with its sets and data.
        report: Receives what was found.
        count: Trainings of learners that take more than seconds, drawn anew each time so that nobody knows them beforehand.
        device: `cpu` or `cuda`.
    """
    trained = [r for r in contents.records.values() if r.train is not None and not r.method_facts.full_data]
    quick: list[Record] = []
    slow: list[Record] = []
    for record in trained:
        if record.distil_id in contents.distilled and record.id in contents.data:
            (quick if _is_quick(str(record.learner)) else slow).append(record)
    drawn = [slow.pop(secrets.randbelow(len(slow))) for _ in range(min(count, len(slow)))]
    done = 0
    for record in [*quick, *drawn]:
        problem = _problem(record, contents.distilled[record.distil_id], contents.data[record.id], device)
        done += problem is not None
        if problem:
            report.error("reproduction", contents.where(record), problem)
    hint = "" if done == len(trained) else "; `--retrain N` repeats N of the others"
    message = f"{done} of {len(trained)} trainings were repeated on their sets{hint}."
    report.add("note", "reproduction", "records", message)


def _is_quick(learner: str) -> bool:
    entry = LEARNERS.entries().get(learner)
    return entry is not None and entry.plugin is not None and not entry.plugin.uses_lr


def _problem(record: Record, distilled: DistilledSet, data: TaskData, device: str) -> str | None:
    """Says what is wrong with a training, nothing where it is reproduced; None where it cannot be repeated here."""
    train = record.train
    assert train is not None
    learner = resolve_learner(train.learner)
    if learner.available() is not None or learner.identity() != train.learner_spec:
        return None
    try:
        predictions = _predictions(record, distilled, data, device)
    except Exception as error:
        return f"training on its set failed ({type(error).__name__}: {error})."
    recorded = np.array(train.predictions)
    labels = data.test_draw((record.protocol or {}).get("test_rows")).labels_N
    equal, accuracy = float((recorded == predictions).mean()), float((predictions == labels).mean())
    quick = _is_quick(train.learner)
    least, most = (QUICK_EQUAL_FRAC, QUICK_TOLERANCE_FRAC) if quick else (LEAST_EQUAL_FRAC, TOLERANCE_FRAC)
    if equal >= least and abs(accuracy - train.accuracy_frac) <= most:
        return ""
    figures = f"{accuracy:.1%} accuracy and {equal:.1%} equal predictions"
    return f"a reproduction on its set gives {figures}; recorded is {train.accuracy_frac:.1%}."


def _predictions(record: Record, distilled: DistilledSet, data: TaskData, device: str) -> np.ndarray:
    protocol, cell, train = check_values(Protocol, record.protocol or {}), record.cell, record.train
    assert train is not None
    budget = Budget(cell.budget, cell.per_class, cell.tokens_per_class)
    distilled.check(budget, data.train)
    learner = resolve_learner(train.learner)
    distil = DistilJob(cell, record.method_facts, External(distilled, cell.method), budget, data)
    recipe = recipe_for(protocol, cell.task, train.learner, learner, full_data=False)
    job = TrainJob(distil, train.learner, learner, train.seed_index, protocol, recipe)
    inputs, test, recipe = train_inputs(job, distilled)
    context = TrainContext(train_seed(job), device, CostMeter(device))
    return fitted_scores(job, inputs, test, recipe, context).argmax(axis=1)
