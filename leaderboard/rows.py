"""From records to the rows of the board: measured, then compared, each in one pass over the registry of fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tdbench.bench.record import Record
from tdbench.leaderboard.audits import Audits
from tdbench.leaderboard.compare import Board, Comparison, TransferScore, transfer_scores
from tdbench.leaderboard.curves import ScalingSection, scaling_sections
from tdbench.leaderboard.fields import COMPARED, FIELDS, MEASURED
from tdbench.leaderboard.measures import Measurement
from tdbench.leaderboard.rankings import PoolRanks, Ranking, rankings
from tdbench.leaderboard.runs import METRICS, Entry, Group, Scope, collect
from tdbench.leaderboard.schema import TRANSFER, Row, budget_order


@dataclass(frozen=True)
class Findings:
    """All that a board says."""

    rows: list[Row]
    """In a stable order that does not depend on the order of the records."""
    curves: list[ScalingSection]
    """Error by budget."""
    rankings: list[Ranking]
    """Over tasks."""
    ranks: PoolRanks
    """In tables, by pool."""


def build_rows(records: Iterable[Record]) -> list[Row]:
    """Computes all rows of the board; see `find`."""
    return find(records).rows


def find(records: Iterable[Record], reproductions: Iterable[Record] = ()) -> Findings:
    """Computes all rows, curves and rankings of the board.

    Args:
        records: Records of all stages, in any order; the newest record of an id counts.
        reproductions: Trainings that were made a second time.

    Raises:
        RecordError: A train record does not hold a whole protocol.
    """
    entries = sorted(entries_of(records, reproductions), key=_order)
    curves, equivalences = scaling_sections(entries)
    board = Board(entries, equivalences)
    return Findings([_compared(entry, board) for entry in entries], curves, rankings(entries), board.ranks)


def entries_of(records: Iterable[Record], reproductions: Iterable[Record] = ()) -> list[Entry]:
    """Computes the measured fields of all rows, transfer scores included; see `find`."""
    given = list(records)
    repeated = {record.id: record for record in reproductions if record.train is not None}
    groups, audits = collect(given), Audits(given)
    metrics = _metrics(groups)
    entries = [
        _measured(Measurement(group, metrics[group.key.scope], audits.of(group.cell, group.key.scope), repeated))
        for group in groups
    ]
    return entries + [_transfer(context) for context in transfer_scores(entries)]


def _measured(context: Measurement) -> Entry:
    row = {field.name: field.produce(context) for field in MEASURED}
    return Entry(row, context.group, context.fixed, context.grids, context.status)


def _transfer(context: TransferScore) -> Entry:
    row = {field.name: context.value(field) for field in MEASURED}
    return Entry(row, context.first.group, context.first.fixed, context.grids, context.status)


def _compared(entry: Entry, board: Board) -> Row:
    context, row = Comparison(entry, board), dict(entry.row)
    for field in COMPARED:
        applies = entry.learner != TRANSFER or field.transfer != "empty"
        row[field.name] = field.produce(context) if applies else field.empty
    return {field.name: row[field.name] for field in FIELDS}


def _order(entry: Entry) -> tuple[Any, ...]:
    key, row = entry.key, entry.row
    return (
        key.scope,
        budget_order(key.budget),
        key.track,
        key.method,
        key.options,
        -key.method_version,
        key.data_version,
        not row["is_source"],
        row["learner"],
    )


def _metrics(groups: list[Group]) -> dict[Scope, str]:
    """Returns the headline of every scope, as its newest run names it: rows of one table are never about different metrics."""
    newest: dict[Scope, tuple[str, str]] = {}
    for group in groups:
        named = [(record.created, record.train.metric) for record in group.trainings if record.train is not None]
        newest[group.key.scope] = max([newest.get(group.key.scope, ("", METRICS[0])), *named])
    return {scope: metric for scope, (_, metric) in newest.items()}
