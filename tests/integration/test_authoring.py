"""Starting, checking and looking at plug-ins; fetching; the doctor; repeating a recorded training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tdbench.bench.commands import new
from tdbench.bench.errors import UsageError

CODE_OF = {"method": "Method", "task": "Task", "learner": "Learner"}


@pytest.fixture(params=["method", "task", "learner"])
def package(request, tdbench, tmp_path):
    """A new package of every kind, with its plug-in file."""
    done = tdbench("new", request.param, "my-own", "--package")
    assert done.returncode == 0, done.stderr
    return request.param, tmp_path / "tdbench-my-own"


def test_a_new_package_conforms_and_runs_as_it_is(package, tdbench):
    kind, root = package
    plugin = root / "tdbench_my_own" / "plugin.py"
    assert len(plugin.read_text().splitlines()) < 60
    done = tdbench("check", "my-own", TDBENCH_PLUGINS=str(plugin))
    assert done.returncode == 0, done.stdout
    assert f"{kind} 'my-own': conforms." in done.stdout
    words = {
        "method": ["task=agnews", "method=my-own", "method.longest=true"],
        "task": ["task=my-own", "method=random"],
        "learner": ["task=agnews", "method=random", "learners=[my-own]"],
    }[kind]
    ran = tdbench(
        "run", *words, "budget=dpc1", "protocol=smoke", "data.kind=standin", "--json", TDBENCH_PLUGINS=str(plugin)
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["n_run"] == 2


def test_a_new_package_has_a_test_that_passes_and_an_entry_point_that_names_its_class(package):
    kind, root = package
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    assert (
        f'[project.entry-points."tdbench.{kind}s"]\nmy-own = "tdbench_my_own.plugin:MyOwn"'
        in (root / "pyproject.toml").read_text()
    )
    assert f"class MyOwn({CODE_OF[kind]})" in (root / "tdbench_my_own" / "plugin.py").read_text()


def test_in_the_tree_one_file_is_written_where_the_registry_looks(tmp_path, monkeypatch, capsys):
    for kind in ("method", "task", "learner"):
        monkeypatch.setattr(new, "_tree_folder", lambda kind: tmp_path / kind)
        assert new.new_command(kind, "my-own", package=False, to=Path()) == 0
        assert (tmp_path / kind / "my_own.py").is_file()
    assert "Next: tdbench check my-own" in capsys.readouterr().out
    monkeypatch.undo()
    folders = [new._tree_folder(kind).as_posix() for kind in ("method", "task", "learner")]
    assert [f.endswith(end) for f, end in zip(folders, ("methods", "tasks", "bench/training/learners"), strict=True)]


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("methods", "x", "unknown kind 'methods'; did you mean 'method'"),
        ("method", "kmeans", "already"),
        ("method", "My Method", "not lower-case"),
        ("method", "3d", "begins with a digit"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tdbench, tmp_path, kind, name, reason):
    done = tdbench("new", kind, name, "--package")
    assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.glob("tdbench-*"))


@pytest.mark.parametrize(("name", "class_name"), [("none", "NoneMethod"), ("distilled-set", "DistilledSetMethod")])
def test_a_class_never_takes_a_name_that_means_something_else(tmp_path, name, class_name):
    new.new_command("method", name, package=True, to=tmp_path)
    (plugin,) = tmp_path.glob("*/*/plugin.py")
    assert f"class {class_name}(Method)" in plugin.read_text()
    compile(plugin.read_text(), str(plugin), "exec")


def test_a_file_that_cannot_be_imported_is_told_with_its_reason(tdbench, tmp_path):
    (tmp_path / "b77.py").write_text("def broken(:\n")
    done = tdbench("check", "b77", TDBENCH_PLUGINS=str(tmp_path / "b77.py"))
    assert (done.returncode, "SyntaxError" in done.stderr) == (1, True), done.stderr


def test_nothing_is_overwritten(tmp_path):
    new.new_command("task", "mine", package=True, to=tmp_path)
    shutil.rmtree(tmp_path / "tdbench-mine" / "tdbench_mine")
    with pytest.raises(UsageError, match="exists already"):
        new.new_command("task", "mine", package=True, to=tmp_path)
    assert not (tmp_path / "tdbench-mine" / "tdbench_mine").exists()


BAD = """
from tdbench.api import DistilledSet, Method, MethodCard

class Bad(Method):
    name = "bad"
    card = MethodCard(summary="s", family="f")

    def distil(self, real, budget, ctx):
        return DistilledSet.from_rows(real, range(30))
"""


def test_a_failed_check_says_what_to_do_and_exits_with_1(tdbench, tmp_path):
    (tmp_path / "bad.py").write_text(BAD)
    done = tdbench("check", "bad", TDBENCH_PLUGINS=str(tmp_path / "bad.py"))
    assert done.returncode == 1
    assert "FAILED it has a docstring" in done.stdout
    assert "say in one sentence" in done.stdout
    assert "checks failed" in done.stdout
    listed = json.loads(tdbench("check", "bad", "--json", TDBENCH_PLUGINS=str(tmp_path / "bad.py")).stdout)
    assert not listed["ok"]
    assert {"ok", "what", "fix"} == set(listed["findings"][0])


def test_check_knows_presets_and_refuses_what_is_not_there(tdbench):
    done = tdbench("check", "bert-base")
    assert done.returncode == 3
    assert "was not trained: model 'google-bert/bert-base-uncased'" in done.stdout
    assert "learner 'bert-base': was NOT run" in done.stdout
    unknown = tdbench("check", "kmean")
    assert (unknown.returncode, "did you mean 'kmeans'" in unknown.stderr) == (2, True)
    other_kind = tdbench("check", "kmeans", "--kind", "task")
    assert (other_kind.returncode, "unknown plug-in 'kmeans'" in other_kind.stderr) == (2, True)


def test_show_knows_plugins_presets_protocols_and_stages(tdbench, tmp_path):
    assert json.loads(tdbench("show", "kmeans", "--json").stdout)["card"]["family"] == "coreset"
    task = json.loads(tdbench("show", "spam", "--json").stdout)
    assert (task["headline"], task["options"]) == ("macro_f1_frac", {"variant": "sms"})
    assert json.loads(tdbench("show", "gpt2", "--json").stdout)["model"] == "openai-community/gpt2"
    assert "steps: 100" in tdbench("show", "lite-v1").stdout
    tdbench("run", "task=agnews", "method=random", "budget=dpc1", "protocol=smoke", "data.kind=standin")
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    shown = json.loads(tdbench("show", folder.name[:8], "--json").stdout)
    assert shown["id"] == folder.name
    assert shown["train"]["predictions"] == "200 class ids"
    assert "unknown kind 'taks'" in tdbench("show", "agnews", "--kind", "taks").stderr
    for name, reason in (("kmean", "did you mean 'kmeans'"), ("0123456789", "no stage")):
        done = tdbench("show", name)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr


def test_fetch_tells_what_is_there_and_what_is_missing(tdbench, tmp_path):
    missing = tdbench("fetch", "agnews", "bert-base", "bow-logreg", "swmh")
    assert missing.returncode == 3
    assert "agnews: MISSING: no data folder" in missing.stdout
    assert "the Hub cannot be reached" in missing.stdout
    assert "bow-logreg: needs no weights" in missing.stdout
    assert "record 6476179 on Zenodo" in missing.stdout
    import pandas as pd

    (tmp_path / "data" / "sms_spam").mkdir(parents=True)
    pd.DataFrame({"text": ["a", "b"], "label": [0, 1]}).to_parquet(tmp_path / "data" / "sms_spam" / "all.parquet")
    there = tdbench("fetch", "spam", "--json", TDBENCH_DATA=str(tmp_path / "data"))
    assert there.returncode == 0
    assert "2 all rows" in json.loads(there.stdout)["found"]["spam"]
    variant = tdbench("fetch", "spam:enrom")
    assert (variant.returncode, "'sms' or 'enron'" in variant.stderr) == (2, True), variant.stderr
    wrong = tdbench("fetch", "agnewz")
    assert (wrong.returncode, "did you mean 'agnews'" in wrong.stderr) == (2, True)


def test_the_doctor_names_every_missing_prerequisite_and_its_fix(tdbench, tmp_path):
    done = tdbench("doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = {diagnosis["what"]: diagnosis for diagnosis in json.loads(done.stdout)}
    assert found["task swmh: no local files"]["state"] == "note"
    assert "Zenodo" in found["task swmh: no local files"]["fix"]
    assert "tdbench fetch bert-base" in found["learner bert-base: no weights here"]["fix"]
    assert found["learner bow-logreg"]["state"] == "ok"
    assert any(what.startswith("Hugging Face Hub: not reachable") for what in found)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    assert tdbench("doctor", "--root", "not/yet/there").returncode == 0
    broken = tdbench("doctor", TDBENCH_PLUGINS=str(tmp_path / "broken.py"), TDBENCH_DATA="/nowhere")
    assert broken.returncode == 3
    assert "nothing_of_this_name" in broken.stdout
    assert "TDBENCH_DATA=/nowhere is no folder" in broken.stdout


RUN = ("run", "task=agnews", "method=random", "budget=dpc1", "protocol=smoke", "data.kind=standin")


def test_a_recorded_training_is_repeated_exactly(tdbench, tmp_path):
    tdbench(*RUN)
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    done = tdbench("reproduce", folder.name[:10])
    assert done.returncode == 0, done.stderr
    assert "reproduced exactly" in done.stdout
    assert "200 of 200 equal" in done.stdout


def test_what_does_not_come_out_again_is_told(tdbench, tmp_path):
    tdbench(*RUN)
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    path = folder / "record.json"
    record = json.loads(path.read_text())
    record["train"]["accuracy_frac"] = 0.99
    path.write_text(json.dumps(record))
    forged = tdbench("reproduce", folder.name, "--json")
    assert forged.returncode == 1
    result = json.loads(forged.stdout)
    assert (result["verdict"], result["same_set"], result["n_equal"]) == ("not reproduced", True, 200)
    record["set_sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    assert "ANOTHER ONE" in tdbench("reproduce", folder.name).stdout


def test_only_what_was_found_about_accepted_records_is_kept(tdbench, tmp_path):
    tdbench(*RUN)
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    done = tdbench("reproduce", folder.name, "--save")
    assert done.returncode == 2
    assert f"{folder.name} is no accepted record" in done.stderr


def test_a_training_on_other_data_or_by_another_engine_is_not_repeated_but_explained(tdbench, tmp_path):
    tdbench(*RUN)
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    path = folder.rename(folder.with_name("abcdef0123456789")) / "record.json"
    record = json.loads(path.read_text())
    for place, key, value, reason in (
        ("cell", "data_fingerprint", "f" * 16, "the data are"),
        ("train", "engine_numerics", 1, "the engine's numbers are"),
    ):
        changed = json.loads(json.dumps(record))
        changed[place][key] = value
        changed["id"] = "abcdef0123456789"
        path.write_text(json.dumps(changed))
        done = tdbench("reproduce", "abcdef")
        assert (done.returncode, reason in done.stderr) == (3, True), done.stderr


def test_only_trainings_of_the_suites_own_sets_can_be_repeated(tdbench, tmp_path):
    tdbench(*RUN)
    (folder,) = (tmp_path / "runs" / "distil").iterdir()
    (trained,) = (tmp_path / "runs" / "train").iterdir()
    shutil.rmtree(trained)
    assert "no set that a model was trained on" in tdbench("reproduce", folder.name).stderr
    (tmp_path / "mine.jsonl").write_text('{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n')
    tdbench("evaluate", "mine.jsonl", "--task", "agnews", "protocol=smoke", "data.kind=standin")
    ids = [json.loads(p.read_text()) for p in (tmp_path / "runs" / "train").glob("*/record.json")]
    (external,) = [record["id"] for record in ids if record["cell"]["method"] == "external"]
    assert "score the file with `tdbench evaluate`" in tdbench("reproduce", external).stderr


def test_the_first_training_of_a_set_is_repeated_by_the_id_of_the_set(tdbench, tmp_path):
    tdbench(*RUN)
    (made,) = (tmp_path / "runs" / "distil").iterdir()
    (trained,) = (tmp_path / "runs" / "train").iterdir()
    done = tdbench("reproduce", made.name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{trained.name}: reproduced exactly")
    many = tdbench("show", "0" * 6)
    assert "begins with '000000'" in many.stderr
