"""From records to the rows of the board."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from bench.experiment.record import Cell, Record
from leaderboard.audits import Audits, privacy_fields
from leaderboard.compare import compare
from leaderboard.costs import mean_cost
from leaderboard.curves import ScalingSection, scaling_sections
from leaderboard.entries import METRICS, Entry, Grid, score_fields
from leaderboard.keys import Scope
from leaderboard.llm_fields import llm_fields
from leaderboard.promises import promise_fields
from leaderboard.runs import Group, collect
from leaderboard.schema import (
    ALL_BUDGET,
    MIXED,
    NO_COMPARISON,
    DerivedFields,
    IdentityFields,
    MethodFields,
    OriginFields,
    PromiseFields,
    Row,
    StandingFields,
    budget_order,
)
from leaderboard.signs import COLLAPSE_MARGIN_FRAC, find_signs
from leaderboard.text_fields import text_fields
from leaderboard.unseen import unseen_entries
from leaderboard.worth import NO_WORTH

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
    return rows_and_curves(records)[0]


def rows_and_curves(records: Iterable[Record]) -> tuple[list[Row], list[ScalingSection]]:
    """Computes all rows of the board, and the curves over budgets; see `build_rows`."""
    found = list(records)
    groups, audits = collect(found), Audits(found)
    metrics = _metrics(groups)
    entries = [_entry(group, metrics[group.key.scope], audits) for group in groups]
    entries += unseen_entries(entries)
    compare(entries)
    find_signs(entries)
    sections = scaling_sections(entries)
    return [entry.row for entry in sorted(entries, key=_order)], sections


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


def _entry(group: Group, metric: str, audits: Audits) -> Entry:
    fixed = group.facts.deterministic or group.facts.full_data
    grids: dict[str, Grid] = {name: {} for name in METRICS}
    for set_index, seeds in group.runs.items():
        trained = {seed: record.train for seed, record in seeds.items() if record.train is not None}
        for name, grid in grids.items():
            grid[set_index] = {seed: getattr(train, name) for seed, train in trained.items()}
    return Entry(
        row=_row(group, grids, metric, fixed, audits), key=group.key, protocol=group.protocol, fixed=fixed, grids=grids
    )


def _row(group: Group, grids: dict[str, Grid], metric: str, fixed: bool, audits: Audits) -> Row:
    """Writes everything that a group's own runs tell; comparisons are filled in later."""
    records = [record for seeds in group.runs.values() for record in seeds.values()]
    privacy, reach = privacy_fields(_epsilon(group), audits.of(_cell(group), group.key.scope), group.learner)
    return {  # type: ignore[typeddict-item]
        **_identity(group),
        "n_sets": len(group.runs),
        "n_seeds": _fewest_seeds(group),
        **score_fields(grids, metric, fixed),
        **NO_COMPARISON,
        **NO_WORTH,
        "distil_wall_s": mean_cost(group.distils.values(), "wall_s"),
        "distil_cpu_s": mean_cost(group.distils.values(), "cpu_s"),
        "train_wall_s": mean_cost(records, "wall_s"),
        **llm_fields(group.distils.values()),
        **privacy,
        **reach,
        **_promise(group),
        **text_fields(group.distils.values()),
        **_standing(group),
        **_method(group),
        "failure_signs": "",
        "signs_unchecked": "",
        **_derived(records, metric, _largest([len(counts) for counts in _distil_facts(group, "rows_per_class")])),
        **_origin(group, records),
    }


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


def _cell(group: Group) -> Cell | None:
    """Returns the cell of one of the group's runs; they differ in the set index alone."""
    records = [*group.distils.values(), *(record for seeds in group.runs.values() for record in seeds.values())]
    return records[0].cell if records else None


def _standing(group: Group) -> StandingFields:
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


def _method(group: Group) -> MethodFields:
    facts = group.facts
    return {
        "label": facts.label,
        "family": facts.family,
        "cost_class": facts.cost_class,
        "mode": _joined((run.train.mode for runs in group.runs.values() for run in runs.values() if run.train), ", ")
        or "recipe",
        "reference": facts.reference,
        "full_data": facts.full_data,
        "external": facts.external,
        "n_rows": _largest(_distil_facts(group, "n_rows")),
        "n_bytes": fmean(found) if (found := _distil_facts(group, "n_bytes")) else None,
        "n_test_exact": _largest(_distil_facts(group, "n_test_exact")),
    }


def _derived(records: list[Record], metric: str, n_classes: int | None) -> DerivedFields:
    trained = [record.train for record in records if record.train is not None]
    majority = fmean(train.majority_frac for train in trained) if trained else None
    if majority is not None and metric == "macro_f1_frac":
        # The majority class has precision p and recall 1, all others have an F1 of zero.
        majority = None if n_classes is None else 2 * majority / (1 + majority) / n_classes
    return {
        "diff_reference_to": "",
        "gap_closed_frac": None,
        "majority_frac": majority,
        "collapse_frac": _collapse([getattr(train, metric) for train in trained], majority),
    }


def _origin(group: Group, records: list[Record]) -> OriginFields:
    key = group.key
    return {
        "device": _joined((record.provenance.device for record in records), ", "),
        "hardware": _joined((record.provenance.gpu or record.provenance.cpu for record in records), ", "),
        "task_options": key.scope.task_options,
        "task_version": key.vintage.task_version,
        "method_version": key.method_version,
        "data_fingerprint": key.vintage.data_fingerprint,
        "test_fingerprint": key.vintage.test_fingerprint,
        "protocol_learners": ", ".join(group.protocol.learners),
        "contamination": _joined((r.train.contamination for r in records if r.train and r.train.contamination), "; "),
        "distil_contamination": _joined(filter(None, _distil_facts(group, "contamination")), "; "),
        "notes": _joined((note for record in records if record.train for note in record.train.notes), "; "),
    }


def _fewest_seeds(group: Group) -> int:
    return min((len(seeds) for seeds in group.runs.values()), default=0)


def _hole(group: Group) -> str:
    """Says what is missing of the sets and seeds that the protocol asks for; empty when nothing is."""
    need_sets, need_seeds = group.protocol.needs(group.facts)
    sets, n_seeds = sorted(group.runs), _fewest_seeds(group)
    if group.n_failed:
        return f"{group.n_failed} failed run{'s' if group.n_failed > 1 else ''}"
    if sets != list(range(len(sets))):
        return f"set indices have a gap: {', '.join(map(str, sets))}"
    if len(sets) < need_sets:
        return f"{len(sets)} of {need_sets} sets"
    if n_seeds < need_seeds:
        return f"{n_seeds} of {need_seeds} seeds"
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
            group.protocol.needs(group.facts) == (1, 1),
            f"{key.scope.protocol} makes one set: a first look, not a result",
        ),
    )
    return next((reason for applies, reason in checks if applies), "")


def _copies_test(group: Group) -> bool:
    """Tells whether new text repeats the test split. Rows of the train split may: official data sets hold such twins."""
    return any(
        r.distil is not None and r.distil.output == "text" and r.distil.n_test_exact for r in group.distils.values()
    )


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


def _joined(values: Iterable[str], separator: str) -> str:
    return separator.join(sorted(set(values)))
