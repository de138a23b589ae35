"""Commands that train nothing answer within a second of processor time."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

COMMANDS = (
    "--help",
    "run --help",
    "plan --help",
    "list",
    "status",
    "status runtime.root=here",
    "show kmeans",
    "show lite-v1",
)
SLOW = frozenset({"torch", "hydra", "pandas", "scipy", "sklearn", "transformers", "matplotlib"})
TELL_MODULES = """
import sys
from tdbench.bench.cli import app
app(sys.argv[1:], standalone_mode=False)
print("MODULES", *{name.split(".")[0] for name in sys.modules})
"""


def processor_s(command: list[str], folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_that_train_nothing_import_nothing_slow(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TELL_MODULES, *words.split()], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert not SLOW & set(done.stdout.rpartition("MODULES")[2].split())
    command = [sys.executable, "-m", "tdbench", *words.split()]
    assert min(processor_s(command, tmp_path) for _ in range(3)) < 1.0
