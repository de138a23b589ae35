"""What a GPU run does, on a CPU: sets trained in one stack, several processes on one command, names of devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tdbench.bench.config import settings_for
from tdbench.bench.errors import UsageError
from tdbench.bench.experiment import executor as executor_module
from tdbench.bench.experiment.executor import Outcome
from tdbench.bench.experiment.plan import Plan, Planner
from tdbench.bench.experiment.provenance import choose_device, joined_by, other_devices
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.runner import Runner
from tdbench.bench.experiment.store import Store
from tdbench.bench.models.resolve import MODELS_VARIABLE
from tdbench.bench.progress import Reporter
from tdbench.bench.record import Record
from tests import commands

WORDS = ["task=sst2", "method=random,kcenter", "budget=dpc5", "protocol=smoke", "data.kind=standin"]


@pytest.fixture(scope="module", autouse=True)
def models(tiny_models: Path) -> Iterator[None]:
    """All learners share the vocabulary of a tiny MiniLM."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODELS_VARIABLE, str(tiny_models))
        commands.forget()
        yield
    commands.forget()


@pytest.fixture(scope="module")
def plan(models: None) -> Plan:
    return Planner().plan(settings_for([*WORDS, "learners=[textcnn,bilstm]", "sets=3", "seeds=2"], multirun=True))


@pytest.fixture
def run(plan: Plan, tmp_path: Path) -> Callable[..., tuple[Outcome, list[Record]]]:
    def call(stacks: bool, root: str = "runs") -> tuple[Outcome, list[Record]]:
        runtime = settings_for([*WORDS, f"runtime.root={tmp_path / root}"], multirun=True)[0].runtime
        runner = Runner(Results(tmp_path / root), runtime, Reporter())
        runner._stacks = stacks
        outcome = runner.run(plan)
        return outcome, [record for record in Store(tmp_path / root).records() if record.stage == "train"]

    return call


def note(record: Record) -> str:
    assert record.train is not None
    return " ".join(record.train.notes)


def test_sets_and_seeds_of_one_method_train_together_and_the_rest_alone(run):
    outcome, records = run(stacks=True)
    by_method = {
        (method, learner): [r for r in records if r.cell.method == method and r.learner == learner]
        for method in ("random", "kcenter")
        for learner in ("textcnn", "bilstm")
    }
    assert {key: len(found) for key, found in by_method.items()} == {
        ("random", "textcnn"): 6,
        ("random", "bilstm"): 6,
        ("kcenter", "textcnn"): 2,
        ("kcenter", "bilstm"): 2,
    }
    assert all("stack of 6" in note(record) for record in by_method["random", "textcnn"])
    assert all("stack of 2" in note(record) for record in by_method["kcenter", "textcnn"])
    assert not any("stack" in note(record) for record in records if record.learner == "bilstm")
    assert (outcome.n_run, outcome.n_reused, outcome.failures) == (4 + 16, 0, [])
    assert len({record.id for record in records}) == 16
    costs = [sum(phase.wall_s or 0.0 for phase in record.cost) for record in by_method["random", "textcnn"]]
    assert len(set(costs)) == 1
    again, _ = run(stacks=True)
    assert (again.n_run, again.n_reused) == (0, 20)


def test_a_stack_that_fails_leaves_its_members_to_themselves(run, monkeypatch, caplog):
    def broken(*_: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(executor_module, "run_train_stack", broken)
    outcome, records = run(stacks=True)
    assert (outcome.n_run, outcome.failures) == (20, [])
    assert not any("stack" in note(record) for record in records)
    assert "no such kernel" in caplog.text


def test_a_stack_and_single_runs_have_the_same_ids_and_test_rows(run):
    _, together = run(stacks=True, root="together")
    _, alone = run(stacks=False, root="alone")
    assert {record.id for record in together} == {record.id for record in alone}
    assert not any("stack" in note(record) for record in alone)


def test_processes_that_join_share_the_stages_and_build_no_board(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["task=sst2", "suite=smoke", "data.kind=standin", f"runtime.root={tmp_path / 'runs'}"]
    with joined_by(["cpu", "cpu"], words, tmp_path / "runs"):
        pass
    records = Store(tmp_path / "runs").records()
    assert len(records) == 10
    assert all(record.status == "ok" for record in records)
    assert not (tmp_path / "runs" / "board").exists()
    assert (tmp_path / "runs" / "logs" / "1-cpu.log").is_file()


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps"])
def test_unknown_devices_are_refused_by_name(device):
    with pytest.raises(UsageError, match="device"):
        settings_for([*WORDS[:1], "method=random", "budget=dpc5", f"runtime.device={device}"])


def test_a_gpu_that_is_not_there_is_refused_and_auto_takes_the_cpu():
    import torch

    n_gpus = torch.cuda.device_count()
    with pytest.raises(UsageError, match=f"cuda:{n_gpus}"):
        choose_device(f"cuda:{n_gpus}")
    assert choose_device("cpu") == "cpu"
    assert other_devices("cpu") == []
    assert other_devices("auto") == []
