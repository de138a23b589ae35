"""What an audit is made of: shadows (sets made from other halves of the same candidates), queries of models trained on them, the games."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from tdbench.bench.canonical import content_id
from tdbench.bench.config import is_custom
from tdbench.bench.data.loading import check_size
from tdbench.bench.data.text import LabelledText
from tdbench.bench.experiment.jobs import DistilJob, TrainJob
from tdbench.bench.models.encoder import FEATURES_VERSION
from tdbench.bench.privacy.pool import Pool
from tdbench.bench.record import Stage
from tdbench.bench.settings import Audit, Protocol

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
                "runs": [job.id for job in self.jobs],
                "settings": self.settings.model_dump(mode="json"),
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
    def jobs(self) -> list[DistilJob | QueryJob]:
        """What must have run before the games are played."""
        return [job for shadow in self.runs for job in shadow.jobs]

    @property
    def title(self) -> str:
        """Short description for progress lines."""
        cell = self.distil.cell
        return f"{cell.task} · {self.distil.facts.label} · {cell.budget} · audit ({', '.join(self.settings.games)})"


def lay_out(target: TrainJob, pool: Pool, settings: Audit) -> AuditJob:
    """Lays out an audit's runs.

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
