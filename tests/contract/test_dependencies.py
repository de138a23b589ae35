"""Dependencies point one way: what may import what, read from the source of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bench", "methods", "tasks", "leaderboard")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for package in ("tdbench/api", *PACKAGES)
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), name) for name, path in FILES.items()}


@cache
def imports(name: str) -> set[str]:
    """Every module that a file imports anywhere, relative imports resolved, `import_module("x")` included."""
    found: set[str] = set()
    package = module_name(name).split(".")[:-1]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            module = ".".join(part for part in base if part) if node.level else node.module or ""
            # `from tdbench import api` imports tdbench.api, `from tdbench.api import Task` does too.
            found |= {
                f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module for alias in node.names
            }
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"} and node.args:
            found |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    return found


def module_name(file: str) -> str:
    """The name under which a file is imported; a package's own file counts as a module in it."""
    parts = file.removesuffix(".py").split("/")
    return ".".join(parts if parts[0] == "tdbench" else ["tdbench", *parts])


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return name.startswith("tdbench.") and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def of_project(name: str) -> set[str]:
    return {module.removeprefix("tdbench.") for module in imports(name) if module.split(".")[0] == "tdbench"}


def each(names: list[str]) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Makes one test of a test of every file: thousands of tests take longer to hand out than to run."""

    def wrap(test: Callable[[str], None]) -> Callable[[], None]:
        def of_all() -> None:
            assert names
            wrong: dict[str, str] = {}
            for name in names:
                try:
                    test(name)
                except AssertionError as error:
                    wrong[name] = str(error)
            assert wrong == {}

        of_all.__doc__ = test.__doc__
        return of_all

    return wrap


def in_package(*packages: str) -> list[str]:
    return [name for name in FILES if name.startswith(tuple(f"{package}/" for package in packages))]


def test_the_search_finds_the_files_and_the_imports_it_is_about():
    assert {package: bool(in_package(package)) for package in PACKAGES} == dict.fromkeys(PACKAGES, True)
    assert "api" in of_project("methods/kmeans.py")
    assert "api.matching" in of_project("methods/dm.py")
    assert "bench.record" in of_project("bench/cost.py")
    assert "sklearn.cluster" in imports("bench/selection.py")


@each(in_package("methods", "tasks"))
def test_a_plugin_imports_nothing_of_the_project_but_the_api(name):
    # A plug-in may be a package: its own parts are allowed, another plug-in is not.
    plugin = ".".join(name.removesuffix(".py").split("/")[:2])
    foreign = {module for module in of_project(name) if not f"{module}.".startswith(("api.", f"{plugin}."))}
    assert foreign == set()


@each(in_package("bench"))
def test_the_harness_never_imports_a_method_or_task(name):
    assert not {module for module in of_project(name) if module.split(".")[0] in {"methods", "tasks"}}


@each([name for name in in_package("bench") if not name.startswith("bench/commands/")])
def test_only_the_commands_of_the_harness_know_the_leaderboard(name):
    assert not {module for module in of_project(name) if module.split(".")[0] == "leaderboard"}


@each(in_package("leaderboard"))
def test_the_leaderboard_reads_records_and_nothing_else_of_the_harness(name):
    foreign = {module for module in of_project(name) if module.split(".")[0] != "leaderboard"}
    assert foreign <= {"bench.record", "bench.errors"}


def test_building_a_leaderboard_needs_no_torch():
    code = (
        "import sys, tdbench.leaderboard.build\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[]"


@each(FILES)
def test_a_function_has_at_most_50_lines(name):
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {function: lines for function, lines in long.items() if lines > 50} == {}


@each(FILES)
def test_nothing_unpickles(name):
    assert not {module.split(".")[0] for module in imports(name)} & {
        "pickle",
        "cPickle",
        "dill",
        "joblib",
        "cloudpickle",
    }
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in {"load", "save"}


@each([n for n in FILES if not n.startswith(("bench/commands/", "bench/progress"))])
def test_only_commands_and_the_progress_line_print(name):
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert [node.lineno for node in calls if node.func.id == "print"] == []


def test_finding_the_plugins_imports_no_heavy_library():
    code = (
        "import sys\n"
        "from tdbench.bench.registry import REGISTRIES\n"
        "print([entry.error for registry in REGISTRIES for entry in registry.entries().values() if entry.error])\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'sklearn', 'skmatter'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.mark.parametrize("name", ["__init__", "llm", "options", "privacy"])
def test_plugins_may_import_these_parts_of_the_api_at_the_top(name):
    code = f"import sys, tdbench.api.{name}; print(sorted({{'torch', 'transformers', 'sklearn', 'scipy'}} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[]"


@each([name for name in in_package("tdbench/api") if not name.endswith("__init__.py")])
def test_a_toolkit_offers_what_a_plugin_uses(name):
    module = import_module(module_name(name))
    offered = {alias.name for node in TREES[name].body if isinstance(node, ast.ImportFrom) for alias in node.names}
    used = {
        alias.name
        for plugin in in_package("methods", "tasks", "bench/training/learners")
        for node in ast.walk(TREES[plugin])
        if isinstance(node, ast.ImportFrom) and node.module == module.__name__
        for alias in node.names
    }
    assert offered == used
