"""Opens the language model that a method asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tdbench.bench.models.llm.client import LLM
from tdbench.bench.models.llm.fake_backend import FakeBackend
from tdbench.bench.models.llm.names import ModelName
from tdbench.bench.models.llm.openai_backend import OpenAIBackend
from tdbench.bench.models.llm.reply_store import ReplyStore
from tdbench.bench.models.llm.spending import Spending
from tdbench.bench.models.llm.wording import TaskWords

if TYPE_CHECKING:
    from tdbench.bench.context import Context
    from tdbench.bench.data.task import Task
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.models.llm.backend import Backend

STORE = Path("llm") / "replies.sqlite"
"""Where replies are kept, below the run folder's caches."""


@dataclass(frozen=True)
class Access:
    """What opening a language model takes.

    Args:
        words: How the task is spoken of.
        spending: Limits, prices, addresses, and what this command has paid for so far.
        store: The file of kept replies.
    """

    words: TaskWords
    spending: Spending
    store: Path

    def open(self, name: str, real: LabelledText, ctx: Context) -> LLM:
        """Returns a language model.

        Args:
            name: `task-lm`, `hf:<id or folder>`, `openai:<model>` or `fake:<seed>`.
            real: The train split, which the task's own decoder is trained on.
            ctx: Device, cost meter, source learner.

        Raises:
            PrerequisiteError: The model is nowhere to be had.
        """
        model = ModelName.parse(name)
        backend = self._backend(model, real, ctx)
        store = ReplyStore(self.store) if model.dear else None
        return LLM(model.shown, backend, store, self.spending, ctx.cost, paid=model.paid)

    def _backend(self, model: ModelName, real: LabelledText, ctx: Context) -> Backend:
        names = list(real.fields), list(real.label_names)
        if model.kind == "openai":
            return OpenAIBackend(model.model, self.spending.limits)
        if model.kind == "fake":
            return FakeBackend(int(model.model), *names)
        if model.kind == "hf":
            from tdbench.bench.models.llm.transformers_backend import TransformersBackend

            return TransformersBackend(model.model, ctx.device)
        from tdbench.bench.models.llm.task_lm_backend import TaskLMBackend

        source = ctx.source(real)
        return TaskLMBackend(ctx.task_lm(real, source), source, *names)


def words_of_task(task: type[Task] | Task) -> TaskWords:
    """Returns how a task is spoken of."""
    classes = task.classes or tuple(f"of the class '{name}'" for name in task.label_names)
    return TaskWords(task.item, task.items, classes, task.text_fields, task.label_names)
