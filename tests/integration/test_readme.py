"""Every command of the README, the docs and the Makefile does what it says; configuration files compose."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tdbench.bench.config import is_custom, locked, settings_for

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
EXAMPLES = {
    "longest.py": "README.md",
    "tickets.py": "docs/how-to/add-a-task.md",
    "hashed_words.py": "docs/how-to/add-a-learner.md",
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    return list(dict.fromkeys(line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()))


def test_pages_hold_the_commands_that_are_tested():
    assert any(command.startswith("make bench TASK=agnews") for command in commands())
    assert sum(command.startswith("tdbench") for command in commands()) >= 8


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_make_command_of_the_pages_is_understood(command):
    done = subprocess.run(
        [*shlex.split(command), "-n"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in commands() if "tdbench " in c])
def test_tdbench_command_of_the_pages_is_understood(command, tdbench, tdbench_all, tmp_path):
    words = shlex.split(command)
    environment = dict(word.split("=", 1) for word in words[: words.index("tdbench")])
    if "openai:" in command:
        environment["OPENAI_API_KEY"] = "exported on the line above"
    if "TDBENCH_PLUGINS" in environment:
        name = environment["TDBENCH_PLUGINS"]
        example = blocks(EXAMPLES[name], "python")[0]
        assert len(example.splitlines()) < 60
        (tmp_path / name).write_text(example)
    verb, *rest = words[words.index("tdbench") + 1 :]
    if verb == "new" and "--package" not in rest:
        rest.append("--package")  # the tree is not for tests to write to
    if verb == "evaluate":
        (tmp_path / rest[0]).write_text('{"text": "fine", "label": 1}\n{"text": "poor", "label": "negative"}\n')
        rest += ["protocol=smoke", "data.kind=standin"]
    if verb == "audit":
        rest += ["protocol=smoke", "data.kind=standin"]
    if verb == "audit" and "--members" in rest:
        assert tdbench("audit", "--draw", "ids.txt", *rest[rest.index("--task") :][:2], *rest[-2:]).returncode == 0
        texts = [{"text": f"some text, number {i}", "label": i % 2} for i in range(20)]
        (tmp_path / rest[0]).write_text("\n".join(map(json.dumps, texts)))
    if "TRAINING_ID" in rest:
        smoke = ("task=agnews", "suite=smoke", "method=random", "budget=dpc1", "data.kind=standin")
        done = tdbench("run", *smoke)
        (folder,) = (tmp_path / "runs" / "train").iterdir()
        rest[rest.index("TRAINING_ID")] = folder.name
    if "AUDIT_ID" in rest:
        rest[rest.index("AUDIT_ID")] = small_audit(tdbench)
    if verb in {"submit", "validate"}:
        smoke = ("task=agnews", "suite=smoke", "method=trigram", "budget=dpc1", "data.kind=standin")
        assert tdbench("run", *smoke).returncode == 0
    if verb == "validate":
        assert tdbench("submit", "trigram").returncode == 0
    rest = [word.replace("hf:FOLDER_OR_HUB_ID", "bow-logreg") for word in rest]
    if verb == "run" and "--help" not in rest and "suite=smoke" not in rest:
        verb = "plan"  # the whole run would take minutes
    if verb in ("plan", "run") and "--help" not in rest:
        rest += ["data.kind=standin"]
    done = (tdbench_all if verb in {"export", "figures"} else tdbench)(verb, *rest, **environment)
    # Nothing is there to fetch, and no Hub; the form of a submission is still blank.
    expected = {"fetch": 3, "validate": 1}.get(verb, 0)
    if "--save" in rest:
        expected = 2  # a run of this test is no accepted record
    assert done.returncode == expected, done.stderr


def test_the_frame_of_the_docs_is_there():
    (example,) = blocks("docs/how-to/use-results.md", "python")
    names: dict[str, object] = {}
    exec(example, names)
    assert len(names["best"]) == 5  # type: ignore[arg-type]


def small_audit(tdbench) -> str:
    """Runs one on the stand-in; returns its id."""
    words = ("task=sst2", "suite=smoke", "method=random", "sets=1", "data.kind=standin", "audit=text")
    done = tdbench("run", *words, "audit.pool_rows=400", "audit.runs.seconds=2", "--json")
    return json.loads(done.stdout)["audits"][0]


def test_make_help_lists_every_target():
    page = subprocess.run(["make", "help"], check=True, cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    for target in ("setup", "bench", "test", "lint", "type", "leaderboard", "plan", "status", "clean"):
        assert re.search(rf"^  make {target}\b", page, flags=re.MULTILINE)


SUITES = sorted(path.stem for path in (ROOT / "conf" / "suite").glob("*.yaml"))
TASK_NAMES = sorted(path.stem for path in (ROOT / "tasks").glob("[a-z]*.py"))


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_composes(suite):
    assert settings_for(["task=agnews", f"suite={suite}"])


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_task_composes(task):
    (one,) = settings_for([f"task={task}", "suite=smoke", "method=random", "budget=dpc1"])
    assert one.task_name == task


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_composes_for_every_task(suite):
    for task in TASK_NAMES:
        assert settings_for([f"task={task}", f"suite={suite}"])


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml")))
def test_published_protocol_equals_its_lock(name):
    (one,) = settings_for(["task=agnews", f"protocol={name}", "method=random", "budget=dpc10"])
    assert one.protocol.name == name
    assert locked("protocol")[name] == one.protocol.sha256, "a published protocol never changes: add a new version"
    assert not is_custom(one.protocol)


def test_lock_names_no_protocol_that_is_gone():
    locked = yaml.safe_load((ROOT / "conf" / "protocol" / "lock.yml").read_text())
    assert set(locked) == {path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml")}
