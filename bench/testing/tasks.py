"""Conformance of tasks."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tdbench.bench.data.loading import TaskData, load_task
from tdbench.bench.data.sources import DATA_VARIABLE
from tdbench.bench.data.standin import MAX_CLASSES
from tdbench.bench.data.task import Task
from tdbench.bench.data.text import normalised
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import PrerequisiteError
from tdbench.bench.testing.report import Report
from tdbench.bench.testing.source import check_options, check_source

MAX_SHARED_FRAC = 0.02
"""Official data sets hold such twins (IMDB 0.5 % of train); more of them are a mistake."""
SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_task(plugin: type[Task], config: Any = None) -> Report:
    """Checks facts, files, options, imports, the stand-in, and the real data where TDBENCH_DATA has them.

    Args:
        plugin: The task's class.
        config: Options to load it with; default its defaults.
    """
    report = Report(str(getattr(plugin, "name", plugin.__name__)))
    problem = plugin.check_class()
    if not report.check(problem is None, "it is a task with fields, labels, facts and files", str(problem)):
        return report
    check_source(report, plugin)
    config = check_options(report, plugin, config)
    if config is None:
        return report
    task = plugin(config)
    _check_facts(report, task)
    if task.standin is None and len(task.label_names) > MAX_CLASSES:
        report.notes.append(f"it has no stand-in, which knows at most {MAX_CLASSES} classes")
    elif report.check(
        task.standin is not None,
        "it has a stand-in",
        "give standin=StandinSchema(...), so that the task runs where there are no data.",
    ):
        assert task.standin is not None
        report.check(
            task.standin.text_fields == task.text_fields and task.standin.label_names == task.label_names,
            "its stand-in has its fields and labels",
            f"the stand-in has {task.standin.text_fields} and {task.standin.label_names}.",
        )
        _check_data(report, task, "standin", None)
    folder = os.environ.get(DATA_VARIABLE)
    try:
        _check_data(report, task, "local", Path(folder) if folder else None)
    except PrerequisiteError as error:
        report.notes.append(f"real data were not checked: {error}")
    return report


def _check_facts(report: Report, task: Task) -> None:
    facts = task.facts
    missing = [name for name in ("title", "licence", "citation") if not getattr(facts, name)]
    report.check(not missing, "its facts are filled in", f"facts lack {', '.join(missing)}; tables cite them.")
    report.check(bool(type(task).__doc__), "it has a docstring", "say in one sentence what is classified.")
    names = [name for files in task.local.values() for name in ((files,) if isinstance(files, str) else files)]
    odd = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    report.check(not odd, "its files lie in the data folder", f"{odd}: give paths relative to the data folder.")
    unknown = [name for name in names if not name.endswith(SUFFIXES)]
    report.check(not unknown, "its files have a known form", f"{unknown}: expected one of {', '.join(SUFFIXES)}.")
    if task.hub is not None:
        pinned = re.fullmatch(r"[0-9a-f]{40}", task.hub.revision) is not None
        report.check(
            pinned,
            "its Hub files are pinned",
            f"revision is '{task.hub.revision}'; give the commit's 40 hex digits, so that everyone reads the same rows.",
        )
        report.check(
            set(task.hub.files) == set(task.local),
            "its Hub files have the same splits",
            f"the Hub has {sorted(task.hub.files)}, local {sorted(task.local)}.",
        )
    elif not facts.obtain:
        report.notes.append("it is on no Hub; say in facts.obtain how to get its files")


def _check_data(report: Report, task: Task, kind: Any, root: Path | None) -> None:
    """Loads the data twice.

    Raises:
        PrerequisiteError: They are not there.
    """
    name = "stand-in texts" if kind == "standin" else "real data"
    loaded: list[TaskData] = []
    missing: PrerequisiteError | None = None
    with report.step(f"its {name} load"):
        try:
            loaded = [load_task(type(task)(task.config), kind, root) for _ in range(2)]
        except PrerequisiteError as error:
            missing = error
    if missing is not None:
        report.findings.pop()
        raise missing
    if not loaded:
        return
    data, again = loaded
    report.check(
        data.fingerprint == again.fingerprint,
        f"its {name} are the same every time",
        "two loads differ; seed every draw in `frame`.",
    )
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    blank = sum(not text.strip() for split in splits.values() for text in split.joined())
    report.check(not blank, f"its {name} have no blank texts", f"{blank} texts are blank; leave them out in `frame`.")
    test = {normalised(text) for text in data.test.joined()}
    shared = sum(normalised(text) in test for text in data.train.joined())
    report.check(
        shared <= MAX_SHARED_FRAC * len(data.train),
        f"train and test of its {name} hold different texts",
        f"{shared:,} of {len(data.train):,} train texts are test texts; name other files, or {{'all': file}}.",
    )
    if shared:
        report.notes.append(f"{name}: {shared} train texts are also test texts")
    rows = [int(data.train.positions_of_class(c)[0]) for c in range(data.train.n_classes)]
    with report.step(f"row ids of its {name} lead back to the texts"):
        texts = DistilledSet.from_rows(data.train, np.array(rows)).resolve(data.train).joined()
        if texts != data.train.take(rows).joined():
            raise ValueError("they lead to other texts; leave the index of the frame alone.")
    report.n_runs += 1
    counts = ", ".join(f"{len(split):,} {split_name}" for split_name, split in splits.items())
    report.notes.append(f"{name}: {counts} rows; {'; '.join(data.notes) or 'no remarks'}")
