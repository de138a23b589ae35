"""Runner of plans: which stages are run, in which order, and what is reported of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from tdbench.bench.errors import DataError
from tdbench.bench.experiment.executor import Executor, Outcome
from tdbench.bench.experiment.jobs import AuditJob, DistilJob, Job, TrainJob, expected_s, expected_seconds, family
from tdbench.bench.experiment.plan import Plan
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.stages import check_audit
from tdbench.bench.experiment.store import Busy
from tdbench.bench.progress import Reporter
from tdbench.bench.settings import Runtime

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
_Cell = tuple[DistilJob, list[TrainJob]]


class Runner:
    """Runs plans.

    Args:
        results: Where finished stages are.
        runtime: Device, retries, limits.
        reporter: Receives progress.
    """

    def __init__(self, results: Results, runtime: Runtime, reporter: Reporter) -> None:
        self._results, self._runtime, self._reporter = results, runtime, reporter
        self._executor = Executor(results, runtime, reporter)
        self._stacks = self._executor.device.startswith("cuda")
        """Whether the sets and seeds of one method are trained together."""
        self._stacked: set[str] = set()

    def run(self, plan: Plan) -> Outcome:
        """Runs everything that is missing. A failing stage is recorded and stops no other cell."""
        executor, outcome = self._executor, self._executor.outcome
        to_do = [job for jobs in self._jobs(plan) for job in self._open(jobs)]
        expected = expected_seconds(to_do, executor.device, (self._results.store.cache / "features").is_dir())
        executor.announced = {job.id for job in to_do}
        outcome.n_reused = plan.n_stages - len(expected)
        self._reporter.start(expected)
        try:
            # What another process holds is left for a second pass, which waits.
            cells = self._pass(plan.cells, lambda cell: self._cell(cell, plan.cells, wait=False))
            audits = self._pass(plan.audits, lambda audit: self._audit(audit, wait=False))
            self._pass(cells, lambda cell: self._cell(cell, cells, wait=True))
            self._pass(audits, lambda audit: self._audit(audit, wait=True))
        finally:
            self._reporter.close()
        return outcome

    def states(self, plan: Plan) -> list[dict[str, Any]]:
        """Returns what `run` would do with every stage: finished, failed (and left so), or to run."""
        return [
            self._state(job, pending)
            for jobs in self._jobs(plan)
            for pending in [{id(job) for job in self._open(jobs)}]
            for job in jobs
        ]

    def _state(self, job: Job, pending: set[int]) -> dict[str, Any]:
        record = self._executor.known(job)
        settled = "failed" if record is not None and record.status == "failed" else "finished"
        return {
            "id": job.id,
            "stage": job.stage,
            "title": job.title,
            "state": "to run" if id(job) in pending else settled,
            "expected_s": round(expected_s(job, self._executor.device), 1),
        }

    @staticmethod
    def _jobs(plan: Plan) -> list[tuple[Job, ...]]:
        """Returns the jobs of every cell and of every audit, in the order in which they run."""
        cells: list[tuple[Job, ...]] = [(distil, *trains) for distil, trains in plan.cells]
        return cells + [(*audit.needs, audit) for audit in plan.audits]

    def _open(self, jobs: tuple[Job, ...]) -> list[Job]:
        """Returns the jobs still to be done; of a finished audit none, whether or not its runs are still there."""
        if isinstance(jobs[-1], AuditJob) and not self._executor.is_open(jobs[-1]):
            return []
        return [job for job in jobs if self._executor.is_open(job)]

    def _pass(self, items: Iterable[T], run: Callable[[T], None]) -> list[T]:
        """Runs cells or audits; returns those of which another process holds a part."""
        held = []
        for item in items:
            if self._stops():
                break
            try:
                run(item)
            except Busy:
                held.append(item)
        return held

    def _cell(self, cell: _Cell, cells: list[_Cell], wait: bool) -> None:
        distil, trains = cell
        if self._stacks and family(distil) not in self._stacked:
            self._stacked.add(family(distil))
            self._stack([other for other in cells if family(other[0]) == family(distil)])
        if self._executor.ensure(distil, wait).status == "failed":
            self._executor.outcome.n_blocked += len(trains)
            return
        for job in trains:
            if self._stops():
                return
            self._executor.ensure(job, wait)

    def _stack(self, cells: list[_Cell]) -> None:
        """Trains what several sets of one method still lack, one learner after the other, all sets and seeds at once.

        Whatever cannot be stacked, or is held by another run, is left to the cells themselves.
        """
        ready: dict[tuple[str, str], list[TrainJob]] = {}
        for distil, trains in cells:
            if self._stops():
                return
            with suppress(Busy):
                if self._executor.ensure(distil, wait=False).status == "failed":
                    continue
                open_jobs = [job for job in trains if self._executor.is_open(job)]
                if open_jobs and len(set(self._executor.distilled(distil).labels_M.tolist())) > 1:
                    for job in open_jobs:
                        ready.setdefault((job.learner_name, job.protocol.sha256), []).append(job)
        for jobs in ready.values():
            try:
                self._executor.train_stack(jobs)
            except (Exception, SystemExit) as error:  # the members are tried alone, and fail or not by themselves
                name = type(error).__name__
                _LOG.warning("the stack failed (%s: %s); its models are trained one by one", name, error)

    def _audit(self, audit: AuditJob, wait: bool) -> None:
        executor, held = self._executor, False
        if executor.is_open(audit):
            with suppress(DataError):  # which the audit itself then records, before anything is distilled in vain
                check_audit(audit)
                for shadow in audit.runs:
                    for job in shadow.jobs:
                        if self._stops():
                            return
                        try:
                            if executor.ensure(job, wait).status == "failed":  # without one run there is no audit
                                executor.outcome.n_blocked_audits += 1
                                return
                        except Busy:
                            held = True
                            break
            if held:
                raise Busy
        executor.ensure(audit, wait)

    def _stops(self) -> bool:
        """Tells whether so many stages have failed that no other is to begin."""
        outcome, limit = self._executor.outcome, self._runtime.max_failures
        outcome.stopped = limit is not None and outcome.n_failed_now >= limit
        return outcome.stopped
