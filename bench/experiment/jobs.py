"""The stages that a plan is made of, and their ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tdbench.bench.budget import Budget
from tdbench.bench.canonical import content_id
from tdbench.bench.config import is_custom
from tdbench.bench.data.loading import TaskData
from tdbench.bench.data.public import PublicPool
from tdbench.bench.experiment.identity import set_id, train_id
from tdbench.bench.method import Method
from tdbench.bench.privacy.pool import Pool
from tdbench.bench.record import Cell, MethodFacts, Stage
from tdbench.bench.settings import Protocol
from tdbench.bench.training.learner import Learner
from tdbench.bench.training.recipe import ENGINE_NUMERICS, Recipe


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
    def title(self) -> str:
        """Short description for progress lines."""
        seed = f" · seed {self.seed_index}" if self.seed_index else ""
        return f"{self.distil.title} · {self.learner_name}{seed}"


def family(distil: DistilJob) -> str:
    """Names what the sets of one method on one task and budget have in common."""
    return content_id(distil.cell.model_dump(mode="json", exclude={"set_index"}))
