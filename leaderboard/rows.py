"""From records to the rows of the board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tdbench.bench.record import Record
from tdbench.leaderboard.audits import Audits, privacy_fields
from tdbench.leaderboard.breakeven import fill_breakeven
from tdbench.leaderboard.compare import compare
from tdbench.leaderboard.costs import cost_detail_fields, cost_fields
from tdbench.leaderboard.curves import ScalingSection, scaling_sections
from tdbench.leaderboard.derived_fields import NO_BREAKEVEN, NO_GAP, NO_RANK, DerivedFields
from tdbench.leaderboard.entries import METRICS, Entry, Grid, score_fields
from tdbench.leaderboard.gaps import fill_gaps
from tdbench.leaderboard.keys import Scope
from tdbench.leaderboard.llm_fields import llm_fields
from tdbench.leaderboard.origin import cell_of, joined, origin_fields
from tdbench.leaderboard.privacy_fields import PromiseFields
from tdbench.leaderboard.promises import promise_fields
from tdbench.leaderboard.rankings import Ranking, rankings
from tdbench.leaderboard.ranks import PoolPlaces, fill_ranks
from tdbench.leaderboard.runs import Group, collect
from tdbench.leaderboard.schema import (
    MIXED,
    NO_COMPARISON,
    IdentityFields,
    MethodFields,
    Row,
    budget_order,
)
from tdbench.leaderboard.signs import COLLAPSE_MARGIN_FRAC, find_signs
from tdbench.leaderboard.standing import fewest_seeds, standing_fields
from tdbench.leaderboard.text_fields import text_fields
from tdbench.leaderboard.unseen import unseen_entries
from tdbench.leaderboard.verified import verified_fields
from tdbench.leaderboard.worth import NO_WORTH

_ROUNDING = 1e-9


def build_rows(records: Iterable[Record]) -> list[Row]:
    """Computes all rows of the board.

    Args:
        records: Records of both stages, in any order; the newest record of an id counts.

    Returns:
        Rows in a stable order that does not depend on the order of the records.

    Raises:
        RecordError: A train record does not hold a whole protocol.
    """
    return find(records).rows


@dataclass(frozen=True)
class Findings:
    """All that a board says."""

    rows: list[Row]
    """In a stable order that does not depend on the order of the records."""
    curves: list[ScalingSection]
    """Error by budget."""
    rankings: list[Ranking]
    """Over tasks."""
    places: PoolPlaces
    """In tables, by pool."""


def find(records: Iterable[Record], again: Iterable[Record] = ()) -> Findings:
    """Computes all rows, curves and rankings of the board; see `build_rows`.

    Args:
        records: Records of all stages, in any order.
        again: Trainings that were run again.
    """
    entries = sorted(entries_of(records, again), key=_order)
    curves = scaling_sections(entries)  # fills what a text is worth, too
    return Findings([entry.row for entry in entries], curves, rankings(entries), fill_ranks(entries))


def entries_of(records: Iterable[Record], again: Iterable[Record] = ()) -> list[Entry]:
    """Computes all rows of the board with what stands behind them, without ranks and what follows from curves; see `find`."""
    found = list(records)
    second = {record.id: record for record in again if record.train is not None}
    groups, audits = collect(found), Audits(found)
    metrics = _metrics(groups)
    entries = [_entry(group, metrics[group.key.scope], audits, second) for group in groups]
    entries += unseen_entries(entries)
    compare(entries)
    fill_gaps(entries)
    fill_breakeven(entries)
    find_signs(entries)
    return entries


def _order(entry: Entry) -> tuple[Any, ...]:
    key, row = entry.key, entry.row
    return (
        key.scope,
        budget_order(key.budget),
        key.track,
        key.method,
        key.options,
        -key.method_version,
        key.vintage,
        not row["is_source"],
        row["learner"],
    )


def _metrics(groups: list[Group]) -> dict[Scope, str]:
    """Returns the headline of every scope, as its newest run names it: rows of one table are never about different metrics."""
    newest: dict[Scope, tuple[str, str]] = {}
    for group in groups:
        records = [record for seeds in group.runs.values() for record in seeds.values()]
        named = [(record.created, record.train.metric) for record in records if record.train is not None]
        newest[group.key.scope] = max([newest.get(group.key.scope, ("", METRICS[0])), *named])
    return {scope: metric for scope, (_, metric) in newest.items()}


def _entry(group: Group, metric: str, audits: Audits, again: Mapping[str, Record]) -> Entry:
    grids: dict[str, Grid] = {name: {} for name in METRICS}
    for set_index, seeds in group.runs.items():
        trained = {seed: record.train for seed, record in seeds.items() if record.train is not None}
        for name, grid in grids.items():
            grid[set_index] = {seed: getattr(train, name) for seed, train in trained.items()}
    row, cell = _row(group, grids, metric, audits, again), cell_of(group)
    options = {} if cell is None else cell.options
    return Entry(row=row, key=group.key, protocol=group.protocol, fixed=_is_fixed(group), grids=grids, options=options)


def _row(group: Group, grids: dict[str, Grid], metric: str, audits: Audits, again: Mapping[str, Record]) -> Row:
    """Writes everything that a group's own runs tell; comparisons are filled in later."""
    records = [record for seeds in group.runs.values() for record in seeds.values()]
    privacy, reach = privacy_fields(_epsilon(group), audits.of(cell_of(group), group.key.scope), group.learner)
    return {  # type: ignore[typeddict-item]
        **_identity(group),
        "n_sets": len(group.runs),
        "n_seeds": fewest_seeds(group),
        **score_fields(grids, metric, _is_fixed(group)),
        **NO_COMPARISON,
        **NO_WORTH,
        **NO_GAP,
        **NO_BREAKEVEN,
        **NO_RANK,
        **cost_fields(group.distils.values(), records),
        **cost_detail_fields(group.distils.values(), records),
        **llm_fields(group.distils.values()),
        **privacy,
        **reach,
        **_promise(group),
        **text_fields(group.distils.values()),
        **standing_fields(group),
        **_method(group),
        "failure_signs": "",
        "signs_unchecked": "",
        **_derived(group, records, metric),
        **origin_fields(group, records),
        **verified_fields(records, again),
    }


def _is_fixed(group: Group) -> bool:
    """Tells whether every set of a method is the same: by its nature, or as its sets turned out to be."""
    return group.facts.deterministic or group.facts.full_data or (len(group.runs) > 1 and _n_distinct(group) == 1)


def _n_distinct(group: Group) -> int:
    return len({record.set_sha256 for seeds in group.runs.values() for record in seeds.values()})


def _promise(group: Group) -> PromiseFields:
    found = promise_fields(record.distil for record in group.distils.values())
    if found["promise"] and group.protocol.real_per_class:
        found["promise"] += " It is about the set: the models of this row read real rows besides, without noise."
    return found


def _identity(group: Group) -> IdentityFields:
    key = group.key
    return {
        "task": key.scope.task,
        "data_kind": key.scope.data_kind,
        "method": key.method,
        "options": key.options,
        "track": key.track + (MIXED if group.protocol.real_per_class else ""),
        "private": group.facts.private,
        "budget": key.budget,
        "protocol": key.scope.protocol,
        "learner": group.learner,
        "is_source": group.is_source,
    }


def _epsilon(group: Group) -> float | None:
    return _largest([None if e is None else float(e) for e in _distil_facts(group, "epsilon")])


def _method(group: Group) -> MethodFields:
    facts = group.facts
    return {
        "label": facts.label,
        "family": facts.family,
        "output": joined(_distil_facts(group, "output"), ", "),
        "tags": ", ".join(sorted(facts.tags)),
        "cost_class": facts.cost_class,
        "mode": joined((run.train.mode for runs in group.runs.values() for run in runs.values() if run.train), ", ")
        or "recipe",
        "reference": facts.reference,
        "full_data": facts.full_data,
        "external": facts.external,
        "n_rows": _largest(_distil_facts(group, "n_rows")),
        "n_bytes": fmean(found) if (found := _distil_facts(group, "n_bytes")) else None,
        "n_test_exact": _largest(_distil_facts(group, "n_test_exact")),
    }


def _derived(group: Group, records: list[Record], metric: str) -> DerivedFields:
    n_classes = _largest([len(counts) for counts in _distil_facts(group, "rows_per_class")])
    trained = [record.train for record in records if record.train is not None]
    majority = fmean(train.majority_frac for train in trained) if trained else None
    if majority is not None and metric == "macro_f1_frac":
        # The majority class has precision p and recall 1, all others have an F1 of zero.
        majority = None if n_classes is None else 2 * majority / (1 + majority) / n_classes
    return {
        "diff_reference_to": "",
        "incomplete_references": "",
        "n_distinct_sets": _n_distinct(group),
        "unseen_learners": "",
        "gap_closed_frac": None,
        "majority_frac": majority,
        "collapse_frac": _collapse([getattr(train, metric) for train in trained], majority),
    }


def _collapse(scores: list[float], majority: float | None) -> float | None:
    if majority is None:
        return None
    limit = majority + COLLAPSE_MARGIN_FRAC + _ROUNDING
    return sum(score <= limit for score in scores) / len(scores)


def _distil_facts(group: Group, name: str) -> list[Any]:
    return [getattr(record.distil, name) for record in group.distils.values() if record.distil is not None]


def _largest(values: list[Any]) -> Any:
    """Returns the largest value; null when one is unknown."""
    return max(values) if values and None not in values else None
