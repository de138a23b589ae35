"""`tdbench new` and `tdbench check`: starts a plug-in, and runs the conformance suite on one."""

from __future__ import annotations

import importlib
import json
import keyword
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tdbench import api
from tdbench.bench.errors import UsageError, unknown_name
from tdbench.bench.registry import LEARNERS, METHODS, TASKS, find_plugin, plugin_name_problem

if TYPE_CHECKING:
    from tdbench.bench.testing import Report

_TEMPLATES = Path(__file__).parents[1] / "templates"
KINDS = {"method": METHODS, "task": TASKS, "learner": LEARNERS}


def new_command(kind: str, name: str, package: bool, to: Path) -> int:
    """Writes the files of a plug-in that runs as it is, and says what to do next.

    Args:
        kind: `method`, `task` or `learner`.
        name: Name of the plug-in, lower case, words joined by `-` or `_`.
        package: Whether to write a package with tests and an entry point instead of one file in the tree.
        to: Folder that receives the package.

    Returns:
        The exit code.

    Raises:
        UsageError: The kind is unknown, the name is taken or malformed, or a file is in the way.
    """
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    problem = plugin_name_problem(name)
    if problem:
        raise UsageError(problem)
    if name in KINDS[kind].entries():
        raise UsageError(
            f"there is a {kind} '{name}' already ({KINDS[kind].entries()[name].origin}); choose another name."
        )
    module = name.replace("-", "_")
    words = {
        "kind": kind,
        "name": name,
        "title": name.replace("-", " ").replace("_", " ").capitalize(),
        "class_name": "".join(part.capitalize() for part in module.split("_")),
        "package": f"tdbench_{module}",
    }
    if keyword.iskeyword(words["class_name"]) or hasattr(api, words["class_name"]):
        words["class_name"] += kind.capitalize()
    if words["class_name"][0].isdigit():
        raise UsageError(f"the name '{name}' begins with a digit, which a Python class cannot; choose another.")
    files = _package_files(to, words) if package else {_tree_folder(kind) / f"{module}.py": f"{kind}.py"}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} exists already; remove it or choose another name.")
    for path, template in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled(template, words), encoding="utf-8")
        print(path)  # noqa: T201
    next_step = (
        f"pip install -e {to / ('tdbench-' + name)} && tdbench check {name}" if package else f"tdbench check {name}"
    )
    print(f"Next: {next_step}")  # noqa: T201
    return 0


def _filled(template: str, words: dict[str, str]) -> str:
    return (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8").format(**words) if template else ""


def _tree_folder(kind: str) -> Path:
    module = importlib.import_module(KINDS[kind].package)
    return Path(str(module.__file__)).resolve().parent


def _package_files(to: Path, words: dict[str, str]) -> dict[Path, str]:
    root = to / f"tdbench-{words['name']}"
    return {
        root / "pyproject.toml": "pyproject.toml",
        root / "README.md": "README.md",
        root / words["package"] / "__init__.py": "",
        root / words["package"] / "plugin.py": f"{words['kind']}.py",
        root / "tests" / f"test_{words['package'].removeprefix('tdbench_')}.py": "test.py",
    }


def check_command(name: str, kind: str | None, as_json: bool) -> int:
    """Runs the suite and lists its findings. Returns 0 when all checks hold, 1 when one fails, 3 when it could not be run."""
    from tdbench.bench.testing import check
    from tdbench.bench.training.resolve import presets, resolve_learner

    if name in presets() and kind in (None, "learner"):
        kind, report = "learner", check(resolve_learner(name))
    else:
        kind, plugin = find_plugin(name, kind)
        report = check(plugin)
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        print(json.dumps({"name": name, "kind": kind, "ok": report.ok, "findings": findings, "notes": report.notes}))  # noqa: T201
        return _exit_code(report)
    for finding in report.findings:
        print(f"{'ok    ' if finding.ok else 'FAILED'} {finding.what}")  # noqa: T201
        if not finding.ok:
            print(f"       {finding.fix}")  # noqa: T201
    for note in report.notes:
        print(f"note   {note}")  # noqa: T201
    failed = sum(not finding.ok for finding in report.findings)
    verdict = "conforms" if report.ok else "was NOT run, so nothing is proven"
    print(f"{kind} '{name}': {f'{failed} of {len(report.findings)} checks failed' if failed else verdict}.")  # noqa: T201
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.ok:
        return 0
    return 3 if all(finding.ok for finding in report.findings) else 1
