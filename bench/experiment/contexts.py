"""Workspaces of stages: what a method is handed besides the rows, and what its pretrained models may have seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import PluginError
from tdbench.bench.experiment.jobs import DistilJob, Job
from tdbench.bench.models.encoder import CachedEncoder, Encoder, SlicedEncoder
from tdbench.bench.models.llm.access import STORE, Access, ModelName, words_of_task
from tdbench.bench.models.llm.client import Spending
from tdbench.bench.models.resolve import pretrained_sha256, shown_name
from tdbench.bench.record import PublicResource, Record
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.resolve import resolve_learner

Tick = Callable[[float], None]

UNKNOWN_TRAINING = "what it was trained on is not known to leave the task out"


class Inputs(Protocol):
    """Finished stages that a stage depends on."""

    def finished(self, job: Job) -> Record:
        """Returns the record of a stage that has run."""
        ...

    def distilled(self, job: DistilJob) -> DistilledSet:
        """Returns the set that a distil stage made."""
        ...

    def folder(self, job: Job) -> Path:
        """Returns where a stage's files are."""
        ...


@dataclass(frozen=True)
class Workspace:
    """What a stage is handed besides its job.

    Args:
        inputs: The finished stages that it depends on.
        scratch: Empty folder; what is left there becomes the stage's files.
        cache: Folder of what outlives a stage, such as features.
        device: `cpu` or `cuda`.
        tick: Receives the finished fraction of the stage.
        spending: What the command may still ask of language models.
    """

    inputs: Inputs
    scratch: Path
    cache: Path
    device: str
    tick: Tick
    spending: Spending


def context_of(job: DistilJob, workspace: Workspace, cost: CostMeter) -> Context:
    """Returns what a method is handed."""
    cell, cache, device = job.cell, workspace.cache, workspace.device
    access = None
    if "llm" in job.method.reads:
        access = Access(words_of_task(job.data.task), workspace.spending, cache / STORE)

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
        scratch=workspace.scratch,
        make_encoder=make_encoder,
        progress=workspace.tick,
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
