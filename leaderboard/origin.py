"""Where a row's numbers come from: data, machines, code, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Iterable

from tdbench.bench.record import Cell, Record
from tdbench.leaderboard.commands import run_command
from tdbench.leaderboard.runs import Group
from tdbench.leaderboard.schema import OriginFields
from tdbench.leaderboard.verified import machine


def origin_fields(group: Group, records: list[Record]) -> OriginFields:
    """Returns where a row comes from.

    Args:
        group: All runs behind the row.
        records: Its finished trainings.
    """
    key = group.key
    return {
        "device": joined((record.provenance.device for record in records), ", "),
        "hardware": joined((machine(record) for record in records), ", "),
        "distil_hardware": joined((machine(record) for record in group.distils.values()), ", "),
        "measured": _days(records),
        "task_options": key.scope.task_options,
        "task_version": key.vintage.task_version,
        "method_version": key.method_version,
        "data_fingerprint": key.vintage.data_fingerprint,
        "test_fingerprint": key.vintage.test_fingerprint,
        "protocol_learners": ", ".join(group.protocol.learners),
        "contamination": joined((r.train.contamination for r in records if r.train and r.train.contamination), "; "),
        "distil_contamination": joined(
            (r.distil.contamination for r in group.distils.values() if r.distil and r.distil.contamination), "; "
        ),
        "notes": joined((note for record in records if record.train for note in record.train.notes), "; "),
        "commits": joined(filter(None, (_commit(record) for record in records)), ", "),
        "command": _command(group),
        "first_set_id": next((record.id for record in group.distils.values()), ""),
        "first_train_id": records[0].id if records else "",
    }


def _days(records: list[Record]) -> str:
    days = sorted({record.created[:10] for record in records})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def _commit(record: Record) -> str:
    found = record.provenance
    return "" if found.git_commit is None else found.git_commit[:10] + ("+" if found.git_dirty else "")


def _command(group: Group) -> str:
    cell = cell_of(group)
    repeatable = cell is not None and not group.facts.external and not group.key.scope.custom_id
    return run_command(cell, group.key.scope.protocol) if cell is not None and repeatable else ""


def cell_of(group: Group) -> Cell | None:
    """Returns the cell of one of the group's runs; they differ in the set index alone."""
    records = [*group.distils.values(), *(record for seeds in group.runs.values() for record in seeds.values())]
    return records[0].cell if records else None


def joined(values: Iterable[str], separator: str) -> str:
    """Returns the different values in order, as one text."""
    return separator.join(sorted(set(values)))
