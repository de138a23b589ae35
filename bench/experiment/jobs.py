"""Jobs of a plan: its cells, their stages with ids and seeds, and how long each may take."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

from pydantic_core import to_jsonable_python

from tdbench.bench.budget import Budget
from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.config import is_custom
from tdbench.bench.data.loading import TaskData, check_size
from tdbench.bench.data.public import PublicPool
from tdbench.bench.data.text import LabelledText
from tdbench.bench.method import Method
from tdbench.bench.models.encoder import FEATURES_VERSION
from tdbench.bench.privacy.pool import Pool
from tdbench.bench.record import Cell, MethodFacts, Stage
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import Audit, Protocol, RunSettings
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.recipe import ENGINE_NUMERICS, Recipe
from tdbench.bench.training.resolve import resolve_learner


def set_id(cell: Cell, stage: Stage = "distil") -> str:
    """Returns the id of a set: the hash of its cell, in which the data stand by their fingerprint."""
    return content_id({"stage": stage, **cell.model_dump(mode="json", exclude={"task_options", "options"})})


def train_id(
    distil_id: str,
    learner: dict[str, Any],
    seed_index: int,
    *,
    protocol: str,
    custom: str | None,
    test: str,
    engine_numerics: int,
) -> str:
    """Returns the id of a training.

    Args:
        distil_id: Id of its set.
        learner: Everything that decides the learner's numbers.
        seed_index: Which training of the set it is.
        protocol: Name of the protocol.
        custom: Hash of the protocol where it is not the published one of its name, else None.
        test: Fingerprint of the test rows.
        engine_numerics: Version of the engine's numbers.
    """
    return content_id(
        {
            "stage": "train",
            "distil": distil_id,
            "learner": learner,
            "seed_index": seed_index,
            "protocol": protocol,
            "custom": custom,
            "test": test,
            "engine_numerics": engine_numerics,
        }
    )


def learner_seed(set_index: int, seed_index: int) -> int:
    """Returns the seed of a training."""
    return seed_from("learner", set_index, seed_index)


@dataclass(frozen=True, eq=False)
class DistilJob:
    """One distilled set to be made.

    Args:
        cell: What is distilled.
        facts: About the method.
        method: The method.
        budget: How large the set may be.
        data: The task; of a shadow, its train split is the members of a run.
        pool: An audit's pool, for a shadow: a set that is made only to be attacked.
        public: Public texts, for methods that read them.
        sentences: Whether the texts are measured as sentences too, which needs MiniLM; part of no id.
    """

    cell: Cell
    facts: MethodFacts
    method: Method
    budget: Budget
    data: TaskData
    pool: Pool | None = None
    public: PublicPool | None = None
    sentences: bool = False

    @property
    def stage(self) -> Stage:
        """Its kind."""
        return "distil" if self.pool is None else "shadow"

    @cached_property
    def id(self) -> str:
        """Hash of the cell; the data enter by their fingerprint."""
        return set_id(self.cell, self.stage)

    @property
    def needs(self) -> tuple[DistilJob, ...]:
        """Stages that must have run before: none."""
        return ()

    @property
    def title(self) -> str:
        """Short description for progress lines."""
        cell = self.cell
        what = f"set {cell.set_index}"
        if self.pool is not None:
            what = "null run" if self.data.train is self.pool.null_rows else f"audit run {cell.set_index}"
        return f"{cell.task} · {self.facts.label} · {cell.budget} · {what}"


@dataclass(frozen=True, eq=False)
class TrainJob:
    """One target model to be trained and tested."""

    distil: DistilJob
    learner_name: str
    learner: Learner
    seed_index: int
    protocol: Protocol
    recipe: Recipe | None
    """None until the size of the set is known, for recipes in epochs."""
    stage: ClassVar[Stage] = "train"

    @cached_property
    def id(self) -> str:
        """Hash of the distilled set, learner, seed, protocol and test rows."""
        return train_id(
            self.distil.id,
            self.learner.identity(),
            self.seed_index,
            protocol=self.protocol.name,
            # A published protocol is named by its name; any other by its content.
            custom=self.protocol.sha256 if is_custom(self.protocol) else None,
            test=self.distil.data.test_draw(self.protocol.test_rows).fingerprint,
            engine_numerics=ENGINE_NUMERICS,
        )

    @property
    def needs(self) -> tuple[DistilJob, ...]:
        """Stages that must have run before: the set's."""
        return (self.distil,)

    @property
    def title(self) -> str:
        """Short description for progress lines."""
        seed = f" · seed {self.seed_index}" if self.seed_index else ""
        return f"{self.distil.title} · {self.learner_name}{seed}"


def family(distil: DistilJob) -> str:
    """Names what the sets of one method on one task and budget have in common."""
    return content_id(distil.cell.model_dump(mode="json", exclude={"set_index"}))


AUDIT_VERSION = 1
"""Raised whenever the same sets and scores give other audit results."""


@dataclass(frozen=True, eq=False)
class QueryJob:
    """One target model, and what it says of candidates and population.

    Args:
        train: The training on the shadow's set.
        queries: Texts whose scores are kept.
    """

    train: TrainJob
    queries: LabelledText
    stage: ClassVar[Stage] = "query"

    @cached_property
    def id(self) -> str:
        """Hash of the training and of the queries."""
        return content_id({"stage": self.stage, "train": self.train.id, "queries": self.queries.fingerprint})

    @property
    def protocol(self) -> Protocol:
        """The protocol."""
        return self.train.protocol

    @property
    def distil(self) -> DistilJob:
        """The shadow."""
        return self.train.distil

    @property
    def needs(self) -> tuple[DistilJob, ...]:
        """Stages that must have run before: the shadow's set."""
        return (self.distil,)

    @property
    def title(self) -> str:
        """Short description for progress lines."""
        return self.train.title


@dataclass(frozen=True, eq=False)
class Shadow:
    """One run of an audit: a set, and the query of a model where the game asks for one."""

    distil: DistilJob
    query: QueryJob | None

    @property
    def jobs(self) -> tuple[DistilJob | QueryJob, ...]:
        """In the order in which they run."""
        return (self.distil,) if self.query is None else (self.distil, self.query)


@dataclass(frozen=True, eq=False)
class AuditJob:
    """The games that are played with all shadows of one method.

    Args:
        distil: The audited cell; its set itself is not read.
        pool: Candidates.
        settings: Which games, how many runs.
        protocol: Names the source learner, which is the target model and the attacker's encoder.
        shadows: Runs 0, 1, ...; runs 2k and 2k + 1 have complementary members.
        null: A run on auxiliary rows; None where the method is too slow for pairs.
    """

    distil: DistilJob
    pool: Pool
    settings: Audit
    protocol: Protocol
    shadows: tuple[Shadow, ...]
    null: Shadow | None
    encoder: dict[str, Any] | None
    """Identity of the attacker's encoder; None where it is missing here."""
    stage: ClassVar[Stage] = "audit"

    @cached_property
    def id(self) -> str:
        """Hash of everything that the games read."""
        return content_id(
            {
                "stage": self.stage,
                "runs": [job.id for job in self.needs],
                "settings": self.settings.content,
                "pool": [self.pool.rows.fingerprint, self.pool.auxiliary.fingerprint],
                "encoder": [self.encoder, self.protocol.length_for(self.distil.cell.task)],
                # As for trainings: a published protocol is named by its name, any other by its content.
                "protocol": self.protocol.name,
                "custom": self.protocol.sha256 if is_custom(self.protocol) else None,
                "version": AUDIT_VERSION,
            }
        )

    @property
    def runs(self) -> tuple[Shadow, ...]:
        """All shadows, the null run last."""
        return self.shadows if self.null is None else (*self.shadows, self.null)

    @property
    def needs(self) -> tuple[DistilJob | QueryJob, ...]:
        """Stages that must have run before: those of all runs."""
        return tuple(job for shadow in self.runs for job in shadow.jobs)

    @property
    def title(self) -> str:
        """Short description for progress lines."""
        cell = self.distil.cell
        return f"{cell.task} · {self.distil.facts.label} · {cell.budget} · audit ({', '.join(self.settings.games)})"


def build_audit_job(target: TrainJob, pool: Pool, settings: Audit) -> AuditJob:
    """Builds an audit with its runs.

    Args:
        target: The training of the protocol's source learner on the audited cell; every shadow takes its set's place.
        pool: The task's pool.
        settings: Which games, how many runs.

    Raises:
        DataError: A run's members have a class with fewer rows than the budget asks for.
    """
    audited = target.distil
    n_runs = getattr(settings.runs, audited.facts.cost_class)

    def shadow(run: int, rows: LabelledText) -> Shadow:
        data = replace(audited.data, train=rows, notes=())
        check_size(data, audited.budget)
        cell = audited.cell.model_copy(update={"data_fingerprint": data.fingerprint, "set_index": run})
        distil = replace(audited, cell=cell, data=data, pool=pool)
        query = QueryJob(replace(target, distil=distil), pool.queries) if "model" in settings.games else None
        return Shadow(distil, query)

    return AuditJob(
        distil=audited,
        pool=pool,
        settings=settings,
        protocol=target.protocol,
        shadows=tuple(shadow(run, pool.members(run)) for run in range(n_runs)),
        null=shadow(0, pool.null_rows) if n_runs > 1 else None,
        encoder=None if target.learner.available() else {**target.learner.identity(), "features": FEATURES_VERSION},
    )


def recipe_for(protocol: Protocol, task: str, name: str, learner: Learner, full_data: bool) -> Recipe | None:
    """Returns a learner's recipe on a task, or None where it depends on the number of rows (see `recipe_in_epochs`)."""
    if full_data and protocol.full is not None and protocol.full.epochs is not None:
        return None
    steps = protocol.full.steps if full_data and protocol.full is not None else protocol.steps
    shared = {field.name: getattr(protocol, field.name) for field in fields(Recipe)}
    lr = protocol.lr.get(name, protocol.default_lr) if learner.uses_lr else None
    return Recipe(**{**shared, "max_length": protocol.length_for(task), "steps": steps, "lr": lr})


def recipe_in_epochs(protocol: Protocol, task: str, name: str, learner: Learner, n_rows: int) -> Recipe:
    """Returns the recipe for training on all `n_rows` rows by a protocol that counts epochs."""
    assert protocol.full is not None
    assert protocol.full.epochs is not None
    steps = protocol.full.epochs * math.ceil(n_rows / protocol.batch_size)
    recipe = recipe_for(protocol.model_copy(update={"steps": steps}), task, name, learner, full_data=False)
    assert recipe is not None
    return recipe


def method_of(one: RunSettings) -> Method:
    """Builds the method that the settings name."""
    plugin = METHODS.get(one.method_name)
    return plugin(plugin.Config(**one.method_options))


def replication(settings: RunSettings, facts: MethodFacts) -> tuple[int, int]:
    """Returns the numbers of sets and of trainings of each set: the protocol's, unless the command names others."""
    sets, seeds = settings.protocol.replication(facts)
    return sets if facts.full_data or facts.deterministic else settings.sets or sets, settings.seeds or seeds


def facts_of(one: RunSettings, method: Method) -> MethodFacts:
    """Returns the part of a method's card that rankings need."""
    card = method.card
    return MethodFacts(
        label=one.method_label,
        family=card.family,
        cost_class=card.cost_class,
        deterministic=card.deterministic,
        reference=method.reference,
        role=card.role,
        private=card.private,
        full_data=card.full_data,
        external=method.external,
        seeds_per_set=one.protocol.seeds_of_method(card.cost_class, method.seeds_per_set),
        tags=card.tags,
    )


def _changed(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in defaults or defaults[key] != value}


def _defaults(model: Any) -> dict[str, Any]:
    """Returns all default options as plain JSON, also those that have no effect beside the others."""
    if any(field.is_required() for field in model.model_fields.values()):
        return {}
    values = model()
    return {name: to_jsonable_python(getattr(values, name)) for name in model.model_fields}


def cell_of(one: RunSettings, data: TaskData, method: Method, budget: Budget) -> Cell:
    """Returns the identity that all sets share; the set index and what the method distils with are filled in by the plan."""
    return Cell(
        task=one.task_name,
        task_version=data.task.version,
        task_options=_changed(one.task_options, _defaults(type(data.task).Config)),
        data_kind=data.data_kind,
        data_fingerprint=data.fingerprint,
        method=method.name,
        method_version=method.version,
        config=(options := method.config.model_dump(mode="json")),
        options=_changed(options, _defaults(type(method).Config)),
        budget=budget.name,
        per_class=budget.per_class,
        tokens_per_class=budget.tokens_per_class,
        set_index=0,
        source={},
    )


Job = DistilJob | TrainJob | QueryJob | AuditJob

CPU_FLOPS_PER_S, GPU_FLOPS_PER_S = 5e11, 2e13

DISTIL_PRIOR_S = {"seconds": 2.0, "minutes": 180.0, "hours": 3_600.0}

GAMES_PRIOR_S = 20.0

TOKENS_OF_MAX = 0.6
"""Mean length of a text over the maximum length."""


def expected_seconds(jobs: list[Job], device: str, has_features: bool) -> list[float]:
    """Guesses the seconds of every job in the order they run; the first that needs an encoded train split pays for encoding it."""
    expected = [expected_s(job, device) for job in jobs]
    known: set[str] = set()
    for place, job in enumerate(jobs):
        if not isinstance(job, DistilJob) or "encoder" not in job.method.reads:
            continue
        if job.cell.data_fingerprint not in known and not has_features:
            source = resolve_learner(str(job.cell.source["name"]))
            tokens = len(job.data.train) * int(job.cell.source["max_length"]) * TOKENS_OF_MAX
            expected[place] += tokens * source.mflop_per_token * 1e6 / _rate(device)
        known.add(job.cell.data_fingerprint)
    return expected


def expected_s(job: Job, device: str) -> float:
    """Guesses one stage's seconds."""
    if isinstance(job, DistilJob):
        return DISTIL_PRIOR_S[job.facts.cost_class]
    if isinstance(job, AuditJob):
        return GAMES_PRIOR_S
    if isinstance(job, QueryJob):
        return expected_s(job.train, device) * len(job.queries) / len(job.distil.data.test)
    protocol = job.protocol
    steps = protocol.full.steps if job.distil.facts.full_data and protocol.full else protocol.steps
    rows = min(protocol.batch_size, (job.distil.budget.per_class or 32) * job.distil.data.train.n_classes)
    texts = 3 * (steps or 0) * rows + len(job.distil.data.test_draw(protocol.test_rows))
    tokens = texts * protocol.length_for(job.distil.cell.task) * TOKENS_OF_MAX
    return 0.5 + tokens * job.learner.mflop_per_token * 1e6 / _rate(device)


def _rate(device: str) -> float:
    return CPU_FLOPS_PER_S if device == "cpu" else GPU_FLOPS_PER_S
