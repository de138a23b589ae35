"""Plans: which stages a command asks for, and their ids.

A cell is one distilled set: task x method x budget x set index. Its distil stage makes the set; each of its train stages trains one
learner with one seed. Ids are hashes of everything that decides a stage's numbers, so a stage that two commands share is run once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tdbench.bench.budget import ALL, Budget
from tdbench.bench.canonical import canonical_json, content_id
from tdbench.bench.data.loading import TaskData, check_size, load_task
from tdbench.bench.data.public import PublicPool, public_pool
from tdbench.bench.data.task import Task
from tdbench.bench.errors import DataError, PrerequisiteError, TDBenchError, UsageError
from tdbench.bench.experiment.jobs import (
    AuditJob,
    DistilJob,
    TrainJob,
    build_audit_job,
    cell_of,
    facts_of,
    method_of,
    recipe_for,
    replication,
)
from tdbench.bench.matching.options import MATCHING_VERSION, TASK_LM_VERSION
from tdbench.bench.method import Method
from tdbench.bench.models.encoder import FEATURES_VERSION
from tdbench.bench.models.llm.access import LLM_VERSION, ModelName
from tdbench.bench.models.resolve import available, pretrained_name, pretrained_sha256
from tdbench.bench.privacy.accounting import PRIVACY_VERSION
from tdbench.bench.privacy.pool import Pool, draw_pool
from tdbench.bench.registry import TASKS
from tdbench.bench.settings import Protocol, RunSettings
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.resolve import resolve_learner


@dataclass
class Plan:
    """What a command asks for.

    Args:
        cells: Distil jobs, each with its train jobs.
        audits: Audits of methods, each with its own runs.
        skipped: (what, why) for everything left out on purpose.
        missing: (what, why) for everything left out because a prerequisite is missing.
        failed: (what, error) for tasks whose data cannot be used.
        data: Loaded tasks.
    """

    cells: list[tuple[DistilJob, list[TrainJob]]] = field(default_factory=list)
    audits: list[AuditJob] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, TDBenchError]] = field(default_factory=list)
    data: list[TaskData] = field(default_factory=list)

    @property
    def n_stages(self) -> int:
        """Number of stages of all kinds."""
        return sum(1 + len(trains) for _, trains in self.cells) + sum(1 + len(audit.needs) for audit in self.audits)


class Planner:
    """Builds a plan; data are loaded once for each task."""

    def __init__(self) -> None:
        self._data: dict[str, TaskData | TDBenchError] = {}
        self._learners: dict[str, Learner] = {}
        self._pools: dict[str, Pool] = {}
        self._public: dict[str, PublicPool | PrerequisiteError] = {}

    def plan(self, runs: Iterable[RunSettings], method: Method | None = None) -> Plan:
        """Plans all runs and cuts out the shard that the runtime names.

        Args:
            runs: What to run.
            method: Takes the place of the method that the runs name.

        Raises:
            UsageError: A learner or option does not exist.
        """
        plan, seen, settings = Plan(), set(), list(runs)
        for one in settings:
            data = self._load(one)
            if isinstance(data, TDBenchError):
                if (one.task_name, data) not in plan.failed:
                    plan.failed.append((one.task_name, data))
                continue
            if data not in plan.data:
                plan.data.append(data)
            try:
                cells = self._cells(one, method or method_of(one), data, plan)
                if one.audit.games and cells:
                    self._audit(one, cells[0][0], plan)
            except DataError as error:
                plan.failed.append((f"{one.task_name} · {one.budget.name}", error))
                continue
            for distil, trains in cells:
                if distil.id not in seen:
                    seen.add(distil.id)
                    plan.cells.append((distil, trains))
                else:
                    self._merge(plan, distil, trains)
        index, count = settings[0].runtime.shard_of if settings else (1, 1)
        plan.cells = plan.cells[index - 1 :: count]
        plan.audits = plan.audits[index - 1 :: count]
        return plan

    @staticmethod
    def _merge(plan: Plan, distil: DistilJob, trains: list[TrainJob]) -> None:
        known = next(jobs for job, jobs in plan.cells if job.id == distil.id)
        ids = {job.id for job in known}
        known += [job for job in trains if job.id not in ids]

    def _load(self, one: RunSettings) -> TaskData | TDBenchError:
        key = canonical_json([one.task_name, one.task_options, one.data.kind, str(one.data.root)])
        if key not in self._data:
            plugin = TASKS.get(one.task_name)
            try:
                self._data[key] = load_task(plugin(plugin.Config(**one.task_options)), one.data.kind, one.data.root)
            except (DataError, PrerequisiteError) as error:
                self._data[key] = error
        return self._data[key]

    def _cells(
        self, one: RunSettings, method: Method, data: TaskData, plan: Plan
    ) -> list[tuple[DistilJob, list[TrainJob]]]:
        card, protocol = method.card, one.protocol
        what = f"{one.task_name} · {one.method_label} · {one.budget.name}"
        budget = Budget(one.budget.name, **one.budget.model_dump()) if card.uses_budget else ALL
        left_out = _left_out(method, protocol, data.task, budget)
        if left_out:
            plan.skipped.append((what, left_out))
            return []
        if not card.external:
            check_size(data, budget)
        if method.output == "embedding":
            one = _bound_to_source(one, what, plan)
        learners = self._usable_learners(one, method, what, plan)
        facts = facts_of(one, method)
        n_sets, n_seeds = replication(one, facts)
        source, public, cells = self._source(one, method, data) if learners else {}, None, []
        if learners and "public" in method.reads:
            public = self._public_pool(one, data)
            if isinstance(public, PrerequisiteError):
                plan.missing.append((what, str(public)))
                return []
            source = {**source, "public": public.fingerprint}
        if card.private:
            source = {**source, "privacy": PRIVACY_VERSION}
        sentences = resolve_learner(protocol.source).pretrained() is not None
        for index in range(n_sets if learners else 0):
            cell = cell_of(one, data, method, budget).model_copy(update={"set_index": index, "source": source})
            distil = DistilJob(cell, facts, method, budget, data, public=public, sentences=sentences)
            trains = [
                TrainJob(
                    distil,
                    name,
                    learner,
                    seed,
                    protocol,
                    recipe_for(protocol, one.task_name, name, learner, card.full_data),
                )
                for name, learner in learners
                for seed in range(n_seeds)
            ]
            cells.append((distil, trains))
        return cells

    def _public_pool(self, one: RunSettings, data: TaskData) -> PublicPool | PrerequisiteError:
        """Returns the public texts beside a task, or why there are none; those beside a stand-in are stand-ins too."""
        kind = "standin" if data.data_kind == "standin" else one.data.kind
        key = canonical_json([data.task.name, kind, str(one.data.root)])
        if key not in self._public:
            try:
                self._public[key] = public_pool(
                    data.task, [TASKS.get(name)() for name in data.task.public], kind, one.data.root
                )
            except PrerequisiteError as error:
                self._public[key] = error
        return self._public[key]

    def _audit(self, one: RunSettings, distil: DistilJob, plan: Plan) -> None:
        """Adds the audit of a method, unless there is nothing to be found out."""
        protocol, name, data = one.protocol, one.protocol.source, distil.data
        what = f"audit of {distil.title.rpartition(' · ')[0]}"
        if protocol.real_per_class:
            plan.skipped.append((what, "its models read real texts besides the set; audit it by lite-v1"))
            return
        if distil.facts.full_data or distil.facts.external or not distil.method.card.uses_budget:
            plan.skipped.append((what, "it is given a set or keeps none or all of the rows: nothing is to be inferred"))
            return
        learner = self._learners[name]
        problem = learner.available() if "model" in one.audit.games else None
        if problem is not None:
            plan.missing.append((what, problem))
            return
        recipe = recipe_for(protocol, one.task_name, name, learner, full_data=False)
        key = canonical_json([data.fingerprint, one.audit.pool_rows, one.audit.auxiliary_rows])
        try:
            if key not in self._pools:
                self._pools[key] = draw_pool(data, one.audit.pool_rows, one.audit.auxiliary_rows)
            audit = build_audit_job(TrainJob(distil, name, learner, 0, protocol, recipe), self._pools[key], one.audit)
        except DataError as error:
            plan.failed.append((what, error))
            return
        if audit.id not in {known.id for known in plan.audits}:
            plan.audits.append(audit)

    def _source(self, one: RunSettings, method: Method, data: TaskData) -> dict[str, Any]:
        """Returns what a method distils with besides the train split; empty for methods that read no encoder."""
        if "encoder" not in method.reads:
            return {}
        name = one.protocol.source
        how = {"name": name, "max_length": one.protocol.length_for(one.task_name), "features": FEATURES_VERSION}
        if "source" in method.reads:
            how["matching"] = getattr(method.config, "matching_version", MATCHING_VERSION)
        if "lm" in method.reads:
            how["task_lm"] = TASK_LM_VERSION if method.uses_task_lm else 1  # 1 from when every such method named one
        if method.pretrained_lm is not None:
            how["lm"] = pretrained_sha256(method.pretrained_lm)
        if method.llms:
            how["llms"] = [LLM_VERSION, *(ModelName.parse(name).identity for name in method.llms)]
            how["words"] = content_id([data.task.item, data.task.items, list(data.task.classes)])
        return {**how, **self._learners[name].identity()}

    def _usable_learners(self, one: RunSettings, method: Method, what: str, plan: Plan) -> list[tuple[str, Learner]]:
        names = list(dict.fromkeys(one.protocol.learners if one.learners is None else one.learners))
        if not names:
            raise UsageError("learners=[] names no learner; name at least one, or leave it out.")
        reads_encoder = "encoder" in method.reads
        for name in [*names, one.protocol.source]:
            if name not in self._learners:
                self._learners[name] = resolve_learner(name)
        source = self._learners[one.protocol.source]
        if "source" in method.reads and not source.has_token_table:
            where = f"protocol {one.protocol.name} distils with {one.protocol.source}"
            plan.skipped.append((what, f"{where}, which has no pretrained token table to put vectors into"))
            return []
        source_problem = source.available() if reads_encoder else None
        if method.card.private and reads_encoder and source_problem is None and not source.encoder(1, "cpu").rowwise:
            where = f"protocol {one.protocol.name} distils with {one.protocol.source}"
            plan.skipped.append(
                (what, f"{where}, whose features of one row depend on all rows: no promise could be kept")
            )
            return []
        if source_problem is None and method.pretrained_lm is not None:
            source_problem = available(pretrained_name(method.pretrained_lm))
        problems = (ModelName.parse(name).problem(one.runtime.llm) for name in method.llms)
        source_problem = source_problem or next(filter(None, problems), None)
        if source_problem:
            plan.missing.append((what, source_problem))
            return []
        usable = []
        for name in names:
            problem = self._learners[name].available()
            if problem is None:
                usable.append((name, self._learners[name]))
            else:
                plan.missing.append((f"learner {name}", problem))
        return usable


def _left_out(method: Method, protocol: Protocol, task: Task, budget: Budget) -> str:
    """Says why a method is left out on purpose; empty when it is not."""
    skip = method.supports(task, budget)
    if skip is not None:
        return skip.reason
    if method.card.full_data and protocol.full is None:
        return f"protocol {protocol.name} trains no full-data reference; lite-v1's is shown where it was run"
    if protocol.real_per_class and method.output == "embedding":
        return f"protocol {protocol.name} mixes real texts in; token vectors and words are not trained on together"
    if protocol.real_per_class and not method.card.uses_budget:
        return f"protocol {protocol.name} mixes real texts in; what ignores the budget says nothing of a mixture"
    return ""


def _bound_to_source(one: RunSettings, what: str, plan: Plan) -> RunSettings:
    """Leaves the protocol's source as the only learner: token vectors mean nothing to any other."""
    source = one.protocol.source
    others = [name for name in one.learners or one.protocol.learners if name != source]
    if others:
        plan.skipped.append((what, f"its token vectors are bound to {source}; not for {', '.join(others)}"))
    return one.model_copy(update={"learners": (source,)})
