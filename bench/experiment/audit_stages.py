"""Runs the stages of an audit: a target model's answers, and the games."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import sha256_file
from tdbench.bench.config import is_custom, is_custom_audit
from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet, check_files
from tdbench.bench.experiment.audit_jobs import AUDIT_VERSION, AuditJob, QueryJob
from tdbench.bench.experiment.contexts import Tick, context_of
from tdbench.bench.experiment.fitting import fitted_scores, train_inputs, train_seed
from tdbench.bench.experiment.stages import describe, protocol_parts
from tdbench.bench.matching.start import vectors_of, words_of
from tdbench.bench.models.encoder import CachedEncoder
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.attacks.vectors import VectorAttacks
from tdbench.bench.privacy.games import Match, SetAttacks
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.training.learner import TrainContext
from tdbench.bench.training.resolve import resolve_learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.privacy.attacks.text import Embed
    from tdbench.bench.privacy.released import Released
    from tdbench.bench.settings import Protocol

SCORES_FILE = "scores.safetensors"


def run_query(job: QueryJob, made: DistilledSet, set_id: str, scratch: Path, *, device: str, tick: Tick) -> Record:
    """Trains the target model on a shadow's set and keeps its scores of the queries in `scratch`; it sees no label of theirs."""
    from safetensors.numpy import save_file

    cost = CostMeter(device)
    train, _, recipe = train_inputs(job.train, made)
    context = TrainContext(train_seed(job.train), device, cost, tick)
    scores_NC = fitted_scores(job.train, train, job.queries, recipe, context)
    save_file({"scores": np.ascontiguousarray(scores_NC, dtype=np.float32)}, scratch / SCORES_FILE)
    artefacts = {SCORES_FILE: sha256_file(scratch / SCORES_FILE)}
    parts = {"artefacts": artefacts, "set_sha256": set_id, **protocol_parts(job.train)}
    return describe(job.distil, job.id, job.stage, device, cost, **parts)


def read_scores(folder: Path, record: Record) -> NDArray[np.float32]:
    """Reads what `run_query` kept.

    Raises:
        RecordError: The file is missing or has changed.
    """
    from safetensors.numpy import load_file

    check_files(folder, record.artefacts)
    return load_file(folder / SCORES_FILE)["scores"]


def run_audit(
    job: AuditJob,
    targets: list[Released],
    records: list[Record],
    scratch: Path,
    *,
    cache: Path,
    device: str,
    tick: Tick,
) -> Record:
    """Plays the games.

    Args:
        job: The audit.
        targets: What every run released, the null run last.
        records: Of the runs' distillations.
        scratch: Empty folder.
        cache: Where features are kept.
        device: Device of the attacker's encoder.
        tick: Receives the finished fraction.
    """
    cost = CostMeter(device)
    context = context_of(job.shadows[0].distil, cost, scratch, cache=cache, device=device, tick=tick)
    runs, null = (targets, None) if job.null is None else (targets[:-1], targets[-1])
    notes: list[str] = []
    with cost.phase("attack"):
        match = Match(
            pool=job.pool,
            runs=runs,
            null=null,
            attacks=_attacks(job, context, runs[0], cache, notes),
            members_SG=job.pool.membership(len(runs)),
            claim=_claim(records),
        )
        result = match.play(tick)
    result |= {
        "audit_version": AUDIT_VERSION,
        "settings": job.settings.model_dump(mode="json"),
        "games": job.settings.games,
        "set_sha256s": tuple(map(set_sha256, records)),
        "notes": tuple(notes),
    }
    parts: dict[str, Any] = {
        "audit": result,
        "protocol": job.protocol.content,
        "learner": job.protocol.source if "model" in job.settings.games else None,
        "custom": is_custom(job.protocol) or is_custom_audit(job.settings),
    }
    return describe(job.distil, job.id, job.stage, device, cost, **parts)


def _attacks(job: AuditJob, context: Context, released: Released, cache: Path, notes: list[str]) -> SetAttacks:
    """Returns the attacks on texts, or on token vectors."""
    if released.made.soft is not None:
        source = context.source(released.real)
        return VectorAttacks(job.pool.rows, lambda text: vectors_of(source, words_of(source, text)))
    task = job.distil.cell.task
    embed = public_encoder(job.protocol, task, cache, device=context.device, cost=context.cost, notes=notes)
    return TextAttacks(job.pool.rows, job.pool.auxiliary, embed)


def _claim(records: list[Record]) -> tuple[float, float] | None:
    """Returns the weakest promise of the runs; None where one promises nothing that can be refuted."""
    claims = [(r.distil.epsilon, r.distil.delta) for r in records if r.distil is not None]
    kept = [(eps, delta) for eps, delta in claims if isinstance(eps, float) and delta is not None]
    return max(kept) if kept and len(kept) == len(records) else None


def public_encoder(
    protocol: Protocol, task: str, cache: Path, *, device: str, cost: CostMeter, notes: list[str]
) -> Embed | None:
    """Returns the attacker's encoder of texts: the protocol's source learner as it was before it saw the task.

    Args:
        protocol: Names the source learner.
        task: Decides the maximum length.
        cache: Where features are kept.
        device: `cpu` or `cuda`.
        cost: Cost meter.
        notes: Receives the reason where there is none.
    """
    learner = resolve_learner(protocol.source)
    problem = learner.available()
    if problem is None:
        encoder = CachedEncoder(learner.encoder(protocol.length_for(task), device), cache / "features")
        if encoder.rowwise:
            return lambda text: encoder.embed(text, cost)
        problem = f"{protocol.source} has no encoder that is fixed beforehand"
    notes.append(f"no attack by nearest neighbours: {problem}")
    return None
