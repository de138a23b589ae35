"""Public texts that a private method may use freely, drawn from the train texts of other tasks without their labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.errors import PrerequisiteError
from tdbench.bench.record import PublicResource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tdbench.bench.data.sources import SourceKind
    from tdbench.bench.data.task import Task
    from tdbench.bench.distilled import DistilledSet

PUBLIC_VERSION = 1
"""Raised whenever the same files give other public texts."""
MOST_TEXTS = 40_000
WORDS = range(4, 41)
"""Numbers of words that a public text may have."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|<br />|[\r\n]+")


@dataclass(frozen=True)
class PublicPool:
    """Public texts for one task.

    Args:
        texts: Sentences of other tasks, in random order, no two alike.
        resources: Where they come from.
    """

    texts: tuple[str, ...]
    resources: tuple[PublicResource, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (16 hex digits) over all texts in their order."""
        return content_id(["public", PUBLIC_VERSION, *self.texts])

    def rows(self, fields: tuple[str, ...], positions: np.ndarray | None = None) -> LabelledText:
        """Returns texts in the shape of a task's rows, with labels of -1.

        Args:
            fields: Names of the task's text fields; of a pair, the second is the text that follows the first in the pool.
            positions: Which texts; None for all.
        """
        index = np.arange(len(self.texts)) if positions is None else positions
        columns = {
            name: [self.texts[(i + shift) % len(self.texts)] for i in index] for shift, name in enumerate(fields)
        }
        return LabelledText(columns, np.full(len(index), -1), (), np.asarray(index, dtype=np.int64))

    def n_texts_of(self, distilled: DistilledSet) -> int:
        """Counts the examples of a set whose texts, field by field, are public texts as they stand."""
        known = set(self.texts)
        columns = (distilled.fields or {}).values()
        return sum(all(part in known for part in parts) for parts in zip(*columns, strict=True))


def public_pool(task: Task, others: Sequence[Task], kind: SourceKind, root: Path | None) -> PublicPool:
    """Draws a task's public texts: equal numbers of sentences from each of the tasks that it names.

    Args:
        task: The task.
        others: The tasks that its `public` names.
        kind: Source of the others' files; the stand-in for a task that came from it.
        root: Data folder.

    Raises:
        PrerequisiteError: The task names no others, or one of their files is missing.
    """
    if not others:
        raise PrerequisiteError(
            f"task '{task.name}' names no tasks whose texts are public beside it; set its 'public'."
        )
    sentences_by_task = {other.name: _sentences(other, kind, root) for other in others}
    share = MOST_TEXTS // len(others)
    rng = np.random.default_rng(seed_from("public", task.name))
    texts: dict[str, str] = {}
    for sentences in sentences_by_task.values():
        for i in rng.permutation(len(sentences))[:share]:
            texts.setdefault(normalised(sentences[i]), sentences[i])
    distinct = list(texts.values())
    overlap = f"none known: other sources than {task.name}'s; not compared with its rows, which would be a private read"
    resources = tuple(
        PublicResource(name=f"train texts of {name}, no labels", sha256=content_id(sentences), overlap=overlap)
        for name, sentences in sentences_by_task.items()
    )
    return PublicPool(tuple(distinct[i] for i in rng.permutation(len(distinct))), resources)


def _sentences(task: Task, kind: SourceKind, root: Path | None) -> list[str]:
    """Returns the different sentences, of a usual length, of a task's train texts."""
    data = load_task(task, kind, root)
    if (data.data_kind == "standin") != (kind == "standin"):
        raise PrerequisiteError(
            f"public texts come from task '{task.name}', whose files are missing: " + " ".join(data.tried)
        )
    sentences: dict[str, None] = {}
    for column in data.train.fields.values():
        for text in column:
            for part in _SENTENCE_END.split(text):
                sentence = " ".join(part.split())
                if len(sentence.split()) in WORDS:
                    sentences.setdefault(sentence)
    return list(sentences)
