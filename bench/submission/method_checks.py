"""Checks of what a submission says about its method: facts that decide how many runs are asked for, and where its rows stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from statistics import fmean
from typing import Any

from tdbench.bench.budget import ALL
from tdbench.bench.canonical import canonical_json
from tdbench.bench.config import default_config, options_of
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Accepted
from tdbench.bench.method import Method
from tdbench.bench.record import Record
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import check_values
from tdbench.bench.submission.contents import Contents
from tdbench.bench.submission.findings import Report, listed

LEAST_S = {"seconds": 0.0, "minutes": 20.0, "hours": 900.0}
"""Seconds that making a set takes at least, on a processor, in a cost class that asks for fewer sets."""
_FROM_CARD = ("family", "cost_class", "deterministic", "private", "full_data")


def check_methods(contents: Contents, accepted: Accepted, report: Report) -> None:
    """Compares facts of methods with the plug-in where the suite has it, and with what was measured.

    Args:
        contents: The submission.
        accepted: Accepted results; a new method may not look like one of them.
        report: Receives what was found.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for record in accepted.records():
        known[record.cell.method].add(record.method_facts.label)
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in contents.records.values():
        groups[record.cell.method].append(record)
        _check_budget(record, contents.where(record), report)
    for method, records in groups.items():
        plugin = _plugin(method)
        for facts in {_same_facts(r): r for r in records}.values():
            _check_facts(facts, plugin, known, contents.where(facts), report)
        _check_times(method, records, report)
    _check_seeds(contents.records.values(), report)


def _same_facts(record: Record) -> str:
    """Names everything about a record's method that is checked."""
    cell, protocol = record.cell, (record.protocol or {}).get("name")
    return canonical_json([record.method_facts.model_dump(mode="json"), cell.config, cell.method_version, protocol])


def _folded(name: str) -> str:
    """Returns the letters and digits of a name in lower case."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _plugin(method: str) -> type[Method] | None:
    """Returns the suite's own plug-in of a name; None where it has none."""
    entry = METHODS.entries().get(method)
    return None if entry is None else entry.plugin


def _check_facts(
    record: Record, plugin: type[Method] | None, known: dict[str, set[str]], where: str, report: Report
) -> None:
    facts, cell = record.method_facts, record.cell
    others = {name for method, labels in known.items() if method != cell.method for name in (method, *labels)}
    if _folded(facts.label) in {_folded(name) for name in others | set(METHODS.names()) - {cell.method}}:
        report.error("method", where, f"its label, {facts.label!r}, is that of another method.")
    if plugin is None:
        odd = [name for name in ("reference", "full_data", "external") if getattr(facts, name)]
        if odd:
            report.error("method", where, f"it calls itself {odd[0]}, which only methods of the suite are.")
        return
    if cell.method_version != plugin.version:
        report.error(
            "method",
            where,
            f"it was made by version {cell.method_version} of {cell.method}; the suite has {plugin.version}.",
        )
    try:
        built = plugin(check_values(plugin.Config, cell.config, "method."))
    except TDBenchError as error:
        report.error("options", where, f"its options are none of {cell.method}: {error}")
        return
    card = built.card
    said = {name: getattr(card, name) for name in _FROM_CARD} | {
        "reference": built.reference,
        "external": built.external,
    }
    several = getattr((record.protocol or {}).get("sets"), "get", {}.get)(card.cost_class, 2) > 1
    if record.train is not None:
        said["seeds_per_set"] = built.seeds_per_set if several else None
    for name, value in said.items():
        if getattr(facts, name) != value:
            report.error(
                "method",
                where,
                f"it says {name}={getattr(facts, name)!r}; with its options {cell.method} has {value!r}.",
            )
    if missing := set(card.tags) - set(facts.tags):
        report.error("method", where, f"it lacks the tag {listed(missing)} of the card of {cell.method}.")


def _check_budget(record: Record, where: str, report: Report) -> None:
    """Compares what a budget allows with its name."""
    cell = record.cell
    limits = {"per_class": cell.per_class, "tokens_per_class": cell.tokens_per_class}
    if cell.budget == ALL.name:
        plugin = _plugin(cell.method)
        if plugin is None or plugin.card.uses_budget:
            report.error("budget", where, "budget all is for references that ignore the budget.")
        expected: dict[str, Any] = dict.fromkeys(limits)
    elif cell.budget in _budgets():
        expected = _budgets()[cell.budget]
    else:
        report.error("budget", where, f"there is no budget {cell.budget!r}; there are {', '.join(_budgets())}.")
        return
    if limits != {name: expected.get(name) for name in limits}:
        report.error("budget", where, f"its budget is called {cell.budget} and allows {limits}; that is {expected}.")


@cache
def _budgets() -> dict[str, dict[str, Any]]:
    """Returns the published budgets with their limits."""
    return {name: default_config("budget", name) for name in options_of("budget")}


def _check_times(method: str, records: list[Record], report: Report) -> None:
    """Compares the declared cost class with the time that was measured: a dearer class asks for fewer sets."""
    made = [r for r in records if r.stage == "distil" and r.cell.budget != ALL.name]
    by_class: dict[str, list[Record]] = defaultdict(list)
    for record in made:
        by_class[record.method_facts.cost_class].append(record)
    for name, own in by_class.items():
        times = [sum(cost.wall_s or 0.0 for cost in record.cost) for record in own]
        if max(times) >= LEAST_S[name]:
            continue
        on_gpu = any(record.provenance.gpu for record in own)
        said = f"its cost class is {name}, which asks for fewer sets; making one took {fmean(times):.1f} s."
        report.add("warning" if on_gpu else "error", "cost-class", method, said)


def _check_seeds(records: Iterable[Record], report: Report) -> None:
    """Seeds are those that come first: nobody chooses them afterwards."""
    found: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for record in records:
        if record.train is not None:
            found[record.distil_id, record.learner, (record.protocol or {}).get("name")].add(record.train.seed_index)
    for (distil_id, learner, _), seeds in found.items():
        if seeds != set(range(len(seeds))):
            report.error(
                "seed",
                distil_id,
                f"its trainings by {learner} have the seed indices {sorted(seeds)[:5]}; they count from 0.",
            )
