"""Sorts records into groups: all training runs of one method under one protocol by one learner."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

from pydantic import ValidationError

from tdbench.bench.errors import RecordError
from tdbench.bench.record import Cell, MethodFacts, ProtocolFacts, Record, set_sha256
from tdbench.leaderboard.schema import ALL_BUDGET, Row
from tdbench.leaderboard.stats import MeanInterval, mean_interval

_BARE = re.compile(r"[\w.:/+-]+")


@dataclass(frozen=True, order=True)
class Scope:
    """What results must share before they may stand in one table."""

    task: str
    task_options: str
    data_kind: str
    protocol: str
    custom_id: str


@dataclass(frozen=True, order=True)
class DataVersion:
    """The exact data behind a result. Results of different data_versions are never merged or compared."""

    task_version: int
    data_fingerprint: str
    test_fingerprint: str


@dataclass(frozen=True, order=True)
class MethodKey:
    """One method with its options, as one line of one table."""

    scope: Scope
    data_version: DataVersion
    budget: str
    track: str
    method: str
    options: str
    method_version: int


def options_text(options: dict[str, Any]) -> str:
    """Writes options as `key=value, ...`, sorted by key; equal texts mean equal options."""
    return ", ".join(f"{key}={_value_text(value)}" for key, value in sorted(options.items()))


def _value_text(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value):
        try:
            json.loads(value)
        except json.JSONDecodeError:
            return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def protocol_facts(record: Record) -> ProtocolFacts:
    """Reads the protocol of a train record.

    Raises:
        RecordError: It is missing or lacks a key.
    """
    try:
        return ProtocolFacts.model_validate(record.protocol)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("protocol", *first["loc"]))
        raise RecordError(
            f"train record {record.id}: field '{place}': {first['msg']}; a train record must hold its whole protocol. "
            "Delete the record and run the cell again."
        ) from None


def scope_of(record: Record, protocol_name: str) -> Scope:
    """Returns the scope of a train record."""
    cell = record.cell
    custom_id = ""
    if record.custom:
        text = json.dumps(record.protocol, sort_keys=True)
        custom_id = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Scope(cell.task, options_text(cell.task_options), cell.data_kind, protocol_name, custom_id)


def method_key(scope: Scope, data_version: DataVersion, cell: Cell, track: str) -> MethodKey:
    """Returns the identity of a cell's method within a scope."""
    return MethodKey(
        scope=scope,
        data_version=data_version,
        budget=cell.budget,
        track=track,
        method=cell.method,
        options=options_text(cell.options),
        method_version=cell.method_version,
    )


@dataclass(frozen=True)
class Group:
    """All runs behind one row."""

    key: MethodKey
    cell: Cell
    """Cell of one of the runs; they differ in the set index alone."""
    learner: str
    is_source: bool
    facts: MethodFacts
    protocol: ProtocolFacts
    runs: dict[int, dict[int, Record]]
    """Set index -> seed index -> finished train record."""
    distils: dict[int, Record]
    n_failed: int
    orphan: bool
    """True when the distil record of a run is missing, so that track and cost are not known."""
    stale: str
    """Why newer results supersede these; empty when nothing does."""

    @property
    def trainings(self) -> list[Record]:
        """Finished trainings, by set and seed."""
        return [record for seeds in self.runs.values() for record in seeds.values()]

    @property
    def fewest_seeds(self) -> int:
        """Seeds of the set that has the fewest."""
        return min((len(seeds) for seeds in self.runs.values()), default=0)


@dataclass
class ScopeIndex:
    """What is known about one scope while records are sorted."""

    protocol: ProtocolFacts
    data_versions: list[DataVersion] = field(default_factory=list)
    """Oldest first; the last one is current."""
    sources: set[str] = field(default_factory=set)

    def data_version_of(self, cell: Cell) -> DataVersion:
        """Finds the data version of a failed cell, which never read the test split."""
        for data_version in reversed(self.data_versions):
            if (data_version.task_version, data_version.data_fingerprint) == (cell.task_version, cell.data_fingerprint):
                return data_version
        return DataVersion(cell.task_version, cell.data_fingerprint, "")


@dataclass
class _MethodRuns:
    """All runs of one method key, over learners."""

    facts: MethodFacts
    cell: Cell
    runs: dict[str, dict[int, dict[int, Record]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    distils: dict[int, Record] = field(default_factory=dict)
    failed_runs: Counter[str | None] = field(default_factory=Counter)
    """Learner -> failed trainings."""
    failed_distils: int = 0
    orphan: bool = False


def _newest(records: Iterable[Record]) -> list[Record]:
    """Keeps the newest finished record of every id, else the newest failure; oldest id first."""
    kept: dict[tuple[str, str], Record] = {}
    for record in records:
        held = kept.get((record.stage, record.id))
        if held is None or (record.status == "ok", _age(record)) > (held.status == "ok", _age(held)):
            kept[record.stage, record.id] = record
    return sorted(kept.values(), key=_age)


def _fits(record: Record, distils: dict[str, Record]) -> bool:
    """Tells whether a train record belongs to the set that its distil record describes now."""
    distil = distils.get(record.distil_id)
    known = record.status == "ok" and distil is not None and distil.status == "ok"
    return not known or distil is None or record.set_sha256 == set_sha256(distil)


def _current_learners(trains: list[Record]) -> list[Record]:
    """Keeps the newest build of every learner of a protocol: other weights, options or engine numbers are never mixed in.

    Rows whose runs are left out become incomplete, which shows that they must be run again.
    """

    def place(record: Record) -> tuple[str, ...]:
        return (str((record.protocol or {}).get("name")), str(record.learner), record.cell.data_kind, record.cell.task)

    builds: dict[tuple[str, ...], str] = {}
    for record in trains:  # oldest first
        if record.train is not None:
            builds[place(record)] = _build(record)
    return [record for record in trains if record.train is None or _build(record) == builds[place(record)]]


def _build(record: Record) -> str:
    assert record.train is not None
    return f"{options_text(record.train.learner_spec)} engine {record.train.engine_numerics}"


def _age(record: Record) -> tuple[str, bool, str]:
    return record.created, record.status == "ok", record.id


def _scope_indexes(trains: list[Record]) -> tuple[dict[Scope, ScopeIndex], dict[str, Scope]]:
    """Returns what is known about every scope, and the scope of every train record by its id."""
    indexes: dict[Scope, ScopeIndex] = {}
    scopes: dict[str, Scope] = {}
    for record in trains:
        protocol = protocol_facts(record)
        scope = scope_of(record, protocol.name)
        scopes[record.id] = scope
        index = indexes.setdefault(scope, ScopeIndex(protocol))
        index.protocol = protocol
        index.sources.add(options_text(record.cell.source))
        if record.status == "ok" and record.train is not None:
            cell = record.cell
            data_version = DataVersion(cell.task_version, cell.data_fingerprint, record.train.test_fingerprint)
            if data_version in index.data_versions:
                index.data_versions.remove(data_version)
            index.data_versions.append(data_version)
    return indexes, scopes


def _add_train(
    methods: dict[MethodKey, _MethodRuns], scope: Scope, index: ScopeIndex, record: Record, distil: Record | None
) -> None:
    """Files one train record under its method key; a newer run of the same cell replaces an older one."""
    cell, train = record.cell, record.train
    known = distil is not None and distil.distil is not None
    track = distil.distil.track if distil is not None and distil.distil is not None else "text"
    if record.status == "ok" and train is not None:
        data_version = DataVersion(cell.task_version, cell.data_fingerprint, train.test_fingerprint)
    else:
        data_version = index.data_version_of(cell)
    method = methods.setdefault(method_key(scope, data_version, cell, track), _MethodRuns(record.method_facts, cell))
    method.facts = record.method_facts
    if distil is not None and known:
        method.distils[cell.set_index] = distil
    method.orphan = method.orphan or not known
    if record.status == "ok" and train is not None:
        method.runs[train.learner][cell.set_index][train.seed_index] = record
    else:
        method.failed_runs[record.learner] += 1


def _add_failed_distil(
    methods: dict[MethodKey, _MethodRuns], indexes: dict[Scope, ScopeIndex], record: Record, track: str
) -> None:
    """Makes a failed distillation visible under every protocol that would have trained on its set."""
    cell = record.cell
    for scope, index in indexes.items():
        same_task = (scope.task, scope.task_options, scope.data_kind) == (
            cell.task,
            options_text(cell.task_options),
            cell.data_kind,
        )
        key = method_key(scope, index.data_version_of(cell), cell, track)
        asked_for = not scope.custom_id or key in methods
        if same_task and asked_for and options_text(cell.source) in index.sources:
            methods.setdefault(key, _MethodRuns(record.method_facts, cell)).failed_distils += 1


def collect(records: Iterable[Record]) -> list[Group]:
    """Joins train records with their distil records and groups them.

    Args:
        records: Records of both stages, in any order.

    Returns:
        One group per method key and learner, sorted. Learners of the protocol whose runs all failed have a group
        without runs, so that it stays visible as missing.

    Raises:
        RecordError: A train record does not hold a whole protocol.
    """
    newest = _newest(records)
    distils = {record.distil_id: record for record in newest if record.stage == "distil"}
    trains = _current_learners([record for record in newest if record.stage == "train" and _fits(record, distils)])
    indexes, scopes = _scope_indexes(trains)
    methods: dict[MethodKey, _MethodRuns] = {}
    for record in trains:
        scope = scopes[record.id]
        _add_train(methods, scope, indexes[scope], record, distils.get(record.distil_id))
    tracks = {(d.cell.method, options_text(d.cell.options)): d.distil.track for d in distils.values() if d.distil}
    for record in distils.values():
        if record.status == "failed":
            track = tracks.get((record.cell.method, options_text(record.cell.options)), "text")
            _add_failed_distil(methods, indexes, record, track)
    latest: dict[tuple[Any, ...], int] = {}
    for key in methods:
        line = (key.scope, key.budget, key.track, key.method, key.options)
        latest[line] = max(key.method_version, latest.get(line, key.method_version))
    groups: list[Group] = []
    for key in sorted(methods):
        index = indexes[key.scope]
        newest_version = latest[key.scope, key.budget, key.track, key.method, key.options]
        groups.extend(_groups(key, methods[key], index, _stale_reason(key, index, newest_version)))
    return groups


def _stale_reason(key: MethodKey, index: ScopeIndex, newest_version: int) -> str:
    if index.data_versions and key.data_version != index.data_versions[-1]:
        return "other data fingerprint"
    if key.method_version != newest_version:
        return "older version of the method"
    return ""


def _groups(key: MethodKey, method: _MethodRuns, index: ScopeIndex, stale: str) -> Iterator[Group]:
    """Splits one method's runs by learner."""
    for learner in sorted({*method.runs, *index.protocol.learners, *filter(None, method.failed_runs)}):
        runs = {number: dict(seeds) for number, seeds in sorted(method.runs.get(learner, {}).items())}
        n_failed = method.failed_distils + method.failed_runs[learner]
        if not runs and not n_failed:
            continue
        finished = [*method.distils.values(), *(record for seeds in runs.values() for record in seeds.values())]
        yield Group(
            key=key,
            cell=finished[0].cell if finished else method.cell,
            learner=learner,
            is_source=learner == index.protocol.source,
            facts=method.facts,
            protocol=index.protocol,
            runs=runs,
            distils=dict(sorted(method.distils.items())),
            n_failed=n_failed,
            orphan=method.orphan,
            stale=stale,
        )


Grid: TypeAlias = dict[int, dict[int, float]]
"""Set index -> seed index -> value of one trained model."""

_SEEDS = 1_000
"""More than any set has."""

METRICS = ("accuracy_frac", "macro_f1_frac")


def unit_map(grid: Grid, fixed: bool) -> dict[int, float]:
    """Reduces trained models to independent units.

    Args:
        grid: Values by set and seed.
        fixed: True where all sets are the same.

    Returns:
        One mean per set, by its index. Where all sets are the same, one value per training: seeds are all that varies. A single set of
        any other method stays one unit, because seeds say nothing about the spread between its sets.
    """
    if fixed:
        trained = {
            _SEEDS * index + seed: value for index in sorted(grid) for seed, value in sorted(grid[index].items())
        }
        # A learner without randomness gives one value again and again: one unit, whose spread is unknown rather than zero.
        return trained if len(set(trained.values())) > 1 else dict(list(trained.items())[:1])
    return {index: fmean(grid[index].values()) for index in sorted(grid)}


def unit_values(grid: Grid, fixed: bool) -> list[float]:
    """Returns the values of `unit_map`."""
    return list(unit_map(grid, fixed).values())


@dataclass(frozen=True, eq=False)
class Entry:
    """One row before it is compared, with the numbers that it was computed from."""

    row: Row
    """Measured fields alone."""
    group: Group
    """Runs behind the row; of the transfer score, those with one of its learners."""
    fixed: bool
    grids: Mapping[str, Grid]
    """Metric -> values."""
    status: Status

    @property
    def key(self) -> MethodKey:
        """Identity of the method within its scope."""
        return self.group.key

    @property
    def learner(self) -> str:
        """Name of the learner, or `transfer`."""
        return self.row["learner"]

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the method that differ from its defaults."""
        return self.group.cell.options

    @property
    def by_unit(self) -> dict[int, float]:
        """The headline of every independent unit: by set, or by seed where there is one set."""
        return unit_map(self.grids[self.row["metric"]], self.fixed)

    @property
    def units(self) -> list[float]:
        """The headline of every independent unit."""
        return list(self.by_unit.values())


@dataclass(frozen=True)
class Scores:
    """Means of every metric, and the headline with its interval, cut at 0 and 1."""

    means: Mapping[str, float | None]
    headline: MeanInterval

    @classmethod
    def of(cls, grids: Mapping[str, Grid], metric: str, fixed: bool) -> Scores:
        """Averages the trained models of a row."""
        intervals = {name: mean_interval(unit_values(grid, fixed)) for name, grid in grids.items()}
        own = intervals[metric]
        low, high = (None if bound is None else min(1.0, max(0.0, bound)) for bound in (own.low, own.high))
        return cls({name: one.mean for name, one in intervals.items()}, MeanInterval(own.mean, low, high))


@dataclass(frozen=True)
class Status:
    """Whether a row may be ranked."""

    missing: str
    """What is missing of the sets and seeds that the protocol asks for; empty when nothing is."""
    reason: str
    """Why it is not ranked; empty when it is."""
    of_method: bool = False
    """Whether the reason holds whoever the learner is."""


def status_of(group: Group) -> Status:
    """Returns what a group's runs say about its status."""
    key, missing = group.key, _missing(group)
    own = f"{key.scope.protocol} makes one set: a first look, not a result"
    checks = (
        (bool(group.stale), group.stale, True),
        (_copies_test(group), "its texts repeat test texts", False),
        (
            group.facts.external,
            "external: made outside the suite, so its cost and how it was chosen are unknown",
            False,
        ),
        (group.facts.full_data, "reference line: trained on all real data", True),
        (key.budget == ALL_BUDGET, "reference line: ignores the budget", True),
        (bool(key.scope.custom_id), "custom protocol settings", True),
        (group.learner not in group.protocol.learners, f"learner is not part of {group.protocol.name}", False),
        (group.orphan, "the record of its distilled set is missing", False),
        (bool(missing), missing, False),
        (group.protocol.replication(group.facts) == (1, 1), own, False),
    )
    return next((Status(missing, why, shared) for applies, why, shared in checks if applies), Status(missing, ""))


def _missing(group: Group) -> str:
    """Says what is missing of the sets and seeds that the protocol asks for; empty when nothing is."""
    need_sets, need_seeds = group.protocol.replication(group.facts)
    sets, n_seeds = sorted(group.runs), group.fewest_seeds
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


def _copies_test(group: Group) -> bool:
    """Tells whether new text repeats the test split. Rows of the train split may: official data sets hold such twins."""
    return any(
        r.distil is not None and r.distil.output == "text" and r.distil.n_test_exact for r in group.distils.values()
    )
