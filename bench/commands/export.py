"""`tdbench export`: a distilled set as a data-set folder in the layout of the Hugging Face Hub, with a generated card."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from tdbench.bench._paths import RECORDS
from tdbench.bench._version import __version__
from tdbench.bench.commands.show import find_stage, known_records
from tdbench.bench.data.sources import DATA_VARIABLE
from tdbench.bench.data.task import Task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import PrerequisiteError, RecordError, UsageError
from tdbench.bench.experiment.cell_data import data_of, task_of
from tdbench.bench.experiment.results import Results
from tdbench.bench.record import Record
from tdbench.leaderboard.markdown import escape
from tdbench.leaderboard.measures import run_command

TABLE = "data/train.parquet"
TENSORS = "data/tensors.safetensors"
RECORD = "tdbench.json"


def export_command(stage_id: str, out: Path, root: Path, as_json: bool) -> int:
    """Writes a finished set as a data-set folder. Returns the exit code.

    Args:
        stage_id: Beginning of the id of a distil stage, or of a training on it.
        out: Folder to make; it must not exist, or be empty.
        root: Run folder.
        as_json: Whether to print one JSON object.

    Raises:
        UsageError: There is no such set, or the folder is taken.
        PrerequisiteError: Its texts are rows of data that are not here, or the set's content was not kept.
    """
    record = _set_record(find_stage(stage_id, root), root)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; name another one.")
    task = task_of(record.cell)
    distilled = _content(record, root)
    trained = [r for r in known_records(root) if r.distil_id == record.id and r.train is not None]
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        _write(partial, distilled, record, task, trained)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if as_json:
        print(json.dumps({"folder": str(out), "n_rows": len(distilled), "id": record.id}))  # noqa: T201
    else:
        print(f'{len(distilled)} rows in {out}; load them with datasets.load_dataset("{out}").')  # noqa: T201
    return 0


def _set_record(stage: Record, root: Path) -> Record:
    record = stage if stage.stage == "distil" else find_stage(stage.distil_id, root)
    if record.distil is None:
        raise UsageError(f"{record.id} is no finished distilled set; `tdbench status` lists what failed.")
    return record


def _content(record: Record, root: Path) -> DistilledSet:
    """Reads the set and turns chosen rows into their texts."""
    assert record.distil is not None
    results = Results(root, RECORDS)
    real = _train(record) if record.distil.output == "rows" else None
    try:
        distilled = results.distilled(record, real)
    except RecordError as error:
        raise PrerequisiteError(str(error)) from None
    return distilled if real is None else _with_texts(distilled, real)


def _train(record: Record) -> LabelledText:
    """Loads the train split that the set's rows are of."""
    data = data_of(record.cell)
    if data.fingerprint != record.cell.data_fingerprint:
        raise PrerequisiteError(
            f"{record.id} holds rows of {record.cell.task} with fingerprint {record.cell.data_fingerprint}; the data here have "
            f"{data.fingerprint}. Put the same files under {DATA_VARIABLE}."
        )
    return data.train


def _with_texts(rows: DistilledSet, real: LabelledText) -> DistilledSet:
    columns = {name: list(column) for name, column in rows.resolve(real).fields.items()}
    return DistilledSet.from_texts(columns, rows.labels_M, soft_labels_MC=rows.soft_labels_MC, weights_M=rows.weights_M)


def _write(folder: Path, distilled: DistilledSet, record: Record, task: Task, trained: list[Record]) -> None:
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, List, Value, disable_progress_bars, enable_progress_bars

    (folder / "data").mkdir(parents=True)
    columns: dict[str, Any] = dict(distilled.fields or {})
    kinds: dict[str, Any] = {name: Value("string") for name in columns}
    columns["label"], kinds["label"] = distilled.labels_M.tolist(), ClassLabel(names=list(task.label_names))
    if distilled.soft_labels_MC is not None and distilled.schedule is None:
        columns["soft_label"], kinds["soft_label"] = distilled.soft_labels_MC.tolist(), List(Value("float32"))
    if distilled.weights_M is not None:
        columns["weight"], kinds["weight"] = distilled.weights_M.tolist(), Value("float32")
    disable_progress_bars()
    Dataset.from_dict(columns, features=Features(kinds)).to_parquet(folder / TABLE)
    enable_progress_bars()
    if distilled.soft is not None:
        from safetensors.numpy import save_file

        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in distilled.tensors().items()}, folder / TENSORS
        )
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(set_card(distilled, record, task, trained), encoding="utf-8")


def set_card(distilled: DistilledSet, record: Record, task: Task, trained: list[Record]) -> str:
    """Writes the README.md of an exported set.

    Args:
        distilled: The set, chosen rows as texts.
        record: Its record.
        task: The task it stands for.
        trained: Records of models that were trained on it.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front(distilled, record), sort_keys=False, allow_unicode=True)}---",
        f"# {task.facts.title}, distilled by {escape(record.method_facts.label)}",
        f"{len(distilled)} rows that stand for the {len(task.label_names)} classes of {task.facts.title} ({task.facts.citation}), "
        f"made with TDBench {__version__} by the method `{record.cell.method}` at budget {record.cell.budget}.",
        _what(distilled, record, task),
        "## How it was made\n\n" + _origin(record, trained),
    ]
    if scores := _scores(trained):
        parts.append("## What models learn from it\n\n" + scores)
    if record.distil is not None and record.distil.privacy is not None:
        promised = (
            f"epsilon {record.distil.epsilon:g}, delta {record.distil.delta:g}"
            if record.distil.delta
            else "see the record"
        )
        parts.append(
            f"## Differential privacy\n\nThe method promises {promised}; `tdbench.json` holds its assumptions."
        )
    parts.append("## Limits\n\n" + _limits(distilled, record))
    return "\n\n".join(parts) + "\n"


def _front(distilled: DistilledSet, record: Record) -> dict[str, Any]:
    tags = ["dataset-distillation", "tdbench", record.cell.task, record.method_facts.family.replace(" ", "-")]
    return {
        "pretty_name": f"{record.cell.task} {record.cell.budget} {record.method_facts.label}",
        "language": ["en"],
        "license": "other",
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K" if len(distilled) < 1_000 else "1K<n<10K"],
        "tags": tags,
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}],
    }


def _what(distilled: DistilledSet, record: Record, task: Task) -> str:
    assert record.distil is not None
    if distilled.soft is not None:
        return (
            f"The rows are **token vectors** for the learner `{distilled.soft.learner}` and mean nothing to any other: "
            "`data/tensors.safetensors` holds the vectors and what was learned with them, the table the labels."
        )
    kind = {
        "rows": f"The texts are **rows of the train split**: the licence of {task.facts.title} applies ({task.facts.licence}).",
        "text": f"The texts are **new**: {record.distil.n_train_exact} equal a train text, {record.distil.n_test_exact} a test text "
        "(after folding case and white space).",
    }[record.distil.output]
    names = ", ".join(f"{place} = {name}" for place, name in enumerate(task.label_names))
    return (
        f"{kind}\n\nColumns: {', '.join(f'`{name}`' for name in (distilled.fields or {}))}, `label` ({escape(names)})"
        + (
            f"{', `soft_label` (class shares)' if distilled.soft_labels_MC is not None else ''}"
            f"{', `weight`' if distilled.weights_M is not None else ''}."
        )
    )


def _origin(record: Record, trained: list[Record]) -> str:
    cell, provenance = record.cell, record.provenance
    wall = [cost.wall_s for cost in record.cost]
    lines = [
        f"- data: {cell.task} v{cell.task_version} ({cell.data_kind}), fingerprint `{cell.data_fingerprint}`",
        f"- method: `{cell.method}` v{cell.method_version}, set {cell.set_index}; options `{escape(str(cell.options or 'default'))}`",
        f"- suite: {provenance.suite_version}, commit `{provenance.git_commit or 'unknown'}`",
        f"- hardware: {escape(provenance.hardware)}; "
        + (f"{sum(w for w in wall if w is not None):.1f} s" if wall and None not in wall else "time unknown"),
        f"- id: `{record.id}`",
    ]
    if names := sorted({str((training.protocol or {}).get("name")) for training in trained if not training.custom}):
        lines += ["", "```bash", *(run_command(cell, name) for name in names), "```"]
    return "\n".join(lines)


def _scores(trained: list[Record]) -> str:
    """Writes the mean scores of the models that the suite trained on this very set, by protocol and learner."""
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in trained:
        assert record.train is not None
        protocol = str((record.protocol or {}).get("name"))
        metric = record.train.metric.removesuffix("_frac").replace("_", "-")
        scores[protocol, record.train.learner, metric].append(getattr(record.train, record.train.metric))
    if not scores:
        return ""
    lines = ["| protocol | learner | metric | percent | models |", "|---|---|---|---:|---:|"]
    lines += [
        f"| {escape(protocol)} | {escape(learner)} | {metric} | {100 * fmean(values):.1f} | {len(values)} |"
        for (protocol, learner, metric), values in sorted(scores.items())
    ]
    return (
        "\n".join(lines)
        + "\n\nOne set says little about its method: sets differ. The leaderboard has means over sets with intervals."
    )


def _limits(distilled: DistilledSet, record: Record) -> str:
    lines = [
        "- It is meant for training classifiers of this task, and was checked for nothing else.",
        "- A distilled set may leak rows that it was made from; `tdbench audit` measures how far.",
    ]
    if record.cell.data_kind == "standin":
        lines.insert(0, "- **It stands for a generated stand-in corpus, not for real data.**")
    if distilled.soft is None and record.distil is not None and record.distil.output == "text":
        lines.append("- Generated texts may state falsehoods, and repeat what their generator has learnt.")
    return "\n".join(lines)
