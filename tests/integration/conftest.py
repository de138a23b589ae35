"""Runs the command line as a user would: in an empty folder, without data, plug-ins or a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tdbench.bench.testing.tiny import tiny_generator
from tests import commands
from tests.llm_server import Server, continued_by
from tests.tiny_minilm import write_models

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose MiniLM is a tiny random one."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def clean_environment(tiny_models: Path) -> dict[str, str]:
    """Returns the environment without data, plug-ins or a reachable Hub, and with a MiniLM that is a tiny random one."""
    dropped = ("TDBENCH_", "HF_", "COLUMNS", "FORCE_COLOR")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_ENDPOINT": CLOSED_PORT, "TDBENCH_MODELS": str(tiny_models)}


@pytest.fixture(scope="session")
def few_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few accepted results, for commands that need some, not all."""
    return commands.few_records(tmp_path_factory.mktemp("records"))


Tdbench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tdbench(tmp_path: Path, clean_environment: dict[str, str], few_records: Path) -> Tdbench:
    """Returns a function that runs `tdbench WORDS...` in `tmp_path`; keyword arguments are environment variables."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return commands.call(words, tmp_path, {**clean_environment, **environment}, few_records)

    return call


@pytest.fixture
def tdbench_all(tmp_path: Path, clean_environment: dict[str, str]) -> Tdbench:
    """Returns a function like `tdbench` that sees all accepted results; a leaderboard then takes ten seconds."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return commands.call(words, tmp_path, {**clean_environment, **environment})

    return call


@pytest.fixture
def tdbench_process(tmp_path: Path, clean_environment: dict[str, str]) -> Tdbench:
    """Returns a function like `tdbench` that starts a process, for what only a process shows; commands take seconds longer."""

    def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tdbench", *words],
            check=False,
            cwd=tmp_path,
            env={**clean_environment, "HF_HOME": str(tmp_path / "hf"), **environment},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return call


@pytest.fixture(params=["agnews", "sst2", "mnli", "imdb", "spam"])
def real_task(request: pytest.FixtureRequest):
    """Yields a task with its real data; skips where TDBENCH_DATA does not hold them."""
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    folder = os.environ.get("TDBENCH_DATA")
    task = TASKS.get(request.param)()
    if not folder or not all((Path(folder) / name).is_file() for name in task.local.values()):
        pytest.skip(f"no real data for {request.param}: set TDBENCH_DATA")
    return request.param, load_task(task, "local", Path(folder))


def stories() -> str:
    """Returns the folder of a small real language model, or of a random one where there is none."""
    folder = Path(os.environ.get("TDBENCH_MODELS", "/nowhere")) / "stories260k"
    return str(folder) if folder.is_dir() else tiny_generator().removeprefix("hf:")


@pytest.fixture
def serve():
    running = []

    def start(answer=None, **how):
        running.append(Server(answer or (lambda asked, body: f"reply to {asked} {body['seed']}"), **how))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def storyteller():
    return continued_by(stories())
