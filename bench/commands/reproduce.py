"""`tdbench reproduce`: reproduces one recorded training, distilled set included, and compares."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tdbench.bench._paths import RECORDS, VERIFIED
from tdbench.bench.commands.show import find_stage, known_records
from tdbench.bench.config import settings_for
from tdbench.bench.data.sources import DATA_VARIABLE
from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.experiment.archive import Archive, write_packs
from tdbench.bench.experiment.jobs import TrainJob
from tdbench.bench.experiment.plan import Plan, Planner
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.runner import Runner
from tdbench.bench.progress import reporter
from tdbench.bench.record import Record
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import BudgetSettings, Protocol, RunSettings, check_values
from tdbench.leaderboard.measures import machine, verdict


def reproduce_command(stage_id: str, root: Path, device: str, *, save: bool, as_json: bool) -> int:
    """Makes a distilled set anew, trains on it, and compares set, predictions and score with the record.

    Args:
        stage_id: Beginning of the id of a training, or of a set: then its first training by the source learner.
        root: Run folder; the new run goes to its `reproduce/`.
        device: `auto`, `cpu` or `cuda`.
        save: Whether to put the new record beside the accepted ones, from where the leaderboard shows the training as reproduced,
            whether or not it came out the same.
        as_json: Whether to print one JSON object.

    Returns:
        0 when it came out the same, or consistent on other hardware; else 1.

    Raises:
        UsageError: There is no such training, it cannot be repeated from its record, or `save` is asked for one that is not accepted.
        PrerequisiteError: Data, weights or versions differ from the record's; the message says which.
    """
    record = _training(find_stage(stage_id, root), root)
    if record.train is None:
        raise UsageError(
            f"{record.id} is no finished training, and no set that a model was trained on; `tdbench status` names some."
        )
    if record.method_facts.external:
        raise UsageError(f"{record.id} was trained on a file from elsewhere; score the file with `tdbench evaluate`.")
    if save and Archive(RECORDS).get(record.id) is None:
        raise UsageError(f"{record.id} is no accepted record; --save keeps what was found about those of {RECORDS}.")
    settings = _settings(record, root / "reproduce", device)
    plan, job = _plan(settings, record)
    results = Results(settings.runtime.root)
    store = results.store
    Runner(results, settings.runtime, reporter(silent=as_json)).run(plan)
    training, distil = store.get("train", job.id), store.get("distil", job.distil.id)
    if training is None or training.train is None or distil is None:
        reason = next((r.error.message for r in (distil, training) if r is not None and r.error), "it did not finish")
        raise UsageError(f"reproducing {record.id} failed: {reason}")
    result = _compare(record, training, _siblings(record, root))
    if save:
        write_packs(store, VERIFIED, [distil, training])
    print(json.dumps(result) if as_json else _text(result))  # noqa: T201
    return 1 if result["verdict"] == "not reproduced" else 0


def _training(record: Record, root: Path) -> Record:
    """Returns a training: of a set, its first by the source learner."""
    if record.stage != "distil":
        return record
    trained = [
        training for training in known_records(root) if training.train is not None and training.distil_id == record.id
    ]
    return min(
        trained,
        key=lambda training: (
            (not training.train.is_source, training.train.seed_index, training.id) if training.train else ()
        ),
        default=record,
    )


def _settings(record: Record, root: Path, device: str) -> RunSettings:
    cell = record.cell
    assert record.learner is not None
    (settings,) = settings_for(
        [f"task={cell.task}", "method=random", "budget=dpc10", f"runtime.root={root}", f"runtime.device={device}"]
    )
    method = METHODS.get(cell.method)
    check_values(
        method.Config, cell.config, f"record {record.id}: method."
    )  # its options may be those of an older version
    kind = "standin" if cell.data_kind == "standin" else settings.data.kind
    folder = os.environ.get(DATA_VARIABLE)
    changes: dict[str, Any] = {
        "task_options": {**settings.task_options, **cell.task_options},
        "method_name": cell.method,
        "method_label": record.method_facts.label,
        "method_options": cell.config,
        "protocol": check_values(Protocol, record.protocol or {}),
        "learners": (record.learner,),
        "sets": cell.set_index + 1,
        "seeds": (record.seed_index or 0) + 1,
        "data": settings.data.model_copy(update={"kind": kind, "root": Path(folder) if folder else None}),
        "runtime": settings.runtime.model_copy(update={"force": True}),
    }
    if cell.per_class is not None or cell.tokens_per_class is not None:
        limits = {"per_class": cell.per_class, "tokens_per_class": cell.tokens_per_class}
        changes["budget"] = check_values(BudgetSettings, limits)
    return settings.model_copy(update=changes)


def _plan(settings: RunSettings, record: Record) -> tuple[Plan, TrainJob]:
    """Plans the one training.

    Raises:
        PrerequisiteError: What decides its numbers is not what the record says.
    """
    plan = Planner().plan([settings])
    problems = [*(str(error) for _, error in plan.failed), *(why for _, why in plan.missing)]
    if problems:
        raise PrerequisiteError(f"{record.id} cannot be run here: {problems[0]}")
    distil, trains = next(cell for cell in plan.cells if cell[0].cell.set_index == record.cell.set_index)
    job = next(job for job in trains if job.seed_index == record.seed_index)
    if job.id != record.id:
        raise PrerequisiteError(f"{record.id} cannot be repeated exactly here: {_difference(job, record)}.")
    plan.cells = [(distil, [job])]
    return plan, job


def _difference(job: TrainJob, record: Record) -> str:
    """Says what about this machine or this version of the suite is not what the record was made with."""
    from tdbench.bench.training.recipe import ENGINE_NUMERICS

    assert record.train is not None
    here, there = job.distil.cell, record.cell
    test = job.distil.data.test_draw(job.protocol.test_rows).fingerprint
    pairs = (
        ("the kind of data", here.data_kind, there.data_kind),
        ("the data", here.data_fingerprint, there.data_fingerprint),
        ("the version of the task", here.task_version, there.task_version),
        ("the version of the method", here.method_version, there.method_version),
        ("the encoder", here.source, there.source),
        ("the learner", job.learner.identity(), record.train.learner_spec),
        ("the engine's numbers", ENGINE_NUMERICS, record.train.engine_numerics),
        ("the test rows", test, record.train.test_fingerprint),
    )
    differences = [
        f"{name} {'are' if name.endswith(('data', 'rows', 'numbers')) else 'is'} {a}, recorded {b}"
        for name, a, b in pairs
        if a != b
    ]
    return "; ".join(differences) or "its options are not those of today"


def _compare(record: Record, reproduction: Record, scores: list[float]) -> dict[str, Any]:
    assert record.train is not None
    assert reproduction.train is not None
    equal = int((np.array(record.train.predictions) == np.array(reproduction.train.predictions)).sum())
    metric = record.train.metric
    return {
        "id": record.id,
        "verdict": verdict(record, reproduction, scores),
        "same_set": reproduction.set_sha256 == record.set_sha256,
        "n_predictions": len(record.train.predictions),
        "n_equal": equal,
        "metric": metric,
        "score_frac": getattr(reproduction.train, metric),
        "recorded_score_frac": getattr(record.train, metric),
        "hardware": [machine(reproduction), machine(record)],
    }


def _siblings(record: Record, root: Path) -> list[float]:
    """Returns the headline of all trainings of the record's row, among accepted records and those of the run folder."""
    assert record.train is not None

    def row(training: Record) -> Any:
        return (
            training.cell.model_copy(update={"set_index": 0}),
            training.learner,
            (training.protocol or {}).get("name"),
            training.custom,
        )

    return [
        getattr(training.train, record.train.metric)
        for training in known_records(root)
        if training.train is not None and row(training) == row(record)
    ]


def _text(result: dict[str, Any]) -> str:
    meaning = {
        "reproduced": "reproduced exactly"
        if result["n_equal"] == result["n_predictions"]
        else "reproduced within a point",
        "consistent": "not the same on other hardware, but consistent: the score lies where those of the method's sets do",
        "not reproduced": "NOT reproduced",
    }
    return (
        f"{result['id']}: {meaning[result['verdict']]}.\n"
        f"  distilled set  {'the same' if result['same_set'] else 'ANOTHER ONE'}\n"
        f"  predictions    {result['n_equal']:,} of {result['n_predictions']:,} equal\n"
        f"  {result['metric'].removesuffix('_frac'):14} {result['score_frac']:.2%}, recorded {result['recorded_score_frac']:.2%}\n"
        f"  hardware       {result['hardware'][0]}, recorded on {result['hardware'][1]}"
    )
