"""Guesses how long stages take; only the proportions matter, for the ETA."""

from __future__ import annotations

from tdbench.bench.experiment.audit_jobs import AuditJob, QueryJob
from tdbench.bench.experiment.jobs import DistilJob, TrainJob
from tdbench.bench.training.resolve import resolve_learner

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
