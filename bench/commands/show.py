"""`tdbench show`, `list`, `status` and `doctor`: what there is, what ran, and what is missing."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import os
import re
import shutil
import string
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tdbench.bench._paths import CONF, RECORDS, ROOT
from tdbench.bench.errors import UsageError, unknown_name
from tdbench.bench.registry import METHODS, REGISTRIES, TASKS, find_plugin

if TYPE_CHECKING:
    from tdbench.bench.record import AuditResult, Record

GROUPS = ("suite", "protocol", "audit", "budget", "experiment", "runtime", "learner", "method", "task")
RUN_GROUPS = ("task", "method", "budget", "suite", "protocol", "audit", "experiment", "learner")
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
        return 0
    if "file" in found:  # a preset: its comments say what its keys mean
        print(f"# {found['kind']} {name}, {found['file']}\n{Path(found['file']).read_text(encoding='utf-8').rstrip()}")  # noqa: T201
        return 0
    options = _option_lines(found) if "option_notes" in found else []
    print("\n".join([yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110).rstrip(), *options]))  # noqa: T201
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
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return {"name": name, "kind": group, "about": _comment(path), "file": str(path), **content}
    if len(name) >= MIN_ID and set(name) <= set(string.hexdigits.lower()):
        return _stage(find_stage(name, root))
    names = {known for registry in REGISTRIES for known in registry.names()}
    names |= {path.stem for group in GROUPS for path in (CONF / group).glob("*.yaml")}
    raise unknown_name("name or id", name, names)


def known_records(root: Path) -> list[Record]:
    """Returns the accepted records and those of a run folder, each id once: that of the run folder where both have it."""
    from tdbench.bench.experiment.results import Results
    from tdbench.bench.experiment.store import ALL_STAGES

    return list({record.id: record for record in Results(root, RECORDS).records([], ALL_STAGES)}.values())


def find_stage(start: str, root: Path) -> Record:
    """Finds a stage by the beginning of its id, in a run folder and among the accepted records.

    Raises:
        UsageError: There is none, or more than one.
    """
    records = list({record.id: record for record in _stages_from(start, root)}.values())
    if not records:
        raise UsageError(
            f"no stage in {root} and the accepted records begins with '{start}'; `tdbench status` lists those of {root}, and a method's "
            "card on the leaderboard page names its first set and the command for its first training."
        )
    if len(records) > 1:
        some = ", ".join(
            f"{record.id} ({record.stage} of {record.cell.task} {record.cell.method})" for record in records[:3]
        )
        raise UsageError(
            f"{len(records)} stages begin with '{start}'; give more of the id: {some}{', ...' if records[3:] else ''}."
        )
    return records[0]


def _stages_from(start: str, root: Path) -> Iterator[Record]:
    """Reads the stages whose ids begin with some digits; packs that do not name one are not parsed."""
    from tdbench.bench.experiment.archive import read_pack
    from tdbench.bench.experiment.store import ALL_STAGES
    from tdbench.bench.record import read_record

    if not set(start) <= set(string.hexdigits):
        return
    for path in sorted(RECORDS.glob("*/*/*.json")):
        if f'"id": "{start}' in path.read_text(encoding="utf-8"):
            yield from (record for record in read_pack(path)[0].values() if record.id.startswith(start))
    for stage in ALL_STAGES:
        yield from map(read_record, sorted(root.glob(f"{stage}/{start}*/record.json")))


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
    from tdbench.bench.record import ROC_FPR

    for attack in audit.attacks:
        if attack.headline:
            name = f"{attack.name}, sees the {'set' if attack.game == 'text' else 'model'}: AUC {attack.auc:.3f}"
            axes.plot(ROC_FPR, attack.roc_tpr, label=name)
    axes.plot([ROC_FPR[0], 1], [ROC_FPR[0], 1], color="grey", linestyle="--", label="guessing")
    axes.set(xscale="log", yscale="log", xlim=(0.01, 1), ylim=(0.01, 1), title=title)
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    axes.legend(fontsize=8)


def _plugin(kind: str, plugin: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": plugin.name,
        "kind": kind,
        "version": plugin.version,
        "about": inspect.cleandoc(plugin.__doc__ or ""),
        "module": plugin.__module__,
    }
    if kind == "method":
        facts["card"] = _plain(asdict(plugin.card))
    if kind == "task":
        facts["fields"], facts["labels"] = list(plugin.text_fields), list(plugin.label_names)
        facts["headline"] = plugin.metric
        facts["facts"] = _plain({key: value for key, value in asdict(plugin.facts).items() if value not in ("", {})})
        facts["files"] = _plain(plugin.local)
        facts["hub"] = None if plugin.hub is None else _plain(asdict(plugin.hub))
    options = {name: _option(field) for name, field in plugin.Config.model_fields.items()}
    return {**facts, "options": options, "option_notes": option_notes(plugin.Config)}


def option_notes(config: type) -> dict[str, str]:
    """Returns what the source says below each option of a plug-in, its base classes' options included."""
    notes: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if not hasattr(owner, "model_fields"):
            continue
        try:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, SyntaxError, ValueError):  # made on the fly, or its file is gone
            continue
        for field, note in pairwise(getattr(definition, "body", ())):
            match field, note:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    notes[name] = " ".join(text.split())
    return {name: notes[name] for name in getattr(config, "model_fields", {}) if name in notes}


def _option_lines(facts: dict[str, Any]) -> list[str]:
    """Takes the options out of what is known of a plug-in, and writes one line for each with its default and what it is for below."""
    prefix = "" if facts["kind"] == "learner" else f"{facts['kind']}."
    facts["about"] = " ".join(facts["about"].split())
    lines = ["options:"]
    for name, default in facts.pop("options").items():
        lines.append(f"  {prefix}{name}={json.dumps(default)}")
        note = facts["option_notes"].get(name, "")
        lines += textwrap.wrap(note, 110, initial_indent="      ", subsequent_indent="      ")
    del facts["option_notes"]
    return lines if len(lines) > 1 else ["options: none"]


def _option(field: Any) -> Any:
    return "required" if field.is_required() else _plain(field.get_default(call_default_factory=True))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _stage(record: Record) -> dict[str, Any]:
    raw = record.model_dump(mode="json", exclude_none=True)
    if record.train is not None:
        raw["train"]["predictions"] = f"{len(record.train.predictions)} class ids"
    return raw


def listing() -> dict[str, list[dict[str, Any]]]:
    """Returns every plug-in and every choice of the other groups."""
    items: dict[str, list[dict[str, Any]]] = {}
    for registry in REGISTRIES:
        items[f"{registry.kind}s"] = [
            {"name": name, "origin": entry.origin, "about": _about(entry.plugin), "error": entry.error}
            for name, entry in registry.entries().items()
        ]
    for group in ("method", "task", "learner"):
        known = {item["name"] for item in items[f"{group}s"]}
        for path in sorted((CONF / group).glob("*.yaml")):
            if path.stem not in known:
                items[f"{group}s"].append(
                    {"name": path.stem, "origin": "preset", "about": _comment(path), "error": None}
                )
    for group in ("suite", "protocol", "audit", "budget", "experiment"):
        items[f"{group}s"] = [
            {"name": path.stem, "origin": "preset", "about": _comment(path), "error": None}
            for path in sorted((CONF / group).glob("*.yaml"))
        ]
    return items


def _about(plugin: Any) -> str:
    if plugin is None:
        return ""
    if hasattr(plugin, "card"):
        return plugin.card.summary
    return (plugin.__doc__ or "").strip().splitlines()[0]


def _comment(path: Path) -> str:
    lines = [line.lstrip("# ").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return next((line for line in lines if not line.startswith("@package")), "")


FLAGS = {
    "-m": "run every combination of comma-separated values",
    "--dry-run": "show the plan only; --stages lists its stages",
    "--cfg": "print the composed configuration",
    "--no-board": "run the stages, build no leaderboard",
    "--json": "print one JSON object",
}


def run_help() -> str:
    """Returns the help of `tdbench run` and `tdbench plan`: grammar, flags, groups with their choices, examples."""
    items = listing()
    choices = {kind: [item["name"] for item in items[f"{kind}s"] if not item["error"]] for kind in RUN_GROUPS}
    methods = METHODS.names()
    presets = [name for name in choices["method"] if name not in methods]
    choices["method"] = [*methods, f"and {len(presets)} presets of them such as {presets[0]} (tdbench list)"]
    width = min(shutil.get_terminal_size((120, 24)).columns, 120)
    runtime = yaml.safe_load((CONF / "runtime" / "default.yaml").read_text(encoding="utf-8"))
    keys = {
        "learners=": f"[NAME,...]: {', '.join(choices.pop('learner'))}, hf:<id or folder>",
        "sets= seeds=": "distilled sets, and learner seeds for each; default: what the protocol asks for",
        "data.": "data.kind=auto|local|hub|standin data.root=FOLDER",
        "runtime.": f"{', '.join(runtime)}; with their defaults: tdbench show default --kind runtime",
        "method. task.": "options of the method or task, such as method.k=3; they are listed by tdbench show NAME",
    }
    rows = {**{f"{group}=": ", ".join(names) for group, names in choices.items()}, **keys}
    lines = [
        "usage: tdbench run [-m] task=NAME [method=NAME] [budget=NAME] [GROUP=NAME ...] [KEY=VALUE ...]",
        "       tdbench plan shows what the same words would run.",
        "",
        *(f"  {flag:12} {text}" for flag, text in FLAGS.items()),
        "",
        *(
            textwrap.fill(
                text, width, initial_indent=f"  {name:14} ", subsequent_indent=" " * 17, break_on_hyphens=False
            )
            for name, text in rows.items()
        ),
        "",
        "Without method= or budget= the suite says what runs. What a name means: tdbench list, tdbench show NAME.",
        "  tdbench run task=agnews suite=smoke data.kind=standin",
        "  tdbench run task=sst2 method=kmeans budget=dpc10 learners=[minilm,textcnn]",
        "  tdbench run -m task=sst2,agnews method=random,kmeans budget=dpc1,dpc10",
    ]
    return "\n".join(lines)


def list_command(as_json: bool) -> int:
    """Prints the listing. Returns the exit code."""
    listed = listing()
    if as_json:
        print(json.dumps(listed))  # noqa: T201
        return 0
    for group, items in listed.items():
        print(f"{group}:")  # noqa: T201
        for item in items:
            text = f"CANNOT BE USED: {item['error']} ({item['origin']})" if item["error"] else item["about"]
            print(f"  {item['name']:18} {text}")  # noqa: T201
    return 0


def status_command(root: Path, as_json: bool) -> int:
    """Prints counts of stages by task, method and budget, and the failures. Returns the exit code."""
    from tdbench.bench.experiment.store import ALL_STAGES, Store

    warnings: list[str] = []
    store = Store(root)
    records = store.records(warnings, ALL_STAGES)
    counts: dict[tuple[str, ...], dict[str, int]] = {}
    for record in records:
        protocol = (record.protocol or {}).get("name", "")
        key = (record.cell.task, record.method_facts.label, record.cell.budget, record.stage, protocol)
        counts.setdefault(key, {"ok": 0, "failed": 0})[record.status] += 1
    failures = [
        {"id": r.id, "stage": r.stage, "task": r.cell.task, "method": r.method_facts.label, "error": r.error.message}
        for r in records
        if r.error is not None
    ]
    if as_json:
        rows = [{"key": list(key), **value} for key, value in sorted(counts.items())]
        print(json.dumps({"root": str(root), "stages": rows, "failures": failures, "unreadable": warnings}))  # noqa: T201
        return 0
    if not records:
        print(f"{root} holds no finished stages; start with: tdbench run task=agnews")  # noqa: T201
    for key, value in sorted(counts.items()):
        failed = f", {value['failed']} FAILED" if value["failed"] else ""
        print(f"{' · '.join(part for part in key if part):60} {value['ok']} finished{failed}")  # noqa: T201
    for item in failures:
        where = store.record_path(item["stage"], item["id"])
        print(f"FAILED {item['task']} · {item['method']}: {item['error'].splitlines()[0][:120]}  ({where})")  # noqa: T201
    for warning in warnings:
        print(f"UNREADABLE {warning}")  # noqa: T201
    return 0


CHROMIUM = Path("/usr/bin/chromium")


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at.

    Args:
        state: `ok`, `note` (something optional is missing) or `problem`.
        what: What was looked at, and what was found.
        fix: What to do; empty where nothing is to be done.
    """

    state: str
    what: str
    fix: str = ""


def doctor_command(root: Path, as_json: bool) -> int:
    """Prints one line for each thing looked at. Returns 3 when a prerequisite is missing, else 0."""
    diagnoses = [d for look in (_python, _packages, _plugins, _machine, _data, _weights, _tools) for d in look()]
    diagnoses += list(_folder(root))
    if as_json:
        print(json.dumps([asdict(diagnosis) for diagnosis in diagnoses]))  # noqa: T201
    else:
        for diagnosis in diagnoses:
            print(f"{diagnosis.state:8}{diagnosis.what}")  # noqa: T201
            if diagnosis.fix:
                print(f"        {diagnosis.fix}")  # noqa: T201
    return 3 if any(diagnosis.state == "problem" for diagnosis in diagnoses) else 0


def _python() -> Iterator[Diagnosis]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Diagnosis("ok" if good else "problem", f"Python {version}", "" if good else "TDBench needs Python 3.11.")


def _packages() -> Iterator[Diagnosis]:
    path = ROOT / "constraints.txt"
    if not path.is_file():
        yield Diagnosis("note", "no constraints.txt: package versions were not compared")
        return
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s#]+)", path.read_text(), flags=re.MULTILINE))
    other = []
    for name, wanted in pinned.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # extras that are not installed
        if version.partition("+")[0] != wanted:
            other.append(f"{name} {version} (tested with {wanted})")
    fix = "make setup installs the tested versions." if other else ""
    what = f"packages differ from constraints.txt: {', '.join(other)}" if other else "packages as in constraints.txt"
    yield Diagnosis("note" if other else "ok", what, fix)


def _plugins() -> Iterator[Diagnosis]:
    broken = [(r.kind, name, e) for r in REGISTRIES for name, e in r.entries().items() if e.error]
    for kind, name, entry in broken:
        yield Diagnosis("problem", f"{kind} '{name}' ({entry.origin}) cannot be used", str(entry.error))
    counts = ", ".join(f"{len(registry.names())} {registry.kind}s" for registry in REGISTRIES)
    yield Diagnosis("ok", f"plug-ins: {counts}")


def _machine() -> Iterator[Diagnosis]:
    import torch

    from tdbench.bench.experiment.provenance import cores
    from tdbench.bench.training.prepared import compute_dtype_name

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Diagnosis("ok", f"{cores()} cores, numbers in {compute_dtype_name('cpu')}; torch {torch.__version__}")
    yield (
        Diagnosis("ok", f"GPU: {', '.join(names)}")
        if names
        else Diagnosis("note", "no GPU: everything runs on the CPU")
    )


def _data() -> Iterator[Diagnosis]:
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.data.sources import DATA_VARIABLE, hub_reachable
    from tdbench.bench.errors import DataError, PrerequisiteError

    folder = os.environ.get(DATA_VARIABLE)
    if folder and not Path(folder).is_dir():
        yield Diagnosis("problem", f"{DATA_VARIABLE}={folder} is no folder", f"correct or unset {DATA_VARIABLE}.")
        return
    reachable = hub_reachable()
    yield Diagnosis("ok" if reachable else "note", f"Hugging Face Hub: {'reachable' if reachable else 'not reachable'}")
    for name in TASKS.names():
        plugin = TASKS.get(name)
        if any(field.is_required() for field in plugin.Config.model_fields.values()):
            yield Diagnosis("note", f"task {name}: not looked at, because it has options without a default")
            continue
        task = plugin()
        try:
            load_task(task, "local", Path(folder) if folder else None)
            yield Diagnosis("ok", f"task {name}: files in {folder}")
        except PrerequisiteError as error:
            fix = task.facts.obtain or str(error)
            if task.hub:
                fix = (
                    "The Hub or its cache is used."
                    if reachable
                    else f"The Hub's cache is used, else the stand-in. {error}"
                )
            yield Diagnosis("note", f"task {name}: no local files", fix)
        except DataError as error:
            yield Diagnosis("problem", f"task {name}: unreadable files", str(error))


def _weights() -> Iterator[Diagnosis]:
    from tdbench.bench.models.resolve import is_local
    from tdbench.bench.training.resolve import learner_names, resolve_learner

    for name in learner_names():
        model = getattr(resolve_learner(name).config, "model", None)
        if model is None or is_local(model):
            yield Diagnosis("ok", f"learner {name}")
        else:
            yield Diagnosis("note", f"learner {name}: no weights here", f"tdbench fetch {name}, where there is a Hub.")


def _tools() -> Iterator[Diagnosis]:
    have = CHROMIUM.is_file() or shutil.which("chromium") is not None
    fix = "" if have else "apt-get install chromium; only the browser tests need it."
    yield Diagnosis("ok" if have else "note", "chromium" if have else "no chromium", fix)


def _folder(root: Path) -> Iterator[Diagnosis]:
    place = next(folder for folder in (root.resolve(), *root.resolve().parents) if folder.is_dir())
    good = os.access(place, os.W_OK)
    free_gb = shutil.disk_usage(place).free / 1e9
    what = f"run folder {root}: {free_gb:.0f} GB free" if good else f"run folder {root} cannot be written"
    yield Diagnosis("ok" if good else "problem", what, "" if good else "choose another: runtime.root=FOLDER.")
