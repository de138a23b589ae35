"""Hydra composes; this module turns an override list into `RunSettings` and explains what is wrong with it.

Plug-ins appear as options of the groups `task` and `method`: their `Config` defaults are stored in Hydra's ConfigStore, and YAML presets
in `conf/method/` or `conf/task/` extend them. Nothing is ever instantiated from a configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tdbench.bench._paths import CONF
from tdbench.bench.errors import UsageError, unknown_name
from tdbench.bench.registry import METHODS, TASKS, Entry
from tdbench.bench.settings import Audit, Protocol, RunSettings, check_values

GROUPS = ("suite", "task", "method", "budget", "protocol", "audit", "runtime", "experiment")
KEYS = ("learners", "sets", "seeds", "data")
PLUGIN_GROUPS = {"task": TASKS, "method": METHODS}
_REGISTERED: dict[str, dict[str, Entry]] = {}
"""The plug-ins that Hydra's ConfigStore knows, by group."""


@dataclass(frozen=True)
class Composed:
    """A configuration with the choices that led to it."""

    config: DictConfig
    choices: dict[str, str]


def settings_for(overrides: list[str], multirun: bool = False) -> list[RunSettings]:
    """Expands an override list into one `RunSettings` for each task, method and budget.

    Args:
        overrides: Hydra overrides such as `task=agnews`.
        multirun: Whether commas sweep, as with Hydra's `-m`.

    Raises:
        UsageError: An override is wrong; the message names the nearest known name or what was expected.
    """
    _register_plugins()
    made: list[RunSettings] = []
    for job in _sweep(overrides) if multirun else [overrides]:
        for narrowed in _expand_suite(job):
            one = _settings(_compose(narrowed))
            if one not in made:
                made.append(one)
    return made


def resolved_yaml(overrides: list[str]) -> str:
    """Returns the composed configuration of a single job as YAML."""
    _register_plugins()
    return OmegaConf.to_yaml(_compose(overrides).config, resolve=True)


def options_of(group: str) -> list[str]:
    """Returns the choices of a config group: files and plug-ins."""
    _register_plugins()
    files = {path.stem for path in (CONF / group).glob("*.yaml")}
    plugins = set(PLUGIN_GROUPS[group].names()) if group in PLUGIN_GROUPS else set()
    return sorted(files | plugins)


def default_config(group: str, choice: str) -> dict[str, Any]:
    """Returns the options of one choice of a group with their defaults."""
    if group in PLUGIN_GROUPS and not (CONF / group / f"{choice}.yaml").is_file():
        return _plugin_defaults(PLUGIN_GROUPS[group].get(choice))
    overrides = [f"{group}={choice}"] + ([] if group == "task" else [f"task={options_of('task')[0]}"])
    node: Any = OmegaConf.to_container(_compose(overrides).config[group], resolve=True)
    return dict(node) if isinstance(node, dict) else {}


@cache
def locked(group: str) -> dict[str, str]:
    """Returns name -> sha256 of the content it was published with, for `protocol` or `audit`."""
    return yaml.safe_load((CONF / group / "lock.yml").read_text())


def is_custom(protocol: Protocol) -> bool:
    """Tells whether a protocol differs from the published one of its name: its rows are then never ranked."""
    return locked("protocol").get(protocol.name) != protocol.sha256


def is_custom_audit(audit: Audit) -> bool:
    """Tells whether an audit differs from the published one of its name: its results are then not shown on the board."""
    return locked("audit").get(audit.name) != audit.sha256


def _register_plugins() -> None:
    store = ConfigStore.instance()
    for group, registry in PLUGIN_GROUPS.items():
        entries = registry.entries()
        if _REGISTERED.get(group) is not entries:
            for name in registry.names():
                store.store(group=group, name=name, node=_plugin_defaults(registry.get(name)))
            _REGISTERED[group] = entries


def _plugin_defaults(plugin: Any) -> dict[str, Any]:
    return {"name": plugin.name, **{key: _default_of(field) for key, field in plugin.Config.model_fields.items()}}


def _default_of(field: Any) -> Any:
    value = field.get_default(call_default_factory=True)
    if type(value).__name__ == "PydanticUndefinedType":
        return "???"
    return list(value) if isinstance(value, tuple) else value


def _parse(overrides: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{reason}. Expected overrides such as task=agnews method=kmeans method.k=3.") from None


def _sweep(overrides: list[str]) -> Iterator[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    try:
        batches = BasicSweeper.split_arguments(_parse(overrides), max_batch_size=None)
    except HydraException:
        raise UsageError("this kind of sweep is not supported; list the values: task=agnews,sst2.") from None
    for batch in batches:
        yield from (list(job) for job in batch)


def _expand_suite(overrides: list[str]) -> Iterator[list[str]]:
    """Adds one `method=` and `budget=` for each of the suite's, unless the overrides name them."""
    named = {override.key_or_group for override in _parse(overrides)}
    suite = _compose([o for o in overrides if not o.lstrip("+~").startswith(("method.", "budget."))]).config.suite
    for method in [None] if "method" in named else suite.methods:
        for budget in [None] if "budget" in named else suite.budgets:
            extra = [f"method={method}"] if method else []
            yield [*overrides, *extra, *([f"budget={budget}"] if budget else [])]


def _compose(overrides: list[str]) -> Composed:
    parsed = _parse(overrides)
    _check_choices(parsed)
    try:
        config = _hydra(overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explain(parsed, error) from None
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    visible = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return Composed(visible, choices)


def _hydra(overrides: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()  # a program that uses Hydra itself may have left it initialised
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=overrides, return_hydra_config=True)


def _check_choices(parsed: list[Override]) -> None:
    """Checks the names that Hydra would only find wanting with a long message."""
    for override in parsed:
        if override.key_or_group.split(".")[0] not in (*GROUPS, *KEYS):
            raise unknown_name("option", override.key_or_group, (*GROUPS, *KEYS))
    chosen = {o.key_or_group: o.value() for o in parsed if o.key_or_group in GROUPS and not o.is_sweep_override()}
    if "task" not in chosen and not any(o.key_or_group == "task" for o in parsed):
        raise UsageError(f"no task given; add task=NAME. Known: {', '.join(options_of('task'))}.")
    for group, choice in chosen.items():
        if not isinstance(choice, str) and not (choice is None and group == "experiment"):
            raise UsageError(f"{group}={choice} is no name; name one, or sweep with -m {group}=A,B.")
        if isinstance(choice, str) and choice not in options_of(group):
            broken = _broken(group, choice)
            if broken is not None:
                raise UsageError(f"{group} '{choice}' ({broken.origin}) cannot be used: {broken.error}")
            raise unknown_name(group, choice, options_of(group))


def _broken(group: str, choice: str) -> Entry | None:
    """Finds the plug-in of a name that could not be loaded, under its own name or its file's."""
    entries = PLUGIN_GROUPS[group].entries().values() if group in PLUGIN_GROUPS else ()
    return next((e for e in entries if e.error and (e.name == choice or Path(e.origin).stem == choice)), None)


def _explain(parsed: list[Override], error: Exception) -> UsageError:
    """Finds the override that Hydra refused and says what it may have meant."""
    sweeps = [override for override in parsed if override.is_sweep_override()]
    if sweeps:
        text = sweeps[0].input_line
        return UsageError(f"'{text}' names several values; add -m to run them all: tdbench run -m {text}")
    groups = [o.input_line for o in parsed if o.key_or_group in GROUPS and o.input_line]
    try:
        known = _hydra(groups)
    except (HydraException, OmegaConfBaseException, ValueError):
        return UsageError(_first_sentence(error))
    for override in parsed:
        key = override.key_or_group
        if key in GROUPS or override.is_add():
            continue
        *parents, last = key.split(".")
        node = known
        for depth, part in enumerate(parents):
            if not (isinstance(node, DictConfig) and part in node):
                return unknown_name("option", ".".join(parents[: depth + 1]), _keys(node, parents[:depth]))
            node = node[part]
        if isinstance(node, DictConfig) and not node:
            return UsageError(f"'{'.'.join(parents)}' has no key '{last}' yet; add it with ++{key}=VALUE.")
        if not (isinstance(node, DictConfig) and last in node):
            return unknown_name("option", key, _keys(node, parents))
    return UsageError(_first_sentence(error))


def _keys(node: Any, parents: list[str]) -> list[str]:
    names = [str(key) for key in node if key != "name"] if isinstance(node, DictConfig) else []
    return [".".join([*parents, name]) for name in names]


def _first_sentence(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:3] if line.strip())


def _settings(composed: Composed) -> RunSettings:
    try:
        raw = OmegaConf.to_container(composed.config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UsageError(_first_sentence(error)) from None
    assert isinstance(raw, dict)
    values: dict[str, Any] = {str(key): value for key, value in raw.items()}
    task, method = values.pop("task"), values.pop("method")
    values.pop("experiment", None)
    values["task_name"], values["method_name"] = task.pop("name"), method.pop("name")
    values["method_label"] = composed.choices.get("method", values["method_name"])
    # The plug-ins' own models check their values, so that defaults and options are told apart by one rule.
    task_model = check_values(TASKS.get(values["task_name"]).Config, task, "task.")
    method_model = check_values(METHODS.get(values["method_name"]).Config, method, "method.")
    values["task_options"] = task_model.model_dump(mode="json")
    values["method_options"] = {name: getattr(method_model, name) for name in type(method_model).model_fields}
    return check_values(RunSettings, values)
