"""Identities: what two results must share to be merged, compared, or put in one table."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tdbench.bench.errors import RecordError
from tdbench.bench.record import Cell, MethodFacts, Record

_BARE = re.compile(r"[\w.:/+-]+")


class _SetNeeds(BaseModel):
    seconds: int
    minutes: int
    hours: int


class _FixedNeeds(BaseModel):
    sets: int
    seeds: int


class _FullNeeds(BaseModel):
    seeds: int = 1


class ProtocolFacts(BaseModel):
    """The part of a protocol that decides which rows are complete."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    source: str
    """The learner that methods may distil with."""
    learners: tuple[str, ...]
    sets: _SetNeeds
    seeds_per_set: int
    deterministic: _FixedNeeds
    full: _FullNeeds | None = None
    real_per_class: int = 0
    """Real texts of every class beside each set."""

    def needs(self, facts: MethodFacts) -> tuple[int, int]:
        """Returns the numbers of sets and of seeds per set that a complete row has."""
        if facts.full_data:
            return 1, (self.full or _FullNeeds()).seeds
        if facts.deterministic:
            return self.deterministic.sets, self.deterministic.seeds
        return getattr(self.sets, facts.cost_class), max(facts.seeds_per_set or 0, self.seeds_per_set)


@dataclass(frozen=True, order=True)
class Scope:
    """What results must share before they may stand in one table."""

    task: str
    task_options: str
    data_kind: str
    protocol: str
    custom_id: str


@dataclass(frozen=True, order=True)
class Vintage:
    """The exact data behind a result. Results of different vintages are never merged or compared."""

    task_version: int
    data_fingerprint: str
    test_fingerprint: str


@dataclass(frozen=True, order=True)
class MethodKey:
    """One method with its options, as one line of one table."""

    scope: Scope
    vintage: Vintage
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


def method_key(scope: Scope, vintage: Vintage, cell: Cell, track: str) -> MethodKey:
    """Returns the identity of a cell's method within a scope."""
    return MethodKey(
        scope=scope,
        vintage=vintage,
        budget=cell.budget,
        track=track,
        method=cell.method,
        options=options_text(cell.options),
        method_version=cell.method_version,
    )
