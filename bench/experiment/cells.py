"""What a command's settings say about one method on one task: the method itself, its facts, its cell, how many sets and seeds."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

from tdbench.bench.budget import Budget
from tdbench.bench.data.loading import TaskData
from tdbench.bench.method import Method
from tdbench.bench.record import Cell, MethodFacts
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import RunSettings


def method_of(one: RunSettings) -> Method:
    """Builds the method that the settings name."""
    plugin = METHODS.get(one.method_name)
    return plugin(plugin.Config(**one.method_options))


def replication(one: RunSettings, method: Method) -> tuple[int, int]:
    """Returns the numbers of sets and of trainings of each set."""
    card, protocol = method.card, one.protocol
    if card.full_data and protocol.full is not None:
        return 1, one.seeds or protocol.full.seeds
    if card.deterministic:
        return 1, one.seeds or protocol.deterministic.seeds
    seeds = one.seeds or max(_own_seeds(one, method) or 0, protocol.seeds_per_set)
    return one.sets or getattr(protocol.sets, card.cost_class), seeds


def _own_seeds(one: RunSettings, method: Method) -> int | None:
    """Returns the least trainings of a set that a method asks for, unless the protocol is for a first look: then one set has one."""
    return method.seeds_per_set if getattr(one.protocol.sets, method.card.cost_class) > 1 else None


def facts_of(one: RunSettings, method: Method) -> MethodFacts:
    """Returns the part of a method's card that rankings need."""
    card = method.card
    return MethodFacts(
        label=one.method_label,
        family=card.family,
        cost_class=card.cost_class,
        deterministic=card.deterministic,
        reference=method.reference,
        private=card.private,
        full_data=card.full_data,
        external=method.external,
        seeds_per_set=_own_seeds(one, method),
        tags=card.tags,
    )


def _changed(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in defaults or defaults[key] != value}


def _defaults(model: Any) -> dict[str, Any]:
    """Returns all default options as plain JSON, also those that have no effect beside the others."""
    if any(field.is_required() for field in model.model_fields.values()):
        return {}
    values = model()
    return {name: to_jsonable_python(getattr(values, name)) for name in model.model_fields}


def cell_of(one: RunSettings, data: TaskData, method: Method, budget: Budget) -> Cell:
    """Returns the identity that all sets share; the set index and what the method distils with are filled in by the plan."""
    return Cell(
        task=one.task_name,
        task_version=data.task.version,
        task_options=_changed(one.task_options, _defaults(type(data.task).Config)),
        data_kind=data.data_kind,
        data_fingerprint=data.fingerprint,
        method=method.name,
        method_version=method.version,
        config=(options := method.config.model_dump(mode="json")),
        options=_changed(options, _defaults(type(method).Config)),
        budget=budget.name,
        per_class=budget.per_class,
        tokens_per_class=budget.tokens_per_class,
        set_index=0,
        source={},
    )
