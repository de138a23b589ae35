"""Small stand-in texts for conformance runs, and what was made of them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tdbench.bench.data.loading import TaskData
from tdbench.bench.data.standin import StandinSchema, generate
from tdbench.bench.data.task import Facts, Task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet

_SCHEMAS = {
    "four classes": StandinSchema(("text",), ("World", "Sports", "Business", "Sci/Tech"), "news"),
    "two classes": StandinSchema(("sentence",), ("negative", "positive"), "review"),
    "pairs": StandinSchema(("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), "pair"),
}
KINDS = tuple(_SCHEMAS)


class SmallTask(Task):
    """A task made of a few stand-in texts."""

    name: ClassVar[str] = "small"
    facts = Facts("Small", "none", "none", {})
    local = {"train": "none.parquet", "test": "none.parquet"}


def small_task(kind: str, n_train: int = 240, n_test: int = 60) -> TaskData:
    """Draws a task with one of `KINDS` as its schema."""
    schema = _SCHEMAS[kind]
    attributes: dict[str, Any] = {"text_fields": schema.text_fields, "label_names": schema.label_names}
    task = type("Small", (SmallTask,), attributes)()
    train, test = (_draw(schema, split, rows) for split, rows in (("train", n_train), ("test", n_test)))
    return TaskData(task, train, test, test, "standin", "stand-in")


def _draw(schema: StandinSchema, split: str, n_rows: int) -> LabelledText:
    frame = generate(schema, split, n_rows, seed=7)
    fields = {name: frame[name].tolist() for name in schema.text_fields}
    return LabelledText(fields, frame["label"].to_numpy(np.int64), schema.label_names, np.arange(n_rows) * 3 + 1)


def content_of(distilled: DistilledSet) -> list[Any]:
    """Returns everything that a set holds, comparable."""
    rows = None if distilled.row_ids_M is None else distilled.row_ids_M.tolist()
    tensors = {name: np.asarray(tensor).tolist() for name, tensor in distilled.tensors().items()}
    return [distilled.fields, np.asarray(distilled.labels_M).tolist(), rows, tensors]
