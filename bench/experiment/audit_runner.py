"""Runs the audits of a plan through the runner: runs that are missing, then the games."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.experiment.audit_stages import read_scores, run_audit, run_query
from bench.experiment.record import set_sha256
from bench.experiment.store import Busy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.distilled import DistilledSet
    from bench.experiment.audit_jobs import AuditJob, QueryJob, Shadow
    from bench.experiment.expect import Job
    from bench.experiment.record import Record
    from bench.experiment.runner import Runner


class Audits:
    """What a runner does about audits.

    Args:
        runner: Runs single stages, and knows what is finished.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def pending(self, audit: AuditJob) -> list[Job]:
        """Returns the jobs still to be done; of a finished audit none, whether or not its runs are still there."""
        if not self._runner.is_open(audit):
            return []
        return [*(job for job in audit.jobs if self._runner.is_open(job)), audit]

    def run(self, audits: Sequence[tuple[AuditJob, list[Job]]], wait: bool) -> list[tuple[AuditJob, list[Job]]]:
        """Runs audits; returns those of which another process holds a part, for a second pass that waits."""
        held = []
        for audit, pending in audits:
            if self._runner.stops():
                break
            if not self._audit(audit, pending, wait):
                held.append((audit, pending))
        return held

    def _audit(self, audit: AuditJob, pending: list[Job], wait: bool) -> bool:
        runner = self._runner
        if not pending:
            runner.ensure(audit, False, _never, wait)
            return True
        complete = True
        records = []
        for shadow in audit.runs:
            if runner.stops():
                return True
            try:
                records.append(self._shadow(shadow, pending, wait))
            except Busy:
                complete = False
        if not complete:
            return False
        if any(record is None or record.status == "failed" for record in records):
            runner.block(1)
            return True
        try:
            runner.ensure(audit, audit in pending, lambda _: self._play(audit), wait)
        except Busy:
            return False
        return True

    def _shadow(self, shadow: Shadow, pending: list[Job], wait: bool) -> Record | None:
        """Ensures one run's set and answers; returns the record that decides whether it can be used."""
        runner, distil, query = self._runner, shadow.distil, shadow.query
        record = runner.ensure(distil, distil in pending, lambda scratch: runner.distil(distil, scratch), wait)
        if record.status == "failed" or query is None:
            return record
        made = record

        def ask(scratch):
            return run_query(
                query, runner.load(distil, made), set_sha256(made), scratch, device=runner.device, tick=runner.tick
            )

        return runner.ensure(query, query in pending or runner.is_open(query), ask, wait)

    def _play(self, audit: AuditJob) -> Record:
        runner = self._runner
        records = [runner.finished(shadow.distil) for shadow in audit.runs]
        sets: list[DistilledSet] = [
            runner.load(shadow.distil, record) for shadow, record in zip(audit.runs, records, strict=True)
        ]
        said = [None if shadow.query is None else self._scores(shadow.query) for shadow in audit.runs]
        return run_audit(audit, sets, said, records, cache=runner.store.cache, device=runner.device, tick=runner.tick)

    def _scores(self, query: QueryJob):
        return read_scores(self._runner.store.folder(query.stage, query.id), self._runner.finished(query))


def _never(_: object) -> Record:
    raise AssertionError("a finished stage is not run")
