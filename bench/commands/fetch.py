"""`tdbench fetch`: gets data and weights ahead of time, so that runs need no network."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tdbench.bench.data.sources import DATA_VARIABLE, read_source
from tdbench.bench.errors import PrerequisiteError, unknown_name
from tdbench.bench.registry import TASKS
from tdbench.bench.settings import check_values
from tdbench.bench.training.resolve import learner_names, resolve_learner


def fetch_command(names: list[str], as_json: bool) -> int:
    """Looks for the data of tasks and the weights of learners, and downloads what is on the Hub.

    Args:
        names: Tasks and learners, `hf:<id>` included; `task:variant` names a task's variant.
        as_json: Whether to print one JSON object.

    Returns:
        0 when everything is there, else 3.

    Raises:
        UsageError: A name is neither a task nor a learner.
    """
    known = {*TASKS.names(), *learner_names()}
    for name in names:
        if name.partition(":")[0] not in known and not name.startswith("hf:"):
            raise unknown_name("task or learner", name, known)
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = _task(name) if name.partition(":")[0] in TASKS.names() else _learner(name)
        except PrerequisiteError as error:
            missing[name] = str(error)
        if not as_json:
            print(f"{name}: {found[name]}" if name in found else f"{name}: MISSING: {missing[name]}")  # noqa: T201
    if as_json:
        print(json.dumps({"found": found, "missing": missing}))  # noqa: T201
    return 3 if missing else 0


def _task(name: str) -> str:
    plugin, variant = TASKS.get(name.partition(":")[0]), name.partition(":")[2]
    task = plugin(check_values(plugin.Config, {"variant": variant} if variant else {}, f"{name}: "))
    folder = os.environ.get(DATA_VARIABLE)
    try:
        raw = read_source(task, "local", Path(folder) if folder else None)
    except PrerequisiteError as local:
        if task.hub is None:
            raise
        try:
            raw = read_source(task, "hub", None)
        except PrerequisiteError as hub:
            raise PrerequisiteError(f"{local} {hub}") from None
    rows = ", ".join(f"{len(frame):,} {split}" for split, frame in raw.frames.items())
    return f"{raw.origin}; {rows} rows"


def _learner(name: str) -> str:
    learner = resolve_learner(name)
    problem = learner.available()
    if problem is not None:
        raise PrerequisiteError(problem)
    model = getattr(learner.config, "model", getattr(learner.config, "vectors", None))
    if model is None or model == "none":
        return "needs no weights"
    from tdbench.bench.models.resolve import available, resolve

    return "no word vectors here: it trains a table from scratch" if available(model) else str(resolve(model))
