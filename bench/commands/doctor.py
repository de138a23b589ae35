"""`tdbench doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tdbench.bench._paths import ROOT
from tdbench.bench.data.sources import DATA_VARIABLE, hub_reachable
from tdbench.bench.registry import REGISTRIES, TASKS

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
    found = [d for look in (_python, _packages, _plugins, _machine, _data, _weights, _tools) for d in look()]
    found += list(_folder(root))
    if as_json:
        print(json.dumps([asdict(diagnosis) for diagnosis in found]))  # noqa: T201
    else:
        for diagnosis in found:
            print(f"{diagnosis.state:8}{diagnosis.what}")  # noqa: T201
            if diagnosis.fix:
                print(f"        {diagnosis.fix}")  # noqa: T201
    return 3 if any(diagnosis.state == "problem" for diagnosis in found) else 0


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
    from tdbench.bench.training.precision import compute_dtype_name

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Diagnosis("ok", f"{cores()} cores, numbers in {compute_dtype_name('cpu')}; torch {torch.__version__}")
    yield (
        Diagnosis("ok", f"GPU: {', '.join(names)}")
        if names
        else Diagnosis("note", "no GPU: everything runs on the CPU")
    )


def _data() -> Iterator[Diagnosis]:
    from tdbench.bench.data.loading import load_task
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
