"""Checks against the data: scores from predictions, rows and texts of sets, leaks of test texts. They need the task's data."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from bench.budget import Budget
from bench.data.loading import TaskData
from bench.distilled import DistilledSet
from bench.errors import TDBenchError
from bench.experiment.cell_data import data_of
from bench.experiment.record import Record
from bench.metrics import score
from bench.submission.contents import Contents
from bench.submission.findings import Report

TOLERANCE = 1e-9


@dataclass(frozen=True)
class _Key:
    task: str
    options: str
    kind: str
    fingerprint: str


def check_data(contents: Contents, sets: dict[str, DistilledSet], report: Report) -> None:
    """Checks everything that the data decide; what they are not at hand for is reported as unchecked."""
    groups: dict[_Key, list[Record]] = defaultdict(list)
    for record in contents.records.values():
        cell = record.cell
        groups[_Key(cell.task, str(sorted(cell.task_options.items())), cell.data_kind, cell.data_fingerprint)].append(
            record
        )
    for key, records in groups.items():
        data = _load(records[0], key, report)
        if data is None:
            continue
        for record in records:
            where = contents.where(record)
            if record.train is not None:
                _check_scores(record, data, where, report)
            elif record.stage == "distil" and record.id in sets:
                _check_set(record, sets[record.id], data, where, report)


def _load(record: Record, key: _Key, report: Report) -> TaskData | None:
    """Loads the task's data; null where they are not here or others."""
    try:
        data = data_of(record.cell)
    except (TDBenchError, ValueError, TypeError, OSError) as error:
        report.add(
            "unchecked",
            "data",
            key.task,
            f"its data cannot be loaded here, so scores and leaks are not checked: {error}",
        )
        return None
    if record.cell.task_version != data.task.version:
        report.error(
            "data",
            key.task,
            f"results are of version {record.cell.task_version} of the task, today's is {data.task.version}.",
        )
        return None
    if (data.fingerprint, data.data_kind) != (key.fingerprint, key.kind):
        here = f"{data.data_kind} with fingerprint {data.fingerprint}"
        report.add(
            "unchecked",
            "data",
            key.task,
            f"results are on {key.kind} data with fingerprint {key.fingerprint}; here are {here}.",
        )
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


def _check_set(record: Record, made: DistilledSet, data: TaskData, where: str, report: Report) -> None:
    said = record.distil
    assert said is not None
    real = data.train
    cell = record.cell
    budget = Budget(cell.budget, cell.per_class, cell.tokens_per_class)
    try:
        made.check(budget, real)
        texts = made.resolve(real)
        tokens = sum(made.token_counts(real))
    except TDBenchError as error:
        report.error("budget" if "allows" in str(error) else "set", where, f"{error}")
        return
    except (IndexError, KeyError, ValueError) as error:
        report.error("set", where, f"it does not fit the train split ({error}).")
        return
    if tokens != said.n_tokens:
        report.error("count", where, f"it has {tokens:,} tokens; recorded are {said.n_tokens:,}.")
    leaked = made.n_exact(real, data.test)
    if leaked != said.n_test_exact:
        report.error("leak", where, f"{leaked} of its texts equal a test text; recorded are {said.n_test_exact}.")
    elif leaked and said.output == "text":
        report.error("leak", where, f"{leaked} of its new texts equal a test text.")
    if said.output == "text" and (copied := made.n_exact(real, real)) != said.n_train_exact:
        report.error("leak", where, f"{copied} of its texts equal a train text; recorded are {said.n_train_exact}.")
    if made.row_ids_M is not None:
        own = real.labels_N[real.positions_of_rows(made.row_ids_M)]
        if (texts.labels_N != own).any() and made.soft_labels_MC is None:
            report.add(
                "warning",
                "labels",
                where,
                f"{int((texts.labels_N != own).sum())} of its rows have another label than in the data.",
            )
