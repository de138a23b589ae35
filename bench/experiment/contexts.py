"""What a method is handed besides the rows, and what may have been seen by the pretrained models that it reads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import DataError, PluginError
from tdbench.bench.experiment.jobs import DistilJob, TrainJob, learner_seed, recipe_in_epochs
from tdbench.bench.models.encoder import CachedEncoder, Encoder, SlicedEncoder
from tdbench.bench.models.llm.access import ModelName
from tdbench.bench.models.resolve import pretrained_sha256, shown_name
from tdbench.bench.record import PublicResource
from tdbench.bench.settings import LLMSettings
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.resolve import resolve_learner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from tdbench.bench.models.llm.client import Spending

Tick = Callable[[float], None]

UNKNOWN_TRAINING = "what it was trained on is not known to leave the task out"


def context_of(
    job: DistilJob,
    cost: CostMeter,
    work: Path,
    *,
    cache: Path,
    device: str,
    tick: Tick,
    spending: Spending | None = None,
) -> Context:
    """Returns what a method is handed."""
    cell = job.cell
    access = None
    if "llm" in job.method.reads:
        from tdbench.bench.models.llm.access import STORE, Access, words_of_task
        from tdbench.bench.models.llm.client import Spending

        access = Access(words_of_task(job.data.task), spending or Spending(LLMSettings()), cache / STORE)

    def source(what: str, reads: str) -> tuple[Learner, int]:
        if "name" not in cell.source:
            raise PluginError(f"method '{cell.method}' uses the {what}; its card must say reads={reads}.")
        return resolve_learner(str(cell.source["name"])), int(cell.source["max_length"])

    def make_encoder() -> Encoder:
        learner, max_length = source("encoder", "('encoder',)")
        encoder = CachedEncoder(learner.encoder(max_length, device), cache / "features")
        return encoder if job.pool is None else SlicedEncoder(encoder, job.pool.rows)

    return Context(
        seed=seed_from("set", cell.task, cell.task_version, cell.set_index),
        device=device,
        cost=cost,
        scratch=work,
        make_encoder=make_encoder,
        progress=tick,
        make_source=lambda: Source(
            str(cell.source.get("name")), *source("source learner", "('encoder', 'source')"), cache
        ),
        public_pool=job.public,
        resources=tuple(_resources(job)),
        llm_access=access,
        noise_name=content_id([job.stage, cell.model_dump(mode="json", exclude={"data_fingerprint"})]),
    )


def _resources(job: DistilJob) -> Iterator[PublicResource]:
    """Lists what a method uses besides the train split, for a private method's statement."""
    source = job.cell.source
    if "features" in source:
        seen = contamination(job, resolve_learner(str(source["name"])))
        overlap = seen or UNKNOWN_TRAINING
        weights = str(source.get("model", content_id(source)))
        yield PublicResource(name=f"encoder of {source['name']}", sha256=weights, overlap=overlap)
    if job.method.pretrained_lm is not None:
        sha256 = pretrained_sha256(job.method.pretrained_lm)
        name = f"language model {shown_name(job.method.pretrained_lm)}"
        yield PublicResource(name=name, sha256=sha256, overlap=UNKNOWN_TRAINING)
    for model in map(ModelName.parse, job.method.llms):
        if "lm" not in model.reads:
            yield PublicResource(name=f"language model {model.shown}", sha256=model.identity, overlap=UNKNOWN_TRAINING)
    yield from () if job.public is None else job.public.resources


def models_read(job: DistilJob) -> Iterator[str]:
    """Says what may have been seen by the pretrained models that the method read."""
    if "name" in job.cell.source:
        yield contamination(job, resolve_learner(str(job.cell.source["name"])))
    if job.data.data_kind == "standin":
        return
    if job.method.pretrained_lm is not None:
        yield f"{shown_name(job.method.pretrained_lm)}: {UNKNOWN_TRAINING}"
    for name in map(ModelName.parse, job.method.llms):
        if name.cacheable:  # pretrained elsewhere
            yield f"{name.shown}: {UNKNOWN_TRAINING}"


def contamination(job: DistilJob, learner: Learner | None) -> str:
    """Says why the pretrained model behind a learner may have seen the task; generated text was seen by nobody."""
    model = None if learner is None else learner.pretrained()
    if model is None or job.data.data_kind == "standin":
        return ""
    why = job.data.task.facts.contamination.get(model.rpartition("/")[2])
    return f"{model}: {why}" if why else ""


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
