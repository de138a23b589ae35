"""Checks that need the records alone: ids, seeds, recipe, replication, costs, names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from statistics import fmean
from typing import Any

from tdbench.bench.budget import ALL
from tdbench.bench.canonical import canonical_json
from tdbench.bench.config import default_config, locked, options_of
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.experiment.jobs import learner_seed, set_id, train_id
from tdbench.bench.method import Method
from tdbench.bench.record import ProtocolFacts, Record, set_sha256
from tdbench.bench.registry import LEARNERS, METHODS
from tdbench.bench.settings import Protocol, check_values
from tdbench.bench.submission.intake import Contents, Report, hidden_letter, listed

_NAME = re.compile(r"[A-Za-z0-9][\w .:/+=,()-]{0,119}", re.ASCII)
_MARKUP = re.compile(r"<[a-zA-Z!/]|javascript:", re.IGNORECASE)
MOST_LETTERS = 20_000
LEAST_STEP_S = 1e-5
"""Seconds of a training step: less is not measured anywhere."""
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Nothing was made by the suite before."""


def check_records(contents: Contents, _accepted: Archive, report: Report) -> None:
    """Checks every record, and what they say together."""
    for record in contents.records.values():
        where = contents.where(record)
        _check_status(record, where, report)
        _check_texts(record, where, report)
        _check_costs(record, where, report)
        if record.stage == "distil":
            _check_distil(record, where, report)
        if record.train is not None:
            check_train(record, contents, where, report)
        if record.audit is not None:
            check_audit(record, contents, where, report)
    _check_dirty(contents, report)
    _check_twins(contents, report)
    _check_source(contents.records.values(), report)


def _check_status(record: Record, where: str, report: Report) -> None:
    if record.status != "ok":
        report.error("failed-record", where, "it is the record of a failure; only finished stages are submitted.")
    if record.custom:
        report.error(
            "custom", where, "it was made with changed settings; results are made under a published protocol as it is."
        )
    if record.stage not in {"distil", "train", "audit"}:
        report.error("stage", where, f"a submission holds no {record.stage} records.")
    if record.method_facts.external:
        report.error(
            "external", where, "the set was made outside of the suite; `tdbench evaluate` rows are not submitted."
        )
    if record.protocol is not None:
        name = str(record.protocol.get("name"))
        known = locked("protocol")
        if name not in known:
            report.error(
                "protocol", where, f"there is no published protocol {name}; there are {', '.join(sorted(known))}."
            )
        elif check_values(Protocol, record.protocol).sha256 != known[name]:
            report.error("protocol", where, f"its protocol is not {name} as it is published.")
    if _is_no_date(record.created):
        report.error("created", where, f"it says that it was made at {record.created}.")


def _check_dirty(contents: Contents, report: Report) -> None:
    """Tells which states of the suite had local changes, once each."""
    by_commit: dict[str, list[Record]] = defaultdict(list)
    for record in contents.records.values():
        if record.provenance.git_dirty:
            by_commit[record.provenance.git_commit or "unknown"].append(record)
    for commit, records in by_commit.items():
        message = f"the suite had local changes upon commit {commit[:10]} when {len(records)} records were made; commit the plug-in first."
        report.add("warning", "dirty", contents.where(records[0]), message)


def _is_no_date(created: str) -> bool:
    try:
        date = datetime.fromisoformat(created)
    except ValueError:
        return True
    return date.tzinfo is None or not FIRST_DAY <= date <= datetime.now(UTC)


def _check_texts(record: Record, where: str, report: Report) -> None:
    """Looks at every text of a record: names must be names, and none may hide or pretend."""
    facts, cell = record.method_facts, record.cell
    names = {"label": facts.label, "family": facts.family, "budget": cell.budget, "learner": record.learner or "x"}
    for what, text in names.items():
        if not _NAME.fullmatch(text):
            report.error("name", where, f"its {what} is {text!r}; a name has letters, digits and a few signs.")
    for path, text in _texts(record.model_dump(mode="json", exclude={"train": {"predictions"}})):
        if len(text) > MOST_LETTERS:
            report.error("text", where, f"{path} has {len(text):,} letters, at most {MOST_LETTERS:,} are taken.")
        elif hidden_letter(text):
            report.error("text", where, f"{path} has invisible or control characters.")
        elif _MARKUP.search(text):
            report.error("text", where, f"{path} has markup.")


def _texts(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    stack = [(path, value)]
    while stack:
        place, item = stack.pop()
        if isinstance(item, str):
            yield place, item
        elif isinstance(item, dict):
            stack += [(f"{place}.{key}".lstrip("."), part) for key, part in item.items()]
            stack += [("a key of " + (place or "it"), key) for key in item]
        elif isinstance(item, list):
            stack += [(place, part) for part in item]


def _check_costs(record: Record, where: str, report: Report) -> None:
    for cost in record.cost:
        numbers = {
            key: value
            for key, value in cost.model_dump().items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for key, value in numbers.items():
            if not 0 <= value < 1e30:
                report.error("cost", where, f"phase {cost.phase}: {key} is {value}.")
    if record.cell.budget == ALL.name:
        return  # majority and full: nothing is made, and the one trains nothing
    if record.stage in {"distil", "train"} and not record.cost:
        report.error("cost", where, "it has no costs; the suite always measures them.")
    elif record.stage == "distil" and all(cost.wall_s is None for cost in record.cost):
        report.error("cost", where, "how long it took is missing; the suite always measures it.")
    elif (
        record.train is not None
        and sum(cost.wall_s or 0.0 for cost in record.cost) < LEAST_STEP_S * record.train.steps + 1e-6
    ):
        report.error("cost", where, "its training took next to no time.")


def _check_distil(record: Record, where: str, report: Report) -> None:
    expected = set_id(record.cell)
    if record.id != expected or record.distil_id != expected:
        report.error(
            "id", where, f"its id would be {expected}: task, data, method, options, budget or set index were changed."
        )
    options, config = record.cell.options, record.cell.config
    if differing := [key for key, value in options.items() if config.get(key) != value]:
        report.error(
            "options",
            where,
            f"its options say {differing[0]}={options[differing[0]]!r}, its configuration {config.get(differing[0])!r}.",
        )
    if record.distil is None:
        report.error("pack", where, "it has no result.")


def _check_twins(contents: Contents, report: Report) -> None:
    """Looks for results that stand for several runs: equal predictions of different trainings, equal sets of different indices."""
    seen: dict[tuple[Any, ...], Record] = {}
    for record in contents.records.values():
        if record.train is None or record.method_facts.deterministic or _says_one_thing(record.train.predictions):
            continue
        key = (record.cell.task, record.train.learner, record.train.predictions)
        other = seen.setdefault(key, record)
        if other is not record and other.set_sha256 != record.set_sha256:
            report.add(
                "warning",
                "twins",
                contents.where(record),
                f"its predictions are all equal to those of {other.id}, of another set.",
            )
    sets: dict[tuple[Any, ...], Record] = {}
    for record in contents.records.values():
        if (
            record.stage != "distil"
            or record.method_facts.deterministic
            or record.cell.budget == ALL.name
            or not record.artefacts
        ):
            continue
        key = (record.cell.task, record.cell.method, str(record.cell.config), record.cell.budget, set_sha256(record))
        other = sets.setdefault(key, record)
        if other is not record:
            message = f"its set equals set {other.cell.set_index}; sets of a method that draws differ, unless there is only one choice."
            report.add("warning", "twins", contents.where(record), message)


def _says_one_thing(predictions: tuple[int, ...]) -> bool:
    """Tells whether nearly all predictions are of one class, so that equal ones mean nothing."""
    return max(Counter(predictions).values(), default=0) > 0.9 * len(predictions)


def _check_source(records: Iterable[Record], report: Report) -> None:
    """Looks for results of several states of one plug-in under one version."""
    by_version: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.stage == "distil" and record.provenance.plugin_source_sha256:
            by_version[record.cell.method, record.cell.method_version][record.provenance.plugin_source_sha256] += 1
    for (method, version), hashes in by_version.items():
        if len(hashes) > 1:
            report.add(
                "warning",
                "source",
                method,
                f"version {version} was run in {len(hashes)} states of its code; raise `version` when a set would change.",
            )


_SHA = re.compile(r"[0-9a-f]{64}")


def check_train(record: Record, contents: Contents, where: str, report: Report) -> None:
    """Checks identity, seed, learner, recipe and set of a training."""
    train, protocol = record.train, record.protocol
    assert train is not None
    if protocol is None:
        report.error("protocol", where, "it has no protocol.")
        return
    expected = train_id(
        record.distil_id,
        train.learner_spec,
        train.seed_index,
        protocol=str(protocol.get("name")),
        custom=None,
        test=train.test_fingerprint,
        engine_numerics=train.engine_numerics,
    )
    if record.id != expected:
        report.error(
            "id",
            where,
            "its id is not that of its set, learner, seed, protocol and test rows: one of them was changed.",
        )
    if (record.learner, record.seed_index) != (train.learner, train.seed_index):
        report.error("seed", where, "its learner or seed index is not that of its result.")
    seed = learner_seed(record.cell.set_index, train.seed_index)
    if train.seed != seed:
        report.error("seed", where, f"its seed is {train.seed}; the suite derives {seed}.")
    if train.learner not in protocol.get("learners", ()):
        report.error("learner", where, f"{train.learner} is no learner of {protocol.get('name')}.")
    if train.is_source != (train.learner == protocol.get("source")):
        report.error("learner", where, f"the source learner of {protocol.get('name')} is {protocol.get('source')}.")
    _check_recipe(record, contents, where, report)
    distil = contents.records.get(record.distil_id)
    if distil is None:
        report.error("missing-set", where, f"the record of its set, {record.distil_id}, is not there.")
    elif distil.cell.model_dump() != record.cell.model_dump():
        report.error("cell", where, "its cell is not that of its set.")
    elif record.set_sha256 != set_sha256(distil):
        report.error("set-hash", where, "it was trained on a set of another content than the one recorded.")


def _check_recipe(record: Record, contents: Contents, where: str, report: Report) -> None:
    from tdbench.bench.training.recipe import ENGINE_NUMERICS

    train, protocol = record.train, record.protocol or {}
    assert train is not None
    if train.engine_numerics != ENGINE_NUMERICS:
        report.error(
            "engine",
            where,
            f"its engine's numbers are version {train.engine_numerics}, those of today {ENGINE_NUMERICS}; run it anew.",
        )
    if record.cell.budget == ALL.name:
        return
    distil = contents.records.get(record.distil_id)
    if train.mode != "recipe":
        if distil is not None and distil.distil is not None and distil.distil.track != "learner-bound":
            report.error("recipe", where, "only token vectors bring their own training steps.")
        return
    name, steps = protocol.get("name"), protocol.get("steps")
    lr = (protocol.get("lr") or {}).get(train.learner, protocol.get("default_lr"))
    if not _uses_lr(train.learner):
        steps, lr = 0, None
    if steps is not None and train.steps not in {steps, *_one_class(train.notes)}:
        report.error("recipe", where, f"it trained {train.steps} steps; {name} has {steps}.")
    if (train.lr is None) != (lr is None) or (lr is not None and abs((train.lr or 0.0) - lr) > 1e-12):
        report.error("recipe", where, f"its learning rate is {train.lr}; {name} has {lr} for {train.learner}.")


def _uses_lr(learner: str) -> bool:
    """Tells whether a learner takes steps at a rate; one that the suite does not have is taken to."""
    entry = LEARNERS.entries().get(learner)
    return entry is None or entry.plugin is None or entry.plugin.uses_lr


def _one_class(notes: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the steps of a constant predictor, where the notes say that one was used."""
    return (0,) if any(note.startswith("one class") for note in notes) else ()


def check_audit(record: Record, contents: Contents, where: str, report: Report) -> None:
    """Compares an audit with its set as far as that tells; the sets that it attacked are not here."""
    audit, cell = record.audit, record.cell
    assert audit is not None
    distil = contents.records.get(record.distil_id)
    if distil is None or distil.cell.model_dump(exclude={"set_index"}) != cell.model_dump(exclude={"set_index"}):
        report.error("audit", where, "the set that it is about is not here.")
        return
    classes = len(distil.distil.rows_per_class) if distil.distil else 0
    if cell.per_class is not None and max(audit.n_released, default=0) > cell.per_class * classes:
        report.error(
            "audit",
            where,
            f"a run released {max(audit.n_released)} texts; {cell.budget} allows {cell.per_class * classes}.",
        )
    if any(copied > released for copied, released in zip(audit.exact_members, audit.n_released, strict=True)):
        report.error("audit", where, "more texts are said to be members than were released.")
    if len(set(audit.set_sha256s)) < len(audit.set_sha256s) or not all(map(_SHA.fullmatch, audit.set_sha256s)):
        report.add("warning", "audit", where, "sets that it attacked are the same, or no hashes.")
    message = "its figures come from sets made for the attack, which are not here; `tdbench run ... audit=model` reproduces them."
    report.add("unchecked", "audit", where, message)


LEAST_S = {"seconds": 0.0, "minutes": 20.0, "hours": 900.0}
"""Seconds that making a set takes at least, on a processor, in a cost class that asks for fewer sets."""
_FROM_CARD = ("family", "role", "cost_class", "deterministic", "private", "full_data")


def check_methods(contents: Contents, accepted: Archive, report: Report) -> None:
    """Compares facts of methods with the plug-in where the suite has it, and with what was measured; no new one may look like another."""
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
        odd = [name for name in ("reference", "role", "full_data", "external") if getattr(facts, name)]
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
    expected = {name: getattr(card, name) for name in _FROM_CARD} | {
        "reference": built.reference,
        "external": built.external,
    }
    if record.train is not None and record.protocol is not None:
        protocol = ProtocolFacts.model_validate(record.protocol)
        expected["seeds_per_set"] = protocol.seeds_of_method(card.cost_class, built.seeds_per_set)
    for name, value in expected.items():
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
    distils = [r for r in records if r.stage == "distil" and r.cell.budget != ALL.name]
    by_class: dict[str, list[Record]] = defaultdict(list)
    for record in distils:
        by_class[record.method_facts.cost_class].append(record)
    for name, distils_of_class in by_class.items():
        times = [sum(cost.wall_s or 0.0 for cost in record.cost) for record in distils_of_class]
        if max(times) >= LEAST_S[name]:
            continue
        on_gpu = any(record.provenance.gpu for record in distils_of_class)
        message = f"its cost class is {name}, which asks for fewer sets; making one took {fmean(times):.1f} s."
        report.add("warning" if on_gpu else "error", "cost-class", method, message)


def _check_seeds(records: Iterable[Record], report: Report) -> None:
    """Seeds are those that come first: nobody chooses them afterwards."""
    by_training: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for record in records:
        if record.train is not None:
            by_training[record.distil_id, record.learner, (record.protocol or {}).get("name")].add(
                record.train.seed_index
            )
    for (distil_id, learner, _), seeds in by_training.items():
        if seeds != set(range(len(seeds))):
            report.error(
                "seed",
                distil_id,
                f"its trainings by {learner} have the seed indices {sorted(seeds)[:5]}; they count from 0.",
            )
