"""Trains one target model as its job says; what becomes of its scores is the business of stages."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import DataError, PluginError
from tdbench.bench.experiment.identity import learner_seed
from tdbench.bench.experiment.jobs import TrainJob
from tdbench.bench.experiment.recipes import recipe_in_epochs
from tdbench.bench.training.learner import TrainContext, TrainingSet
from tdbench.bench.training.recipe import Recipe


def train_inputs(job: TrainJob, made: DistilledSet) -> tuple[TrainingSet, LabelledText, Recipe]:
    """Returns what a learner trains on, the test rows, and the recipe."""
    data = job.distil.data
    train = TrainingSet.of(made, data.train)
    if job.protocol.real_per_class:
        train = train.with_real(mixed_in(job, made))
    recipe = job.recipe or recipe_in_epochs(
        job.protocol, job.distil.cell.task, job.learner_name, job.learner, len(train.text)
    )
    return train, data.test_draw(job.protocol.test_rows), recipe


def mixed_in(job: TrainJob, made: DistilledSet) -> LabelledText:
    """Draws the real texts of a mixture: the same ones for all methods at one set and seed index, what a set has selected passed over.

    Raises:
        DataError: A class has too few rows besides the selected ones.
    """
    data, cell, wanted = job.distil.data, job.distil.cell, job.protocol.real_per_class
    rng = np.random.default_rng(seed_from("mixture", cell.task, cell.task_version, cell.set_index, job.seed_index))
    taken = np.array([], dtype=np.int64) if made.row_ids_M is None else made.row_ids_M
    rows = []
    for label in range(data.train.n_classes):
        positions = rng.permutation(data.train.positions_of_class(label))
        rows.append(positions[~np.isin(data.train.row_ids_N[positions], taken)][:wanted])
        if len(rows[-1]) < wanted:
            raise DataError(
                f"class '{data.train.label_names[label]}' has {len(rows[-1])} rows besides the set's; protocol.real_per_class={wanted}."
            )
    return data.train.take(np.concatenate(rows))


def train_seed(job: TrainJob) -> int:
    """Returns the learner's seed."""
    return learner_seed(job.distil.cell.set_index, job.seed_index)


def fitted_scores(
    job: TrainJob, train: TrainingSet, texts: LabelledText, recipe: Recipe, context: TrainContext
) -> np.ndarray:
    """Trains one learner and returns its (N, C) scores of some texts, whose labels it does not see.

    Raises:
        PluginError: The scores have another shape, or hold NaN.
    """
    n_classes = job.distil.data.train.n_classes
    if train.only_class is not None:
        context.notes.append("one class: the constant predictor, no training")
        return np.tile(np.eye(n_classes)[train.only_class], (len(texts), 1))
    with contextlib.redirect_stdout(sys.stderr):
        scores_NC = job.learner.fit_predict(train, texts.without_labels(), recipe, context)
    return checked_scores(scores_NC, len(texts), n_classes, job.learner_name)


def checked_scores(scores_NC: Any, n_rows: int, n_classes: int, learner: str) -> np.ndarray:
    """Returns a learner's scores as an array.

    Raises:
        PluginError: They have another shape than (n_rows, n_classes), or hold NaN.
    """
    scores = np.asarray(scores_NC)
    if scores.shape != (n_rows, n_classes):
        raise PluginError(
            f"learner '{learner}' returned scores of shape {scores.shape}; expected ({n_rows}, {n_classes})."
        )
    if np.isnan(scores).any():
        raise PluginError(f"learner '{learner}' returned NaN scores: training diverged.")
    return scores
