"""`tdbench show`: everything about one plug-in, preset, or finished stage."""

from __future__ import annotations

import inspect
import json
import string
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from tdbench.bench._paths import CONF, RECORDS
from tdbench.bench.commands.check import find_plugin
from tdbench.bench.errors import UsageError, unknown_name
from tdbench.bench.record import ROC_FPR, AuditResult, Record
from tdbench.bench.registry import REGISTRIES

GROUPS = ("suite", "protocol", "audit", "budget", "experiment", "learner", "method", "task")
MIN_ID = 6
FIGURE_ENDINGS = (".svg", ".pdf", ".png")


def show_command(name: str, kind: str | None, root: Path, as_json: bool, figure: Path | None = None) -> int:
    """Prints what is known about a name or an id, or draws a set's curves into a file. Returns the exit code."""
    if figure is not None:
        draw_curves(find_stage(name, root), figure)
        print(figure)  # noqa: T201
        return 0
    found = describe(name, kind, root)
    if as_json:
        print(json.dumps(found))  # noqa: T201
    else:
        print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110).rstrip())  # noqa: T201
    return 0


def describe(name: str, kind: str | None, root: Path) -> dict[str, Any]:
    """Returns what is known about a name or the beginning of an id.

    Raises:
        UsageError: Nothing has that name or id.
        PluginError: The plug-in cannot be loaded.
    """
    if kind is not None and kind not in GROUPS:
        raise unknown_name("kind", kind, GROUPS)
    if any(name in registry.entries() for registry in REGISTRIES if kind in (None, registry.kind)):
        return _plugin(*find_plugin(name, kind))
    for group in GROUPS:
        path = CONF / group / f"{name}.yaml"
        if path.is_file() and kind in (None, group):
            about = [line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
            content = yaml.safe_load(path.read_text())
            return {"name": name, "kind": group, "about": " ".join(a for a in about if "@package" not in a), **content}
    if len(name) >= MIN_ID and set(name) <= set(string.hexdigits.lower()):
        return _stage(find_stage(name, root))
    names = {known for registry in REGISTRIES for known in registry.names()}
    names |= {path.stem for group in GROUPS for path in (CONF / group).glob("*.yaml")}
    raise unknown_name("name or id", name, names)


def known_records(root: Path) -> list[Record]:
    """Returns the accepted records and those of a run folder, each id once: that of the run folder where both have it."""
    from tdbench.bench.experiment.archive import Accepted
    from tdbench.bench.experiment.store import ALL_STAGES, Store

    found = [*Accepted(RECORDS).records(), *Store(root).records([], ALL_STAGES)]
    return list({record.id: record for record in found}.values())


def find_stage(start: str, root: Path) -> Record:
    """Finds a stage by the beginning of its id, in a run folder and among the accepted records.

    Raises:
        UsageError: There is none, or more than one.
    """
    found = [record for record in known_records(root) if record.id.startswith(start)]
    if not found:
        raise UsageError(
            f"no stage in {root} and the accepted records begins with '{start}'; `tdbench status` lists those of {root}, and a method's "
            "card on the leaderboard page names its first set and the command for its first training."
        )
    if len(found) > 1:
        some = ", ".join(f"{one.id} ({one.stage} of {one.cell.task} {one.cell.method})" for one in found[:3])
        raise UsageError(
            f"{len(found)} stages begin with '{start}'; give more of the id: {some}{', ...' if found[3:] else ''}."
        )
    return found[0]


def draw_curves(record: Record, path: Path) -> None:
    """Draws what a method noted at every step of making a set, one panel for each curve; of an audit, the attacks' curves.

    Args:
        record: Of a distilled set or an audit.
        path: File to be written; its ending (svg, pdf, png) is the format.

    Raises:
        UsageError: The stage has no curves, or the ending is no format.
    """
    curves = {} if record.distil is None else record.distil.curves
    if not curves and record.audit is None:
        raise UsageError(
            f"stage {record.id} has no curves; give the id of a set that was fitted step by step, or of an audit."
        )
    if path.suffix not in FIGURE_ENDINGS:
        raise UsageError(f"'{path.name}' does not end in {', '.join(FIGURE_ENDINGS)}; the ending is the format.")
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    if record.audit is not None:
        figure = Figure(figsize=(4.5, 4.2), layout="constrained")
        _draw_roc(
            figure.add_subplot(), record.audit, f"{record.cell.task}, {record.method_facts.label}, {record.cell.budget}"
        )
        figure.savefig(path)
        return
    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    cell = record.cell
    figure.suptitle(f"{cell.task}, {record.method_facts.label}, {cell.budget}, set {cell.set_index}")
    for place, (name, values) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), place + 1)
        axes.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 40 else None, markersize=3)
        axes.set(xlabel="step", title=name)
    figure.savefig(path)


def _draw_roc(axes: Any, audit: AuditResult, title: str) -> None:
    """Draws the headline attacks of an audit, both axes logarithmic and from 1 %: below it a run has too few non-members."""
    for attack in audit.attacks:
        if attack.headline:
            name = f"{attack.name}, sees the {'set' if attack.game == 'text' else 'model'}: AUC {attack.auc:.3f}"
            axes.plot(ROC_FPR, attack.roc_tpr, label=name)
    axes.plot([ROC_FPR[0], 1], [ROC_FPR[0], 1], color="grey", linestyle="--", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(0.01, 1), ylim=(0.01, 1), title=title)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    axes.legend(fontsize=8)


def _plugin(kind: str, plugin: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": plugin.name,
        "kind": kind,
        "version": plugin.version,
        "about": inspect.cleandoc(plugin.__doc__ or ""),
        "module": plugin.__module__,
    }
    if kind == "method":
        found["card"] = _plain(asdict(plugin.card))
    if kind == "task":
        found["fields"], found["labels"] = list(plugin.text_fields), list(plugin.label_names)
        found["headline"] = plugin.metric
        found["facts"] = _plain({key: value for key, value in asdict(plugin.facts).items() if value not in ("", {})})
        found["files"] = _plain(plugin.local)
        found["hub"] = None if plugin.hub is None else _plain(asdict(plugin.hub))
    options = {name: _option(field) for name, field in plugin.Config.model_fields.items()}
    return {**found, "options": options}


def _option(field: Any) -> Any:
    return "required" if field.is_required() else _plain(field.get_default(call_default_factory=True))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _stage(record: Record) -> dict[str, Any]:
    raw = record.model_dump(mode="json", exclude_none=True)
    if record.train is not None:
        raw["train"]["predictions"] = f"{len(record.train.predictions)} class ids"
    return raw
