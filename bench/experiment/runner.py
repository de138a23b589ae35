"""Runs a plan against a store: finished stages are reused, everything else is run, locked, recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdbench.bench.distilled import DistilledSet, check_files
from tdbench.bench.errors import DataError, LLMStopError, RecordError
from tdbench.bench.experiment.jobs import (
    AuditJob,
    DistilJob,
    Job,
    QueryJob,
    Shadow,
    TrainJob,
    expected_s,
    expected_seconds,
    family,
)
from tdbench.bench.experiment.plan import Plan
from tdbench.bench.experiment.provenance import choose_device
from tdbench.bench.experiment.stages import (
    failed,
    read_scores,
    run_audit,
    run_distil,
    run_query,
    run_train,
    run_train_stack,
)
from tdbench.bench.experiment.store import Busy, Store
from tdbench.bench.models.llm.client import Spending
from tdbench.bench.privacy.audit import baseline_auc, check_baseline
from tdbench.bench.privacy.released import Released
from tdbench.bench.progress import Reporter
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.registry import source_sha256

if TYPE_CHECKING:
    from tdbench.bench.experiment.archive import Accepted
    from tdbench.bench.settings import Runtime


@dataclass
class Outcome:
    """What a run did.

    Args:
        n_run: Stages run now.
        n_reused: Stages found finished.
        failures: Records of stages that failed, now or before.
        n_failed_now: Stages that failed in this run.
        damaged: What was wrong with stored records that had to be made again.
        n_blocked: Train stages without a distilled set, because its stage failed.
        n_blocked_audits: Audits that were not played, because one of their runs failed.
        drifted: Methods whose source differs from the one that made a reused record of the same version.
        stopped: True when `runtime.max_failures` was reached.
    """

    n_run: int = 0
    n_reused: int = 0
    failures: list[Record] = field(default_factory=list)
    n_failed_now: int = 0
    n_blocked: int = 0
    n_blocked_audits: int = 0
    damaged: set[str] = field(default_factory=set)
    drifted: set[str] = field(default_factory=set)
    stopped: bool = False


def is_of_another_set(record: Record, made: Record | None) -> bool:
    """Tells whether a record of a trained model belongs to a set that has been made anew since, with another content."""
    return made is not None and record.status == "ok" and record.set_sha256 != set_sha256(made)


def phrase(record: Record) -> str:
    """Says in a few words how a stage ended."""
    if record.error is not None:
        return f"FAILED ({record.error.type}: {record.error.message.splitlines()[0][:120] if record.error.message else ''})"
    if record.audit is not None:
        return ", ".join(f"AUC {attack.auc:.3f} ({attack.name})" for attack in record.audit.attacks if attack.headline)
    if record.train is not None:
        return f"accuracy {record.train.accuracy_frac:.1%}"
    return f"{record.distil.n_rows} texts" if record.distil else "done"


_LOG = logging.getLogger(__name__)


class Runner:
    """Runs plans.

    Args:
        store: Where finished stages are.
        runtime: Device, retries, limits.
        reporter: Receives progress.
        accepted: Finished stages from elsewhere, or None.
    """

    def __init__(self, store: Store, runtime: Runtime, reporter: Reporter, accepted: Accepted | None = None) -> None:
        self.store, self._runtime, self._reporter, self._accepted = store, runtime, reporter, accepted
        self.device = choose_device(runtime.device)
        self.tick = reporter.tick
        self._ran: set[str] = set()
        self._found: set[str] = set()
        """Stages that were to run and that another run finished first; a second pass must not count them again."""
        self._stacks = self.device.startswith("cuda")
        """Whether the sets and seeds of one method are trained together."""
        self._stacked: set[str] = set()
        self._audits = Audits(self)
        self._spending = Spending(runtime.llm)
        self._outcome = Outcome()

    def run(self, plan: Plan) -> Outcome:
        """Runs everything that is missing. A failing stage is recorded and stops no other cell."""
        pending = [self._pending(distil, trains) for distil, trains in plan.cells]
        audits = [(audit, self._audits.pending(audit)) for audit in plan.audits]
        has_features = (self.store.cache / "features").is_dir()
        to_do = [job for jobs in (*pending, *(jobs for _, jobs in audits)) for job in jobs]
        expected = expected_seconds(to_do, self.device, has_features)
        self._outcome.n_reused = plan.n_stages - len(expected)
        self._reporter.start(expected)
        try:
            waiting = self._pass(list(zip(plan.cells, pending, strict=True)), wait=False)
            held = self._audits.run(audits, wait=False)
            self._pass(waiting, wait=True)
            self._audits.run(held, wait=True)
        finally:
            self._reporter.close()
        return self._outcome

    def states(self, plan: Plan) -> list[dict[str, Any]]:
        """Returns what `run` would do with every stage: finished, failed (and left so), or to run."""
        listed = []
        for distil, trains in plan.cells:
            pending = self._pending(distil, trains)
            listed += [self._state(job, pending) for job in (distil, *trains)]
        for audit in plan.audits:
            pending = self._audits.pending(audit)
            listed += [self._state(job, pending) for job in (*audit.jobs, audit)]
        return listed

    def _state(self, job: Job, pending: list[Job]) -> dict[str, Any]:
        record = self._known(job)
        settled = "failed" if record is not None and record.status == "failed" else "finished"
        return {
            "id": job.id,
            "stage": job.stage,
            "title": job.title,
            "state": "to run" if job in pending else settled,
            "expected_s": round(expected_s(job, self.device), 1),
        }

    def _pass(self, cells: list, wait: bool) -> list:
        """Runs cells; those that another run holds come back for a second pass, which waits."""
        held = []
        for (distil, trains), pending in cells:
            if self.stops():
                break
            try:
                if self._stacks and family(distil) not in self._stacked:
                    self._stacked.add(family(distil))
                    self._stack([cell for cell in cells if family(cell[0][0]) == family(distil)])
                self._cell(distil, trains, pending, wait)
            except Busy:
                held.append(((distil, trains), pending))
        return held

    def _stack(self, cells: list) -> None:
        """Trains what several sets of one method still lack, one learner after the other, all sets and seeds at once.

        Whatever cannot be stacked, or is held by another run, is left to the cells themselves.
        """
        ready: list[tuple[TrainJob, DistilledSet, Record]] = []
        for (distil, trains), pending in cells:
            if self.stops():
                return
            with suppress(Busy):
                record = self.ensure(
                    distil, distil in pending, lambda scratch, d=distil: self.distil(d, scratch), False
                )
                wanted = [job for job in trains if job in pending] if record.status == "ok" else []
                made = self.load(distil, record) if wanted else None
                if made is not None and len(set(made.labels_M.tolist())) > 1:
                    ready += [(job, made, record) for job in wanted]
        kinds = [(job.learner_name, job.protocol.sha256) for job, _, _ in ready]
        for kind in dict.fromkeys(kinds):
            with ExitStack() as locks:
                own = []
                for (job, made, record), other in zip(ready, kinds, strict=True):
                    with suppress(Busy):
                        if other == kind:
                            locks.enter_context(self.store.lock("train", job.id, wait=False))
                            known = self.stored(job)
                            if known is None or not self._is_settled(job, known):
                                own.append((job, made, record))
                if len(own) > 1:
                    self._train_stack(own)

    def _train_stack(self, own: list[tuple[TrainJob, DistilledSet, Record]]) -> None:
        jobs = [job for job, _, _ in own]
        made, hashes = [one for _, one, _ in own], [set_sha256(record) for _, _, record in own]
        try:
            records = run_train_stack(jobs, made, hashes, self.device, lambda _: None)
        except (Exception, SystemExit) as error:  # the members are tried alone, and fail or not by themselves
            _LOG.warning("the stack failed (%s: %s); its models are trained one by one", type(error).__name__, error)
            return
        for job, record in zip(jobs, records or [], strict=False):
            with self.store.writing("train", job.id) as scratch:
                self.store.put(record, scratch)
            self._ran.add(job.id)
            self._outcome.n_run += 1
            self._reporter.stage(job.title)
            self._reporter.done(f"{phrase(record)}, in a stack,")

    def _cell(self, distil: DistilJob, trains: list[TrainJob], pending: list[Job], wait: bool) -> None:
        record = self.ensure(distil, distil in pending, lambda scratch: self.distil(distil, scratch), wait)
        if record.status == "failed":
            self._outcome.n_blocked += len(trains)
            return
        made: DistilledSet | None = None
        for job in trains:
            if self.stops():
                return
            known = self._known(job)
            wanted = job in pending or known is None or is_of_another_set(known, record)
            if wanted and made is None:
                made = self.load(distil, record)
            self.ensure(job, wanted, lambda _, job=job, made=made: self._train(job, made), wait)

    def distil(self, job: DistilJob, scratch: Path) -> Record:
        """Makes a set."""
        return run_distil(job, scratch, self.store.cache, self.device, self.tick, spending=self._spending)

    def _train(self, job: TrainJob, made: DistilledSet | None) -> Record:
        assert made is not None
        record = self._known(job.distil)
        assert record is not None
        return run_train(job, made, set_sha256(record), self.device, self.tick)

    def load(self, job: DistilJob, record: Record) -> DistilledSet:
        """Returns the set that a record describes."""
        folder = self.store.folder(job.stage, job.id)
        if folder.is_dir() or self._accepted is None:
            return DistilledSet.load(folder, record.artefacts)
        return self._accepted.distilled(job.id, job.data.train)

    def ensure(self, job: Job, pending: bool, work: Callable[[Path], Record], wait: bool) -> Record:
        """Returns the stage's record, running it when it is still missing.

        Raises:
            Busy: Another run is on it and `wait` is false.
        """
        handled = job.id in self._ran or job.id in self._found
        if not pending or handled:
            record = self._known(job)
            assert record is not None
            if not handled:
                self._note_reuse(job, record)
            return record
        with self.store.lock(job.stage, job.id, wait):
            record = self.stored(job)
            if record is not None and self._is_settled(job, record):  # another run was faster
                self._reporter.stage(job.title)
                self._reporter.done("found finished")
                self._outcome.n_reused += 1
                self._found.add(job.id)
                self._note_reuse(job, record)
                return record
            self._reporter.stage(job.title)
            with self.store.writing(job.stage, job.id) as scratch:
                try:
                    record = work(scratch)
                except LLMStopError:
                    raise
                except (Exception, SystemExit) as error:  # a plug-in may raise anything: it becomes a record
                    record = failed(job, error, self.device)
                self.store.put(record, scratch)
        self._ran.add(job.id)
        self._outcome.n_run += 1
        if record.status == "failed":
            self._outcome.failures.append(record)
            self._outcome.n_failed_now += 1
        self._reporter.done(phrase(record))
        return record

    def _known(self, job: Job) -> Record | None:
        record = self.stored(job)
        if record is None and self._accepted is not None:
            return self._accepted.get(job.id)
        return record

    def stored(self, job: Job) -> Record | None:
        """Returns the stored record; one that cannot be used counts as missing, so that its stage is run again."""
        try:
            record = self.store.get(job.stage, job.id)
            if record is not None and record.status == "ok":
                check_files(self.store.folder(job.stage, job.id), record.artefacts)
        except RecordError as error:
            self._outcome.damaged.add(str(error))
            return None
        return record

    def _pending(self, distil: DistilJob, trains: list[TrainJob]) -> list[Job]:
        made = self._known(distil)
        pending: list[Job] = [distil] if made is None or self._again(made) else []
        for job in trains:
            record = self._known(job)
            if record is None or self._again(record) or is_of_another_set(record, made):
                pending.append(job)
        return pending

    def _is_settled(self, job: Job, record: Record) -> bool:
        """Tells whether a record found under the lock makes running the stage needless."""
        if isinstance(job, AuditJob):
            return not self._again(record) and not self._audits.is_stale(job, record)
        made = self._known(job.distil) if isinstance(job, TrainJob | QueryJob) else None
        return not self._again(record) and not is_of_another_set(record, made)

    def is_open(self, job: Job) -> bool:
        """Tells whether a stage is still to be run."""
        record = self._known(job)
        return record is None or not self._is_settled(job, record)

    def finished(self, job: Job) -> Record:
        """Returns the record of a stage that has run."""
        record = self._known(job)
        assert record is not None
        return record

    def block_audit(self) -> None:
        """Counts an audit that cannot be played, because one of its runs has failed."""
        self._outcome.n_blocked_audits += 1

    def _again(self, record: Record) -> bool:
        if record.id in self._ran:
            return False
        return self._runtime.force or (record.status == "failed" and self._runtime.retry)

    def _note_reuse(self, job: Job, record: Record) -> None:
        if record.status == "failed":
            self._outcome.failures.append(record)
        distil = job if isinstance(job, DistilJob) else job.distil
        source = source_sha256(type(distil.method))
        if isinstance(job, DistilJob) and record.provenance.plugin_source_sha256 != source:
            self._outcome.drifted.add(distil.cell.method)

    def stops(self) -> bool:
        """Tells whether so many stages have failed that no other is to begin."""
        limit = self._runtime.max_failures
        self._outcome.stopped = limit is not None and self._outcome.n_failed_now >= limit
        return self._outcome.stopped


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
            check_baseline(baseline_auc(audit.pool, audit.pool.membership(len(audit.shadows))[::2]))
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
