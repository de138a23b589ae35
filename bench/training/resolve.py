"""Turns a learner's name into a learner: a preset of conf/learner, a plug-in, or `hf:<id or folder>`."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tdbench.bench._paths import CONF
from tdbench.bench.errors import unknown_name
from tdbench.bench.registry import LEARNERS
from tdbench.bench.settings import check_values
from tdbench.bench.training.learner import Learner


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Returns the named learners of conf/learner: plug-in name and options."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONF / "learner").glob("*.yaml"))}


def learner_names() -> list[str]:
    """Returns every name that `learners=[...]` understands, `hf:` aside."""
    plugins = [name for name in LEARNERS.names() if not _needs_options(LEARNERS.get(name))]
    return sorted({*presets(), *plugins})


def resolve_learner(name: str) -> Learner:
    """Builds the learner of a name.

    Raises:
        UsageError: There is no such learner.
        PluginError: Its plug-in cannot be imported.
    """
    if name.startswith("hf:"):
        options: dict[str, Any] = {"learner": "transformer", "model": name.removeprefix("hf:")}
    elif name in presets():
        options = dict(presets()[name])
    elif name in LEARNERS.entries() and name != "transformer":
        options = {"learner": name}
    else:
        raise unknown_name("learner", name, [*learner_names(), "hf:<id or folder>"])
    plugin = LEARNERS.get(options.pop("learner"))
    return plugin(check_values(plugin.Config, options, f"learner {name}: "))


def _needs_options(plugin: type[Learner]) -> bool:
    return any(field.is_required() for field in plugin.Config.model_fields.values())
