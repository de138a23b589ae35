"""Executor of single stages: finished ones are looked up, everything else is locked, run and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tdbench.bench.distilled import DistilledSet, check_files
from tdbench.bench.errors import LLMStopError, RecordError
from tdbench.bench.experiment.contexts import Workspace
from tdbench.bench.experiment.jobs import DistilJob, Job, TrainJob
from tdbench.bench.experiment.provenance import choose_device
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.stages import STAGES, failed, run_train_stack
from tdbench.bench.experiment.store import Busy
from tdbench.bench.models.llm.client import Spending
from tdbench.bench.progress import Reporter
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.registry import source_sha256
from tdbench.bench.settings import Runtime


@dataclass
class Outcome:
    """What a run did.

    Args:
        n_run: Stages run now.
        n_reused: Stages found finished.
        failures: Records of stages that failed, now or before.
        n_failed_now: Stages that failed in this run.
        n_blocked: Train stages without a distilled set, because its stage failed.
        n_blocked_audits: Audits that were not played, because one of their runs failed.
        damaged: What was wrong with stored records that had to be made again.
        source_changed: Methods whose source differs from the one that made a reused record of the same version.
        stopped: True when `runtime.max_failures` was reached.
    """

    n_run: int = 0
    n_reused: int = 0
    failures: list[Record] = field(default_factory=list)
    n_failed_now: int = 0
    n_blocked: int = 0
    n_blocked_audits: int = 0
    damaged: set[str] = field(default_factory=set)
    source_changed: set[str] = field(default_factory=set)
    stopped: bool = False


class Executor:
    """Runs single stages and hands out what finished ones left.

    Args:
        results: Run folder, and the archive where it may be used.
        runtime: Device, retries, limits.
        reporter: Receives progress.
    """

    def __init__(self, results: Results, runtime: Runtime, reporter: Reporter) -> None:
        self._results, self._store = results, results.store
        self._runtime, self._reporter = runtime, reporter
        self.device = choose_device(runtime.device)
        self.outcome = Outcome()
        self.announced: set[str] = set()
        """Stages that the reporter was told to expect; one of them that another run finishes first is reported too."""
        self._handled: set[str] = set()
        self._spending = Spending(runtime.llm)
        self._latest: tuple[tuple[str, str], DistilledSet] | None = None

    def stored(self, job: Job) -> Record | None:
        """Returns the run folder's record; one that cannot be used counts as missing, so that its stage is run again."""
        try:
            record = self._store.get(job.stage, job.id)
            if record is not None and record.status == "ok":
                check_files(self.folder(job), record.artefacts)
        except RecordError as error:
            self.outcome.damaged.add(str(error))
            return None
        return record

    def known(self, job: Job) -> Record | None:
        """Returns a stage's record from the run folder, or else from the archive; None while it has not run."""
        return self.stored(job) or self._results.archived(job.id)

    def finished(self, job: Job) -> Record:
        """Returns the record of a stage that has run."""
        record = self.known(job)
        assert record is not None
        return record

    def distilled(self, job: DistilJob) -> DistilledSet:
        """Returns the set of a distil stage that has run."""
        record = self.finished(job)
        key = job.id, set_sha256(record)
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self._results.distilled(record, job.data.train)
        return self._latest[1]

    def folder(self, job: Job) -> Path:
        """Returns where a stage's files are, or will be."""
        return self._store.folder(job.stage, job.id)

    def is_open(self, job: Job) -> bool:
        """Tells whether a stage is still to be run."""
        record = self.known(job)
        return record is None or not self._is_settled(job, record)

    def ensure(self, job: Job, wait: bool = True) -> Record:
        """Returns a stage's record, running it when it is still missing; the stages that it needs must have run.

        Raises:
            Busy: Another run is on it and `wait` is false.
        """
        if job.id not in self._handled:
            record = self.known(job)
            if record is None or not self._is_settled(job, record):
                return self._run(job, wait)
            self._reuse(job, record)
            return record
        return self.finished(job)

    def train_stack(self, jobs: Sequence[TrainJob]) -> None:
        """Trains several sets and seeds of one learner at once; what other runs hold or have finished is left out.

        Raises:
            Exception: Whatever the stack raised; nothing was recorded then.
        """
        with ExitStack() as locks:
            held: list[TrainJob] = []
            for job in jobs:
                with suppress(Busy):
                    locks.enter_context(self._store.lock(job.stage, job.id, wait=False))
                    if self.is_open(job):
                        held.append(job)
            if len(held) < 2:
                return
            workspace = self._workspace(self._store.cache, lambda _: None)  # a stack leaves no files of its own
            for job, record in zip(held, run_train_stack(held, workspace) or [], strict=False):
                with self._store.writing(job.stage, job.id) as scratch:
                    self._store.put(record, scratch)
                self._reporter.stage(job.title)
                self._book(job, record, f"{summary(record)}, in a stack,")

    def _run(self, job: Job, wait: bool) -> Record:
        with self._store.lock(job.stage, job.id, wait):
            record = self.stored(job)
            if record is not None and self._is_settled(job, record):  # another run was faster
                self._reuse(job, record)
                return record
            self._reporter.stage(job.title)
            with self._store.writing(job.stage, job.id) as scratch:
                try:
                    record = STAGES[job.stage](job, self._workspace(scratch, self._reporter.tick))
                except LLMStopError:
                    raise
                except (Exception, SystemExit) as error:  # a plug-in may raise anything: it becomes a record
                    record = failed(job, error, self.device)
                self._store.put(record, scratch)
        self._book(job, record, summary(record))
        return record

    def _workspace(self, scratch: Path, tick: Callable[[float], None]) -> Workspace:
        return Workspace(self, scratch, self._store.cache, self.device, tick, self._spending)

    def _book(self, job: Job, record: Record, text: str) -> None:
        """Counts and reports a stage that was run now."""
        self._handled.add(job.id)
        self.outcome.n_run += 1
        if record.status == "failed":
            self.outcome.failures.append(record)
            self.outcome.n_failed_now += 1
        self._reporter.done(text)

    def _reuse(self, job: Job, record: Record) -> None:
        """Counts a finished stage, once."""
        self._handled.add(job.id)
        if job.id in self.announced:
            self._reporter.stage(job.title)
            self._reporter.done("found finished")
            self.outcome.n_reused += 1
        if record.status == "failed":
            self.outcome.failures.append(record)
        if isinstance(job, DistilJob) and record.provenance.plugin_source_sha256 != source_sha256(type(job.method)):
            self.outcome.source_changed.add(job.cell.method)

    def _is_settled(self, job: Job, record: Record) -> bool:
        """Tells whether a record makes running its stage needless."""
        if job.id in self._handled:
            return not self._reads_other_sets(job, record)
        again = self._runtime.force or (record.status == "failed" and self._runtime.retry)
        return not again and not self._reads_other_sets(job, record)

    def _reads_other_sets(self, job: Job, record: Record) -> bool:
        """Tells whether a set that the stage read has been made anew since, with another content."""
        if record.status != "ok":
            return False
        read = (record.set_sha256,) if record.audit is None else record.audit.set_sha256s
        sets = [self.known(need) for need in job.needs if isinstance(need, DistilJob)]
        pairs = zip(sets, read, strict=False)
        return any(s is not None and s.status == "ok" and set_sha256(s) != sha256 for s, sha256 in pairs)


def summary(record: Record) -> str:
    """Says in a few words how a stage ended."""
    if record.error is not None:
        return f"FAILED ({record.error.type}: {record.error.message.splitlines()[0][:120] if record.error.message else ''})"
    if record.audit is not None:
        return ", ".join(f"AUC {attack.auc:.3f} ({attack.name})" for attack in record.audit.attacks if attack.headline)
    if record.train is not None:
        return f"accuracy {record.train.accuracy_frac:.1%}"
    return f"{record.distil.n_rows} texts" if record.distil else "done"
