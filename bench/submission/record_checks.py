"""Checks that need the records alone: ids, seeds, recipe, replication, costs, names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tdbench.bench.budget import ALL
from tdbench.bench.config import locked
from tdbench.bench.experiment.jobs import set_id
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.settings import Protocol, check_values
from tdbench.bench.submission.contents import Contents
from tdbench.bench.submission.findings import Report
from tdbench.bench.submission.form import hidden_letter
from tdbench.bench.submission.train_checks import check_audit, check_train

_NAME = re.compile(r"[A-Za-z0-9][\w .:/+=,()-]{0,119}", re.ASCII)
_MARKUP = re.compile(r"<[a-zA-Z!/]|javascript:", re.IGNORECASE)
MOST_LETTERS = 20_000
LEAST_STEP_S = 1e-5
"""Seconds of a training step: less is not measured anywhere."""
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Nothing was made by the suite before."""


def check_records(contents: Contents, report: Report) -> None:
    """Checks every record, and what they say together."""
    for record in contents.records.values():
        where = contents.where(record)
        _check_standing(record, where, report)
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


def _check_standing(record: Record, where: str, report: Report) -> None:
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
    found: dict[str, list[Record]] = defaultdict(list)
    for record in contents.records.values():
        if record.provenance.git_dirty:
            found[record.provenance.git_commit or "unknown"].append(record)
    for commit, records in found.items():
        said = f"the suite had local changes upon commit {commit[:10]} when {len(records)} records were made; commit the plug-in first."
        report.add("warning", "dirty", contents.where(records[0]), said)


def _is_no_date(created: str) -> bool:
    try:
        made = datetime.fromisoformat(created)
    except ValueError:
        return True
    return made.tzinfo is None or not FIRST_DAY <= made <= datetime.now(UTC)


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
        place, one = stack.pop()
        if isinstance(one, str):
            yield place, one
        elif isinstance(one, dict):
            stack += [(f"{place}.{key}".lstrip("."), item) for key, item in one.items()]
            stack += [("a key of " + (place or "it"), key) for key in one]
        elif isinstance(one, list):
            stack += [(place, item) for item in one]


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
            said = f"its set equals set {other.cell.set_index}; sets of a method that draws differ, unless there is only one choice."
            report.add("warning", "twins", contents.where(record), said)


def _says_one_thing(predictions: tuple[int, ...]) -> bool:
    """Tells whether nearly all predictions are of one class, so that equal ones mean nothing."""
    return max(Counter(predictions).values(), default=0) > 0.9 * len(predictions)


def _check_source(records: Iterable[Record], report: Report) -> None:
    """Looks for results of several states of one plug-in under one version."""
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.stage == "distil" and record.provenance.plugin_source_sha256:
            found[record.cell.method, record.cell.method_version][record.provenance.plugin_source_sha256] += 1
    for (method, version), hashes in found.items():
        if len(hashes) > 1:
            report.add(
                "warning",
                "source",
                method,
                f"version {version} was run in {len(hashes)} states of its code; raise `version` when a set would change.",
            )
