"""From records to the rows of the board."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tdbench.bench.record import Cell, Record
from tdbench.leaderboard.audits import Audits, privacy_fields
from tdbench.leaderboard.compare import compare, fill_breakeven, fill_gaps, transfer_entries
from tdbench.leaderboard.curves import ScalingSection, scaling_sections
from tdbench.leaderboard.fields import (
    PromiseFields,
    cost_detail_fields,
    cost_fields,
    llm_fields,
    machine,
    promise_fields,
    reproduction_fields,
    text_fields,
)
from tdbench.leaderboard.flags import COLLAPSE_MARGIN_FRAC, find_flags
from tdbench.leaderboard.rankings import PoolPlaces, Ranking, fill_ranks, rankings
from tdbench.leaderboard.runs import METRICS, Entry, Grid, Group, Scope, collect, score_fields
from tdbench.leaderboard.schema import (
    ALL_BUDGET,
    MIXED,
    NO_BREAKEVEN,
    NO_COMPARISON,
    NO_GAP,
    NO_RANK,
    NO_WORTH,
    DerivedFields,
    IdentityFields,
    MethodFields,
    OriginFields,
    Row,
    StatusFields,
    budget_order,
)

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
    entries += transfer_entries(entries)
    compare(entries)
    fill_gaps(entries)
    fill_breakeven(entries)
    find_flags(entries)
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
        key.data_version,
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
        **status_fields(group),
        **_method(group),
        "failure_flags": "",
        "flags_unchecked": "",
        **_derived(group, records, metric),
        **origin_fields(group, records),
        **reproduction_fields(records, again),
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
        "transfer_learners": "",
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
        "task_version": key.data_version.task_version,
        "method_version": key.method_version,
        "data_fingerprint": key.data_version.data_fingerprint,
        "test_fingerprint": key.data_version.test_fingerprint,
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


def status_fields(group: Group) -> StatusFields:
    """Returns what a group's runs say about its standing."""
    hole = _hole(group)
    reason = _unranked_reason(group, hole)
    return {
        "complete": not hole,
        "n_failed": group.n_failed,
        "ranked": not reason,
        "unranked_reason": reason,
        "superseded": bool(group.stale),
        "custom": bool(group.key.scope.custom_id),
        "custom_id": group.key.scope.custom_id,
    }


def fewest_seeds(group: Group) -> int:
    """Returns the seeds of the set that has the fewest."""
    return min((len(seeds) for seeds in group.runs.values()), default=0)


def _hole(group: Group) -> str:
    """Says what is missing of the sets and seeds that the protocol asks for; empty when nothing is."""
    need_sets, need_seeds = group.protocol.replication(group.facts)
    sets, n_seeds = sorted(group.runs), fewest_seeds(group)
    if group.n_failed:
        return f"{group.n_failed} failed run{'s' if group.n_failed > 1 else ''}"
    if sets != list(range(len(sets))):
        return f"set indices have a gap: {', '.join(map(str, sets))}"
    if len(sets) < need_sets:
        return f"{len(sets)} of {need_sets} sets"
    if n_seeds < need_seeds:
        return f"{n_seeds} of {need_seeds} seeds"
    if any(sorted(seeds) != list(range(len(seeds))) for seeds in group.runs.values()):
        return "seed indices have a gap"
    return ""


def _unranked_reason(group: Group, hole: str) -> str:
    """Says in plain words why a row is not ranked; empty when it is."""
    key = group.key
    checks = (
        (bool(group.stale), group.stale),
        (_copies_test(group), "its texts repeat test texts"),
        (group.facts.external, "external: made outside the suite, so its cost and how it was chosen are unknown"),
        (group.facts.full_data, "reference line: trained on all real data"),
        (key.budget == ALL_BUDGET, "reference line: ignores the budget"),
        (bool(key.scope.custom_id), "custom protocol settings"),
        (group.learner not in group.protocol.learners, f"learner is not part of {group.protocol.name}"),
        (group.orphan, "the record of its distilled set is missing"),
        (bool(hole), hole),
        (
            group.protocol.replication(group.facts) == (1, 1),
            f"{key.scope.protocol} makes one set: a first look, not a result",
        ),
    )
    return next((reason for applies, reason in checks if applies), "")


def _copies_test(group: Group) -> bool:
    """Tells whether new text repeats the test split. Rows of the train split may: official data sets hold such twins."""
    return any(
        r.distil is not None and r.distil.output == "text" and r.distil.n_test_exact for r in group.distils.values()
    )


_BARE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)

_WORDS = frozenset({"true", "false", "null", "nan", "inf"})
"""Bare words that would be read as something other than text."""


def run_command(cell: Cell, protocol: str) -> str:
    """Writes the `tdbench run` command for a method, its options, task and budget.

    Args:
        cell: A cell of the row.
        protocol: Name of a published protocol.

    Returns:
        A line for a shell. Every word that comes from a record is quoted.
    """
    words = [f"task={cell.task}", f"method={cell.method}", f"budget={cell.budget}", f"protocol={protocol}"]
    if cell.budget == "all":
        words.pop(2)
    words += [f"method.{key}={hydra_value(value)}" for key, value in sorted(cell.options.items())]
    words += [f"task.{key}={hydra_value(value)}" for key, value in sorted(cell.task_options.items())]
    words += ["data.kind=standin"] if cell.data_kind == "standin" else []
    return " ".join(["tdbench run", *map(shlex.quote, words)])


def hydra_value(value: Any) -> str:
    """Writes a JSON value in Hydra's override grammar."""
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        escaped = value.replace("\\", "\\\\") if value.endswith("\\") or "\\'" in value else value
        return "'" + escaped.replace("'", "\\'").replace("${", "\\${") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{hydra_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value)
