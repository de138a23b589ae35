"""Names of language models and access to them: `task-lm`, `hf:<id or folder>`, `openai:<model>`, `fake:<seed>`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tdbench.bench.card import TASK_LM
from tdbench.bench.errors import UsageError
from tdbench.bench.models.llm.backends.fake import FakeBackend
from tdbench.bench.models.llm.backends.openai import OpenAIBackend
from tdbench.bench.models.llm.client import LLM, ReplyStore, Spending
from tdbench.bench.models.llm.prompts import TaskWords
from tdbench.bench.models.resolve import CAUSAL, available, pretrained_name, pretrained_sha256, shown_name

if TYPE_CHECKING:
    from tdbench.bench.context import Context
    from tdbench.bench.data.task import Task
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.models.llm.client import Backend
    from tdbench.bench.settings import LLMSettings

LLM_VERSION = 1
"""Part of the identity of sets that language models wrote; raised when questions, or how replies are read, change."""

Kind = Literal["task-lm", "hf", "openai", "fake"]


@dataclass(frozen=True)
class ModelName:
    """A parsed name.

    Args:
        kind: Who answers: the task's own decoder, transformers in this process, a server, or a script for tests.
        model: The server's name of the model, `hf:` name, or seed.
    """

    kind: Kind
    model: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Reads a name.

        Raises:
            UsageError: It is none.
        """
        kind, _, model = text.partition(":")
        if text == TASK_LM:
            return cls("task-lm", text)
        if text in CAUSAL or (kind == "hf" and model):
            return cls("hf", text)
        if kind == "openai" and model:
            return cls("openai", model)
        if kind == "fake" and model.isdecimal():
            return cls("fake", model)
        raise UsageError(
            f"no language model is called '{text}'; give task-lm, openai:<model> (a server's, see runtime.llm.url), "
            f"hf:<id or folder>, {' or '.join(CAUSAL)}."
        )

    @property
    def paid(self) -> bool:
        """Whether somebody else's server answers: prices and limits are about its calls."""
        return self.kind == "openai"

    @property
    def dear(self) -> bool:
        """Whether replies are worth keeping; the task's own decoder and scripts draw the same again in no time."""
        return self.kind in ("openai", "hf")

    @property
    def text(self) -> str:
        """The name as options spell it."""
        return self.model if self.kind in ("task-lm", "hf") else f"{self.kind}:{self.model}"

    @property
    def shown(self) -> str:
        """The name as records show it, which says nothing of the machine."""
        return shown_name(self.model) if self.kind == "hf" else self.text

    @property
    def identity(self) -> str:
        """What a set's identity says of the model: a hash of its files, or its name where files are out of reach."""
        return pretrained_sha256(self.model) if self.kind == "hf" else self.text

    @property
    def recorded(self) -> str:
        """The name as a set's options hold it: a folder's by its last part and its content."""
        if self.kind == "hf" and self.shown != pretrained_name(self.model):
            return f"hf:{self.shown}@{self.identity[:12]}"
        return self.text

    def problem(self, settings: LLMSettings) -> str | None:
        """Returns why the model cannot be used here, or None; asks no server."""
        if self.kind == "hf":
            return available(pretrained_name(self.model))
        if self.kind == "openai":
            from tdbench.bench.models.llm.backends.openai import problem

            return problem(settings)
        return None


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
            from tdbench.bench.models.llm.backends.transformers import TransformersBackend

            return TransformersBackend(model.model, ctx.device)
        from tdbench.bench.models.llm.backends.task_lm import TaskLMBackend

        source = ctx.source(real)
        return TaskLMBackend(ctx.task_lm(real, source), source, *names)


def words_of_task(task: type[Task] | Task) -> TaskWords:
    """Returns how a task is spoken of."""
    classes = task.classes or tuple(f"of the class '{name}'" for name in task.label_names)
    return TaskWords(task.item, task.items, classes, task.text_fields, task.label_names)
