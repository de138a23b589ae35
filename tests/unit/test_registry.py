"""The registry: built-in folders, plug-in files, entry points, and what it says when one of them is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tdbench.bench.canonical import sha256_text
from tdbench.bench.data.task import Task
from tdbench.bench.errors import PluginError, UsageError
from tdbench.bench.method import Method
from tdbench.bench.registry import METHODS, Registry, source_sha256
from tdbench.bench.training.learner import Learner

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = """
from tdbench.api import DistilledSet, Method, MethodCard


class Mine(Method):
    name = "{name}"
    card = MethodCard(summary="Mine.", family="coreset")

    def distil(self, real, budget, ctx):
        return DistilledSet.from_rows(real, [0])
"""


def methods() -> Registry[Any]:
    return Registry("method", lambda: Method, "tdbench.methods")


def tasks() -> Registry[Any]:
    return Registry("task", lambda: Task, "tdbench.tasks")


def learners() -> Registry[Any]:
    return Registry("learner", lambda: Learner, "tdbench.bench.training.learners")


def python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=cwd, timeout=60
    )


@pytest.fixture
def plugin_file(tmp_path, monkeypatch):
    """Writes plug-in files and names them in TDBENCH_PLUGINS."""

    def write(**sources: str) -> list[Path]:
        paths = []
        for stem, source in sources.items():
            path = tmp_path / f"{stem}.py"
            path.write_text(source)
            paths.append(path)
        monkeypatch.setenv("TDBENCH_PLUGINS", os.pathsep.join(str(path) for path in paths))
        return paths

    return write


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a distribution with one entry point, as pip would, into a folder on sys.path."""

    def install(module: str, source: str, point: str, group: str = "tdbench.methods") -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        (methods, {"random", "herding", "kcenter", "kmeans", "majority", "full"}),
        (tasks, {"agnews", "sst2", "rotten_tomatoes"}),
        (learners, {"textcnn", "bilstm", "bow-logreg", "transformer"}),
    ],
)
def test_every_built_in_plugin_is_found_and_usable(registry, expected):
    found = registry()
    assert expected <= set(found.names())
    assert [name for name, entry in found.entries().items() if entry.error] == []


def test_a_plugin_file_joins_the_built_in_plugins(plugin_file):
    (path,) = plugin_file(some_file=PLUGIN.format(name="mine"))
    registry = methods()
    assert registry.entries()["mine"].origin == str(path)
    assert issubclass(registry.get("mine"), Method)
    assert "random" in registry.names()
    # The same file serves the other registries, where it holds nothing.
    assert "mine" not in tasks().names()


def test_a_changed_plugin_file_has_another_source_hash(plugin_file):
    (path,) = plugin_file(some_file=PLUGIN.format(name="mine"))
    plugin = methods().get("mine")
    before = source_sha256(plugin)
    path.write_text(PLUGIN.format(name="mine") + "# changed\n")
    assert before is not None
    assert source_sha256(plugin) not in {before, None}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no compiler here')", "RuntimeError: no compiler here"),
        ("import a_package_that_nobody_has", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_listed_with_its_reason_and_stops_nothing(plugin_file, source, reason):
    plugin_file(broken_one=source, other=PLUGIN.format(name="mine"))
    registry = methods()
    entry = registry.entries()["broken_one"]
    assert entry.plugin is None
    assert reason in (entry.error or "")
    assert {"mine", "random"} <= set(registry.names())
    assert "broken_one" not in registry.names()
    with pytest.raises(PluginError, match=reason):
        registry.get("broken_one")


def test_a_file_that_does_not_exist_is_listed_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("TDBENCH_PLUGINS", str(tmp_path / "gone.py"))
    assert "does not exist" in (methods().entries()["gone"].error or "")


def test_two_plugins_of_one_name_are_an_error_naming_both_origins(plugin_file):
    first, second = plugin_file(first=PLUGIN.format(name="mine"), second=PLUGIN.format(name="mine"))
    with pytest.raises(PluginError) as caught:
        methods().entries()
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_plugin_cannot_take_the_name_of_a_built_in_one(plugin_file):
    (path,) = plugin_file(some_file=PLUGIN.format(name="random"))
    with pytest.raises(PluginError, match=r"methods\.random_subset") as caught:
        methods().names()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["Mine", "my method", "../mine", "a,b", "-m", ""])
def test_a_name_that_the_command_line_could_not_spell_is_refused(plugin_file, name):
    plugin_file(some_file=PLUGIN.format(name=name))
    assert "lower-case words" in (methods().entries()[name].error or "")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('card = MethodCard(summary="Mine.", family="coreset")', "", "'card' is missing"),
        ('name = "mine"', 'name = "mine"\n    class Config: pass', "no MethodConfig"),
        ('name = "mine"', 'name = "mine"\n    class Config(Method.Config):\n        name: str = "x"', "reserved"),
    ],
)
def test_a_plugin_that_breaks_its_base_class_is_listed_with_the_reason(plugin_file, old, new, reason):
    plugin_file(some_file=PLUGIN.format(name="mine").replace(old, new))
    assert reason in (methods().entries()["mine"].error or "")


def test_abstract_and_imported_classes_are_no_plugins(plugin_file):
    source = (
        PLUGIN.format(name="mine")
        + "\nfrom tdbench.methods.herding import Herding\n\nclass Base(Method):\n    name = 'base'\n"
    )
    plugin_file(some_file=source)
    registry = methods()
    assert "base" not in registry.entries()
    assert registry.entries()["herding"].origin == "tdbench.methods.herding"


@pytest.mark.parametrize(("typo", "meant"), [("kmean", "kmeans"), ("hreding", "herding"), ("randon", "random")])
def test_an_unknown_name_gets_the_nearest_known_one(typo, meant):
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        METHODS.get(typo)


def test_a_name_that_resembles_nothing_gets_the_list_of_known_ones():
    with pytest.raises(UsageError, match=r"Known: .*kmeans") as caught:
        METHODS.get("xqzw")
    assert "did you mean" not in str(caught.value)


def test_an_entry_point_of_an_installed_distribution_is_found(distribution):
    distribution("tdb_thirdparty", PLUGIN.format(name="theirs"), "theirs = tdb_thirdparty:Mine")
    registry = methods()
    assert registry.entries()["theirs"].origin == "package tdb_thirdparty (tdb_thirdparty:Mine)"
    assert registry.get("theirs").__module__ == "tdb_thirdparty"


@pytest.mark.parametrize(
    ("source", "point", "reason"),
    [
        (PLUGIN.format(name="theirs"), "other = tdb_thirdparty:Mine", "give both the same name"),
        ("Mine = 3", "other = tdb_thirdparty:Mine", "no Method subclass"),
        ("raise OSError('no device')", "other = tdb_thirdparty:Mine", "OSError: no device"),
        ("", "other = tdb_thirdparty:Mine", "AttributeError"),
    ],
)
def test_an_entry_point_that_does_not_fit_is_listed_with_the_reason(distribution, source, point, reason):
    distribution("tdb_thirdparty", source, point)
    registry = methods()
    assert reason in (registry.entries()["other"].error or "")
    assert "random" in registry.names()


def test_importing_every_built_in_plugin_imports_no_torch():
    code = (
        "import sys\n"
        "from tdbench.bench.registry import REGISTRIES\n"
        "for registry in REGISTRIES: assert registry.names()\n"
        "import tdbench.bench.config\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'skmatter', 'datasets', 'evaluate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["tasks", "methods", "bench", "conf"])
def test_folders_of_the_users_with_the_suites_names_take_nothing_from_it(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tdbench.bench.registry import METHODS; METHODS.get('kmeans')"
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_harness_has_one_name_only():
    done = python(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import bench")
    assert "imported as 'tdbench.bench'" in done.stderr


def test_a_plugins_hash_does_not_depend_on_the_import_root(plugin_file):
    (path,) = plugin_file(some_file=PLUGIN.format(name="mine"))
    old = path.read_text().replace("from tdbench.api import", "from bench.api import")
    assert old != path.read_text()
    assert source_sha256(methods().get("mine")) == sha256_text(old)
