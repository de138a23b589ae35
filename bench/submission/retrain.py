"""Trains on sets of a submission again: predictions that nobody's model made are found out. No code of the submission runs."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import numpy as np

from tdbench.bench.budget import Budget
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.loading import TaskData
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.experiment.contexts import fitted_scores, train_inputs, train_seed
from tdbench.bench.experiment.external import External
from tdbench.bench.experiment.jobs import DistilJob, TrainJob, recipe_for
from tdbench.bench.record import Record
from tdbench.bench.registry import LEARNERS
from tdbench.bench.settings import Protocol, check_values
from tdbench.bench.submission.contents import Contents
from tdbench.bench.submission.findings import Report
from tdbench.bench.training.learner import TrainContext
from tdbench.bench.training.resolve import resolve_learner

LEAST_EQUAL_FRAC, TOLERANCE_FRAC = 0.95, 0.02
"""Predictions that are equal, and how far accuracies may differ, between processors with other number formats."""
QUICK_EQUAL_FRAC, QUICK_TOLERANCE_FRAC = 0.995, 0.003
"""The same of learners that are fitted in closed form."""


def check_by_training(
    contents: Contents,
    sets: Mapping[str, DistilledSet],
    data: Mapping[str, TaskData],
    report: Report,
    *,
    count: int,
    device: str,
) -> None:
    """Trains cheap learners on every set that is here, and others on a few, and compares predictions.

    Args:
        contents: The submission.
        sets: Sets that could be read, by id.
        data: Data of records, by their ids.
        report: Receives what was found.
        count: Trainings of learners that take more than seconds, drawn anew each time so that nobody knows them beforehand.
        device: `cpu` or `cuda`.
    """
    trained = [r for r in contents.records.values() if r.train is not None and not r.method_facts.full_data]
    quick: list[Record] = []
    slow: list[Record] = []
    for record in trained:
        if record.distil_id in sets and record.id in data:
            (quick if _is_quick(str(record.learner)) else slow).append(record)
    drawn = [slow.pop(secrets.randbelow(len(slow))) for _ in range(min(count, len(slow)))]
    done = 0
    for record in [*quick, *drawn]:
        found = _problem(record, sets[record.distil_id], data[record.id], device)
        done += found is not None
        if found:
            report.error("trained-again", contents.where(record), found)
    hint = "" if done == len(trained) else "; `--retrain N` repeats N of the others"
    said = f"{done} of {len(trained)} trainings were repeated on their sets{hint}."
    report.add("note", "trained-again", "records", said)


def _is_quick(learner: str) -> bool:
    entry = LEARNERS.entries().get(learner)
    return entry is not None and entry.plugin is not None and not entry.plugin.uses_lr


def _problem(record: Record, made: DistilledSet, data: TaskData, device: str) -> str | None:
    """Says what is wrong with a training, nothing where it comes out again; None where it cannot be repeated here."""
    train = record.train
    assert train is not None
    learner = resolve_learner(train.learner)
    if learner.available() is not None or learner.identity() != train.learner_spec:
        return None
    try:
        predictions = _predictions(record, made, data, device)
    except Exception as error:
        return f"training on its set failed ({type(error).__name__}: {error})."
    recorded = np.array(train.predictions)
    labels = data.test_draw((record.protocol or {}).get("test_rows")).labels_N
    equal, accuracy = float((recorded == predictions).mean()), float((predictions == labels).mean())
    quick = _is_quick(train.learner)
    least, most = (QUICK_EQUAL_FRAC, QUICK_TOLERANCE_FRAC) if quick else (LEAST_EQUAL_FRAC, TOLERANCE_FRAC)
    if equal >= least and abs(accuracy - train.accuracy_frac) <= most:
        return ""
    again = f"{accuracy:.1%} accuracy and {equal:.1%} equal predictions"
    return f"training on its set again gives {again}; recorded is {train.accuracy_frac:.1%}."


def _predictions(record: Record, made: DistilledSet, data: TaskData, device: str) -> np.ndarray:
    protocol, cell, train = check_values(Protocol, record.protocol or {}), record.cell, record.train
    assert train is not None
    budget = Budget(cell.budget, cell.per_class, cell.tokens_per_class)
    made.check(budget, data.train)
    learner = resolve_learner(train.learner)
    distil = DistilJob(cell, record.method_facts, External(made, cell.method), budget, data)
    recipe = recipe_for(protocol, cell.task, train.learner, learner, full_data=False)
    job = TrainJob(distil, train.learner, learner, train.seed_index, protocol, recipe)
    inputs, test, recipe = train_inputs(job, made)
    context = TrainContext(train_seed(job), device, CostMeter(device))
    return fitted_scores(job, inputs, test, recipe, context).argmax(axis=1)
