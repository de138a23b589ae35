"""What a run did, and how single stages ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from tdbench.bench.record import Record, set_sha256


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
