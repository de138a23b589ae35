"""Methods from outside the project: one file, and one separate installable package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

METHOD = '''
from tdbench.api import DistilledSet, Method, MethodCard, MethodConfig


class FirstRows(Method):
    """Takes the first rows of each class."""

    name = "{name}"
    card = MethodCard(summary="First rows.", family="coreset", deterministic=True)

    class Config(MethodConfig):
        skip: int = 0

    def distil(self, real, budget, ctx):
        texts, chosen = real.joined(), []
        for label in range(real.n_classes):
            chosen += budget.fill(real.positions_of_class(label)[self.config.skip :], texts)
        return DistilledSet.from_rows(real, chosen)
'''
BROKEN_METHOD = METHOD.replace("        texts, chosen", '        raise RuntimeError("no luck")\n        texts, chosen')


def run_method(tdbench, name: str, *words: str, **environment: str):
    return tdbench("run", "task=agnews", "suite=smoke", f"method={name}", *words, "--json", **environment)


def test_method_file_runs_without_touching_the_project(tdbench, tmp_path):
    (tmp_path / "mine.py").write_text(METHOD.format(name="first-rows"))
    done = run_method(tdbench, "first-rows", "method.skip=2", TDBENCH_PLUGINS=str(tmp_path / "mine.py"))
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout)["rows"] if row["method"] == "first-rows"]
    assert row["options"] == "skip=2"
    for words in (("run", "--help"), ("show", "first-rows")):
        assert "first-rows" in tdbench(*words, TDBENCH_PLUGINS=str(tmp_path / "mine.py")).stdout
    assert "method.skip=0" in tdbench("show", "first-rows", TDBENCH_PLUGINS=str(tmp_path / "mine.py")).stdout


def test_method_in_a_package_of_its_own_runs_after_pip_install(tdbench_process, tmp_path):
    project = tmp_path / "package"
    project.mkdir()
    (project / "first_rows_plugin.py").write_text(METHOD.format(name="packaged"))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "first-rows-plugin"\nversion = "0.1"\n'
        '[project.entry-points."tdbench.methods"]\npackaged = "first_rows_plugin:FirstRows"\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["first_rows_plugin.py"]\n'
    )
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(project)], check=True, capture_output=True, timeout=120)
    words = ("run", "task=agnews", "suite=smoke", "method=packaged", "--no-board")
    done = tdbench_process(*words, PYTHONPATH=str(target))
    assert done.returncode == 0, done.stderr
    assert "packaged" in tdbench_process("list", PYTHONPATH=str(target)).stdout


def test_file_that_fails_to_import_is_listed_with_its_reason_and_stops_nothing(tdbench, tmp_path):
    (tmp_path / "bad.py").write_text("import a_package_that_does_not_exist\n")
    environment = {"TDBENCH_PLUGINS": str(tmp_path / "bad.py")}
    listed = tdbench("list", **environment)
    assert listed.returncode == 0
    assert "a_package_that_does_not_exist" in listed.stdout
    assert run_method(tdbench, "random", **environment).returncode == 0
    refused = run_method(tdbench, "bad", **environment)
    assert refused.returncode == 2
    assert "a_package_that_does_not_exist" in refused.stderr


def test_failing_method_is_recorded_stops_no_other_and_is_retried_on_request(tdbench, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(BROKEN_METHOD.format(name="first-rows"))
    environment = {"TDBENCH_PLUGINS": str(plugin)}
    words = ("run", "-m", "task=agnews", "suite=smoke", "method=first-rows,random")
    first = tdbench(*words, **environment)
    assert first.returncode == 1
    assert "RuntimeError: no luck" in first.stderr
    (failed,) = [p for p in (tmp_path / "runs" / "distil").glob("*/record.json") if '"failed"' in p.read_text()]
    assert "Traceback" in json.loads(failed.read_text())["error"]["traceback"]
    rows = json.loads((tmp_path / "runs" / "board" / "leaderboard.json").read_text())["rows"]
    assert any(row["method"] == "random" and row["accuracy_frac"] for row in rows if row["protocol"] == "smoke")
    plugin.write_text(METHOD.format(name="first-rows"))
    still = tdbench(*words, **environment)
    assert (still.returncode, "0 stages run" in still.stdout) == (1, True)
    mended = tdbench(*words, "runtime.retry=true", **environment)
    assert (mended.returncode, "2 stages run" in mended.stdout) == (0, True)


def test_changed_source_of_the_same_version_is_noted(tdbench, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(METHOD.format(name="first-rows"))
    environment = {"TDBENCH_PLUGINS": str(plugin)}
    words = ("run", "task=agnews", "suite=smoke", "method=first-rows")
    assert "has changed" not in tdbench(*words, **environment).stderr
    plugin.write_text(METHOD.format(name="first-rows") + "\n# edited\n")
    assert "source of method 'first-rows' has changed" in tdbench(*words, **environment).stderr


def test_set_over_budget_is_refused_with_the_class_and_both_numbers(tdbench, tmp_path):
    greedy = METHOD.format(name="greedy").replace("budget.fill(", "list(").replace(", texts)", ")")
    (tmp_path / "mine.py").write_text(greedy)
    done = tdbench("run", "task=agnews", "suite=smoke", "method=greedy", TDBENCH_PLUGINS=str(tmp_path / "mine.py"))
    assert done.returncode == 1
    assert "budget dpc5 allows 5" in done.stderr


def test_folders_of_the_users_with_the_suites_names_are_no_obstacle(tdbench, tmp_path):
    for name in ("tasks", "methods", "bench"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tdbench")), "list"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first_on_the_path = tdbench("list")  # `python -m` puts the working folder first
    assert first_on_the_path.returncode == 0, first_on_the_path.stderr
