"""Runs the audits of a plan through the runner: runs that are missing, then the games."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.bench.errors import DataError
from tdbench.bench.experiment.audit_stages import read_scores, run_audit, run_query
from tdbench.bench.experiment.store import Busy
from tdbench.bench.privacy.guards import blind_auc, check_blind
from tdbench.bench.privacy.released import Released
from tdbench.bench.record import set_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tdbench.bench.experiment.audit_jobs import AuditJob, Shadow
    from tdbench.bench.experiment.expect import Job
    from tdbench.bench.experiment.runner import Runner
    from tdbench.bench.record import Record


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

    def is_stale(self, audit: AuditJob, record: Record) -> bool:
        """Tells whether some run of a finished audit has been made anew since, with another content."""
        if record.audit is None:
            return False
        made = [self._runner.stored(shadow.distil) for shadow in audit.runs]
        pairs = zip(made, record.audit.set_sha256s, strict=False)
        return any(one is not None and one.status == "ok" and set_sha256(one) != known for one, known in pairs)

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
        try:
            check_blind(blind_auc(audit.pool, audit.pool.membership(len(audit.shadows))[::2]))
        except DataError as error:  # before anything is distilled in vain
            refused = error
            return self._ensured(audit, lambda _: _refuse(refused), wait)
        for shadow in audit.runs:
            if runner.stops():
                return True
            try:
                if self._shadow(shadow, pending, wait).status == "failed":  # without one run there is no audit
                    runner.block_audit()
                    return True
            except Busy:
                complete = False
        return complete and self._ensured(audit, lambda scratch: self._play(audit, scratch), wait)

    def _ensured(self, audit: AuditJob, work: Callable[[Path], Record], wait: bool) -> bool:
        try:
            self._runner.ensure(audit, True, work, wait)
        except Busy:
            return False
        return True

    def _shadow(self, shadow: Shadow, pending: list[Job], wait: bool) -> Record:
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

    def _play(self, audit: AuditJob, scratch: Path) -> Record:
        runner = self._runner
        records = [runner.finished(shadow.distil) for shadow in audit.runs]
        targets = []
        for shadow, record in zip(audit.runs, records, strict=True):
            query, said = shadow.query, None
            if query is not None:
                said = read_scores(runner.store.folder(query.stage, query.id), runner.finished(query))
            targets.append(Released(runner.load(shadow.distil, record), shadow.distil.data.train, said))
        return run_audit(
            audit, targets, records, scratch, cache=runner.store.cache, device=runner.device, tick=runner.tick
        )


def _never(_: object) -> Record:
    raise AssertionError("a finished stage is not run")


def _refuse(error: DataError) -> Record:
    raise error
