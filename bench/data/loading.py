"""Task data: read, checked, with the hidden validation split carved out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.data.sources import RawSplits, SourceKind, read_source
from tdbench.bench.data.task import UNSPLIT, Task
from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tdbench.bench.budget import Budget
    from tdbench.bench.record import DataKind

VALIDATION_FRAC = 0.1
VALIDATION_MAX = 2_000
TEST_FRAC = 0.2
"""Share of the test split where the data have no official one."""


@dataclass(frozen=True, eq=False)
class TaskData:
    """A task with its data.

    Args:
        task: The plug-in.
        train: What methods see.
        validation: Hidden from methods: up to 10 % and 2,000 rows of the official train split.
        test: Read once by each trained model.
        data_kind: `real`, `real-subset` (fewer rows than the official release) or `standin`.
        origin: Where the data came from, in words.
        tried: Why better sources did not have them.
        notes: What a table must say about the data.
    """

    task: Task
    train: LabelledText
    validation: LabelledText
    test: LabelledText
    data_kind: DataKind
    origin: str
    tried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _draws: dict[int, LabelledText] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of all three splits."""
        return content_id([split.fingerprint for split in (self.train, self.validation, self.test)])

    def test_draw(self, n_rows: int | None) -> LabelledText:
        """Returns the fixed stratified draw of test rows that a protocol asks for; all rows where there are fewer."""
        if n_rows is None or n_rows >= len(self.test):
            return self.test
        if n_rows not in self._draws:
            seed = seed_from("test-draw", self.task.name, self.task.version)
            self._draws[n_rows] = self.test.take(stratified_draw(self.test.labels_N, n_rows, seed))
        return self._draws[n_rows]


def load_task(task: Task, kind: SourceKind, root: Path | None) -> TaskData:
    """Loads and checks a task's data.

    Raises:
        PrerequisiteError: The source does not have the data.
        DataError: A column, label or class is missing, or there are more rows than in the official release.
    """
    raw = read_source(task, kind, root)
    splits = {split: _labelled(task, frame, split, raw) for split, frame in raw.frames.items()}
    subset = [] if raw.kind == "standin" else _subset_notes(task, splits)
    notes = list(subset)
    if UNSPLIT in splits:
        splits = _split(task, splits[UNSPLIT], notes)
    elif task.balance:
        splits = {split: _balanced(task, rows, notes) for split, rows in splits.items()}
    official = splits["train"]
    n_validation = min(int(len(official) * VALIDATION_FRAC), VALIDATION_MAX)
    held_out = stratified_draw(official.labels_N, n_validation, seed_from("validation", task.name, task.version))
    return TaskData(
        task=task,
        train=official.take(_others(held_out, len(official))),
        validation=official.take(held_out),
        test=splits["test"],
        data_kind="standin" if raw.kind == "standin" else "real-subset" if subset else "real",
        origin=raw.origin,
        tried=raw.tried,
        notes=tuple(notes),
    )


def _split(task: Task, rows: LabelledText, notes: list[str]) -> dict[str, LabelledText]:
    """Removes repeats, so that no test text is in train, and splits at random within every class."""
    distinct = rows.take(_distinct(rows))
    left_out = len(rows) - len(distinct)
    if task.balance:
        distinct = _balanced(task, distinct, notes)
    notes.append(
        f"no official split: {left_out:,} of {len(rows):,} texts left out (repeats, empty, or found under two labels), "
        f"the rest split {1 - TEST_FRAC:.0%} to {TEST_FRAC:.0%}"
    )
    drawn = stratified_draw(
        distinct.labels_N, round(len(distinct) * TEST_FRAC), seed_from("split", task.name, task.version)
    )
    return {"train": distinct.take(_others(drawn, len(distinct))), "test": distinct.take(drawn)}


def _balanced(task: Task, rows: LabelledText, notes: list[str]) -> LabelledText:
    """Draws as many rows of every class as the smallest one has; their order stays."""
    smallest = int(np.bincount(rows.labels_N, minlength=rows.n_classes).min())
    rng = np.random.default_rng(seed_from("balance", task.name, task.version))
    drawn = [rng.permutation(rows.positions_of_class(label))[:smallest] for label in range(rows.n_classes)]
    notes.append(f"cut down to equal classes: {smallest * rows.n_classes:,} of {len(rows):,} texts")
    return rows.take(np.sort(np.concatenate(drawn)))


def _distinct(rows: LabelledText) -> list[int]:
    """Returns the positions of the first of every text, compared without case and white space; texts of two labels are left out."""
    first: dict[str, int] = {}
    labels: dict[str, set[int]] = {}
    for position, text in enumerate(map(normalised, rows.joined())):
        first.setdefault(text, position)
        labels.setdefault(text, set()).add(int(rows.labels_N[position]))
    return [position for text, position in first.items() if text and len(labels[text]) == 1]


def _others(positions: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    remaining = np.ones(n_rows, dtype=bool)
    remaining[positions] = False
    return np.flatnonzero(remaining)


def check_size(data: TaskData, budget: Budget) -> None:
    """Checks that every class has at least as many train rows as the budget asks for.

    Raises:
        DataError: Names the class and both numbers.
    """
    counts = np.bincount(data.train.labels_N, minlength=data.train.n_classes)
    for name, count in zip(data.train.label_names, counts, strict=True):
        if budget.per_class is not None and count < budget.per_class:
            raise DataError(
                f"task '{data.task.name}': class '{name}' has {count} train rows, fewer than the {budget.per_class} of "
                f"budget {budget.name}; choose a smaller budget."
            )


def stratified_draw(labels_N: NDArray[np.int64], n_rows: int, seed: int) -> NDArray[np.int64]:
    """Draws positions with the class shares of the whole, by largest remainders.

    Returns:
        `n_rows` distinct positions, ascending.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels_N, return_counts=True)
    exact = counts * n_rows / len(labels_N)
    quota = np.floor(exact).astype(int)
    quota[np.argsort(-(exact - quota), kind="stable")[: n_rows - quota.sum()]] += 1
    drawn = [
        rng.permutation(np.flatnonzero(labels_N == label))[:share] for label, share in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _labelled(task: Task, raw: pd.DataFrame, split: str, source: RawSplits) -> LabelledText:
    where = f"task '{task.name}', {split} split ({source.origin})"
    if source.kind == "standin":
        frame = raw
    else:
        try:
            frame = task.frame(raw)
        except KeyError as error:
            raise DataError(
                f"{where}: a column is missing ({error.args[0]}); the file has: {', '.join(map(str, raw.columns))}."
            ) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{where}: the columns have the wrong type ({error}); text columns must hold text."
            ) from None
    if frame.index.dtype.kind not in "iu" or not frame.index.is_unique:
        raise DataError(f"{where}: the index of the frame must be distinct integers, which become row ids; reset it.")
    fields = {name: _texts(frame, name, where) for name in task.text_fields}
    labels = _labels(frame, task.label_names, where)
    return LabelledText(fields, labels, task.label_names, frame.index.to_numpy(dtype=np.int64))


def _texts(frame: pd.DataFrame, name: str, where: str) -> list[str]:
    column: list[Any] = frame[name].tolist()
    for row, text in enumerate(column):
        if not isinstance(text, str):
            raise DataError(f"{where}: row {row}, field '{name}' is {text!r}; expected text.")
    return column


def _labels(frame: pd.DataFrame, names: tuple[str, ...], where: str) -> NDArray[np.int64]:
    raw = frame["label"].to_numpy()
    # One missing label makes pandas turn a whole column into floats.
    valid = np.array(
        [isinstance(value, int | float | np.integer | np.floating) and value in range(len(names)) for value in raw],
        dtype=bool,
    )
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        shown = raw[row].item() if isinstance(raw[row], np.generic) else raw[row]
        raise DataError(f"{where}: row {row} has label {shown!r}; expected a class id 0..{len(names) - 1}.")
    labels = raw.astype(np.int64)
    for label, name in enumerate(names):
        if not (labels == label).any():
            raise DataError(f"{where}: class '{name}' (id {label}) has no rows; every class must occur.")
    return labels


def _subset_notes(task: Task, splits: dict[str, LabelledText]) -> list[str]:
    notes = []
    for split, text in splits.items():
        official, rows = task.facts.official_rows.get(split), len(text)
        if official is None or rows == official:
            continue
        if rows > official:
            raise DataError(
                f"task '{task.name}': the {split} split has {rows:,} rows, more than the {official:,} of the official "
                "release; this is another data set."
            )
        notes.append(f"{split} is a SUBSET: {rows:,} of the official {official:,} rows ({rows / official:.1%})")
    return notes
