"""From records to the rows of the board."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from bench.experiment.record import PhaseCost, Record
from leaderboard.compare import compare
from leaderboard.entries import Entry, Grid, unit_values
from leaderboard.runs import Group, collect
from leaderboard.schema import (
    ALL_BUDGET,
    NO_COMPARISON,
    DerivedFields,
    IdentityFields,
    MethodFields,
    OriginFields,
    PrivacyFields,
    Row,
    StandingFields,
    budget_order,
)
from leaderboard.stats import mean_interval
from leaderboard.unseen import unseen_entries

COLLAPSE_MARGIN_FRAC = 0.02
"""A model at most this far above majority has learnt nothing that the board would call learning."""
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
    entries = [_entry(group) for group in collect(records)]
    entries += unseen_entries(entries)
    compare(entries)
    return [entry.row for entry in sorted(entries, key=_order)]


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


def _entry(group: Group) -> Entry:
    fixed = group.facts.deterministic or group.facts.full_data
    accuracy: Grid = {}
    macro_f1: Grid = {}
    for set_index, seeds in group.runs.items():
        trained = {seed: record.train for seed, record in seeds.items() if record.train is not None}
        accuracy[set_index] = {seed: train.accuracy_frac for seed, train in trained.items()}
        macro_f1[set_index] = {seed: train.macro_f1_frac for seed, train in trained.items()}
    return Entry(
        row=_row(group, accuracy, macro_f1, fixed),
        key=group.key,
        protocol=group.protocol,
        fixed=fixed,
        accuracy=accuracy,
        macro_f1=macro_f1,
    )


def _row(group: Group, accuracy: Grid, macro_f1: Grid, fixed: bool) -> Row:
    """Writes everything that a group's own runs tell; comparisons are filled in later."""
    records = [record for seeds in group.runs.values() for record in seeds.values()]
    interval = mean_interval(unit_values(accuracy, fixed))
    return {
        **_identity(group),
        "n_sets": len(group.runs),
        "n_seeds": _fewest_seeds(group),
        "accuracy_frac": interval.mean,
        "macro_f1_frac": mean_interval(unit_values(macro_f1, fixed)).mean,
        "ci_low": interval.low,
        "ci_high": interval.high,
        **NO_COMPARISON,
        "distil_wall_s": _mean_cost(group.distils.values(), "wall_s"),
        "distil_cpu_s": _mean_cost(group.distils.values(), "cpu_s"),
        "train_wall_s": _mean_cost(records, "wall_s"),
        **_privacy(group),
        **_standing(group),
        **_method(group),
        **_derived(records),
        **_origin(group, records),
    }


def _identity(group: Group) -> IdentityFields:
    key = group.key
    return {
        "task": key.scope.task,
        "data_kind": key.scope.data_kind,
        "method": key.method,
        "options": key.options,
        "track": key.track,
        "private": group.facts.private,
        "budget": key.budget,
        "protocol": key.scope.protocol,
        "learner": group.learner,
        "is_source": group.is_source,
    }


def _privacy(group: Group) -> PrivacyFields:
    return {
        "epsilon": _largest([None if e is None else float(e) for e in _distil_facts(group, "epsilon")]),
        "t1_auc": None,
        "t1_auc_low": None,
        "t1_auc_high": None,
        "t1_exact_matches": None,
        "t1_members": None,
        "t2_auc": None,
    }


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
        "reference": facts.reference,
        "full_data": facts.full_data,
        "n_rows": _largest(_distil_facts(group, "n_rows")),
        "n_test_exact": _largest(_distil_facts(group, "n_test_exact")),
    }


def _derived(records: list[Record]) -> DerivedFields:
    trained = [record.train for record in records if record.train is not None]
    majority = fmean(train.majority_frac for train in trained) if trained else None
    return {
        "gap_closed_frac": None,
        "majority_frac": majority,
        "collapse_frac": _collapse([train.accuracy_frac for train in trained], majority),
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
        (group.facts.full_data, "reference line: trained on all real data"),
        (key.budget == ALL_BUDGET, "reference line: ignores the budget"),
        (bool(key.scope.custom_id), "custom protocol settings"),
        (group.learner not in group.protocol.learners, f"learner is not part of {group.protocol.name}"),
        (group.orphan, "the record of its distilled set is missing"),
        (bool(hole), hole),
        (_copies_test(group), "its texts repeat test texts"),
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


def _collapse(accuracies: list[float], majority: float | None) -> float | None:
    if majority is None:
        return None
    limit = majority + COLLAPSE_MARGIN_FRAC + _ROUNDING
    return sum(accuracy <= limit for accuracy in accuracies) / len(accuracies)


def _mean_cost(records: Iterable[Record], unit: str) -> float | None:
    """Averages a cost over records; one unknown phase makes the whole unknown."""
    totals = [_total(record.cost, unit) for record in records]
    known = [total for total in totals if total is not None]
    return fmean(known) if known and len(known) == len(totals) else None


def _total(phases: tuple[PhaseCost, ...], unit: str) -> float | None:
    values: list[float | None] = [getattr(phase, unit) for phase in phases]
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def _distil_facts(group: Group, name: str) -> list[Any]:
    return [getattr(record.distil, name) for record in group.distils.values() if record.distil is not None]


def _largest(values: list[Any]) -> Any:
    """Returns the largest value; null when one is unknown."""
    return max(values) if values and None not in values else None


def _joined(values: Iterable[str], separator: str) -> str:
    return separator.join(sorted(set(values)))
