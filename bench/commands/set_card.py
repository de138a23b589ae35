"""The data-set card of an exported set: front matter that the Hub reads, and what a user of the set must know."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from tdbench.bench._version import __version__
from tdbench.leaderboard.markdown import escape
from tdbench.leaderboard.rows import run_command

if TYPE_CHECKING:
    from tdbench.bench.data.task import Task
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.record import Record


def set_card(made: DistilledSet, record: Record, task: Task, trained: list[Record]) -> str:
    """Writes the README.md of an exported set.

    Args:
        made: The set, chosen rows as texts.
        record: Its record.
        task: The task it stands for.
        trained: Records of models that were trained on it.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front(made, record), sort_keys=False, allow_unicode=True)}---",
        f"# {task.facts.title}, distilled by {escape(record.method_facts.label)}",
        f"{len(made)} rows that stand for the {len(task.label_names)} classes of {task.facts.title} ({task.facts.citation}), "
        f"made with TDBench {__version__} by the method `{record.cell.method}` at budget {record.cell.budget}.",
        _what(made, record, task),
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
            f"## Differential privacy\n\nThe method promises {promised}; `tdbench.json` holds what that rests on."
        )
    parts.append("## Limits\n\n" + _limits(made, record))
    return "\n\n".join(parts) + "\n"


def _front(made: DistilledSet, record: Record) -> dict[str, Any]:
    tags = ["dataset-distillation", "tdbench", record.cell.task, record.method_facts.family.replace(" ", "-")]
    return {
        "pretty_name": f"{record.cell.task} {record.cell.budget} {record.method_facts.label}",
        "language": ["en"],
        "license": "other",
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K" if len(made) < 1_000 else "1K<n<10K"],
        "tags": tags,
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}],
    }


def _what(made: DistilledSet, record: Record, task: Task) -> str:
    assert record.distil is not None
    if made.soft is not None:
        return (
            f"The rows are **token vectors** for the learner `{made.soft.learner}` and mean nothing to any other: "
            "`data/tensors.safetensors` holds the vectors and what was learned with them, the table the labels."
        )
    kind = {
        "rows": f"The texts are **rows of the train split**: the licence of {task.facts.title} applies ({task.facts.licence}).",
        "text": f"The texts are **new**: {record.distil.n_train_exact} equal a train text, {record.distil.n_test_exact} a test text "
        "(after folding case and white space).",
    }[record.distil.output]
    names = ", ".join(f"{place} = {name}" for place, name in enumerate(task.label_names))
    return f"{kind}\n\nColumns: {', '.join(f'`{name}`' for name in (made.fields or {}))}, `label` ({escape(names)})" + (
        f"{', `soft_label` (class shares)' if made.soft_labels_MC is not None else ''}"
        f"{', `weight`' if made.weights_M is not None else ''}."
    )


def _origin(record: Record, trained: list[Record]) -> str:
    cell, found = record.cell, record.provenance
    wall = [cost.wall_s for cost in record.cost]
    lines = [
        f"- data: {cell.task} v{cell.task_version} ({cell.data_kind}), fingerprint `{cell.data_fingerprint}`",
        f"- method: `{cell.method}` v{cell.method_version}, set {cell.set_index}; options `{escape(str(cell.options or 'default'))}`",
        f"- suite: {found.suite_version}, commit `{found.git_commit or 'unknown'}`",
        f"- hardware: {escape(found.hardware)}; "
        + (f"{sum(w for w in wall if w is not None):.1f} s" if wall and None not in wall else "time unknown"),
        f"- id: `{record.id}`",
    ]
    if names := sorted({str((one.protocol or {}).get("name")) for one in trained if not one.custom}):
        lines += ["", "```bash", *(run_command(cell, name) for name in names), "```"]
    return "\n".join(lines)


def _scores(trained: list[Record]) -> str:
    """Writes the mean scores of the models that the suite trained on this very set, by protocol and learner."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in trained:
        assert record.train is not None
        protocol = str((record.protocol or {}).get("name"))
        metric = record.train.metric.removesuffix("_frac").replace("_", "-")
        found[protocol, record.train.learner, metric].append(getattr(record.train, record.train.metric))
    if not found:
        return ""
    lines = ["| protocol | learner | metric | percent | models |", "|---|---|---|---:|---:|"]
    lines += [
        f"| {escape(protocol)} | {escape(learner)} | {metric} | {100 * fmean(values):.1f} | {len(values)} |"
        for (protocol, learner, metric), values in sorted(found.items())
    ]
    return (
        "\n".join(lines)
        + "\n\nOne set says little about its method: sets differ. The leaderboard has means over sets with intervals."
    )


def _limits(made: DistilledSet, record: Record) -> str:
    said = [
        "- It is meant for training classifiers of this task, and was checked for nothing else.",
        "- A distilled set may give away rows that it was made from; `tdbench audit` measures how far.",
    ]
    if record.cell.data_kind == "standin":
        said.insert(0, "- **It stands for a generated stand-in corpus, not for real data.**")
    if made.soft is None and record.distil is not None and record.distil.output == "text":
        said.append("- Generated texts may state falsehoods, and repeat what their generator has learnt.")
    return "\n".join(said)
