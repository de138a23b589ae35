"""Names of language models, and access to the models behind them; every module of `backends` adds one kind of name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tdbench.bench.errors import UsageError
from tdbench.bench.models.llm.client import LLM, ReplyStore, Spending
from tdbench.bench.models.llm.prompts import TaskWords

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.data.task import Task
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.llm.client import Backend
    from tdbench.bench.models.task_lm import TaskLM
    from tdbench.bench.settings import LLMSettings

LLM_VERSION = 1
"""Part of the identity of sets that language models wrote; raised when prompts, or how replies are read, change."""
STORE = Path("llm") / "replies.sqlite"
"""File of stored replies, below the run folder's caches."""
_BACKENDS = "tdbench.bench.models.llm.backends"


@dataclass(frozen=True)
class Resources:
    """What backends are opened with.

    Args:
        field_names: The task's text fields.
        label_names: Its classes.
        settings: Servers, limits and prices.
        device: `cpu` or `cuda`.
        task_lm: Returns the task's own decoder, and the source learner whose tokens it writes.
    """

    field_names: list[str]
    label_names: list[str]
    settings: LLMSettings
    device: str
    task_lm: Callable[[], tuple[TaskLM, SourceModel]]


@dataclass(frozen=True)
class ModelName(ABC):
    """Name of a language model; a module of `backends` subclasses it and so registers its backend.

    Args:
        model: What the backend calls the model.
    """

    model: str
    prefix: ClassVar[str]
    """Names are spelt `<prefix>:<model>`, unless `read` says otherwise."""
    spelling: ClassVar[str] = ""
    """How users are told to spell it; empty for names that are for tests."""
    paid: ClassVar[bool] = False
    """Whether somebody else's server answers: prices and limits are about its calls."""
    cacheable: ClassVar[bool] = False
    """Whether replies are worth storing; some models draw the same again in no time."""
    reads: ClassVar[tuple[str, ...]] = ()
    """What a method reads through the model, as its card says it."""

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Returns the model of a name, or None where the name is not of this kind."""
        prefix, _, model = text.partition(":")
        return cls(model) if prefix == cls.prefix and model else None

    @staticmethod
    def parse(text: str) -> ModelName:
        """Returns the model of a name of any kind.

        Raises:
            UsageError: No backend knows the name.
        """
        for kind in _kinds():
            name = kind.read(text)
            if name is not None:
                return name
        spellings = ", ".join(kind.spelling for kind in _kinds() if kind.spelling)
        raise UsageError(f"no language model is called '{text}'; give {spellings}.")

    @property
    def text(self) -> str:
        """The name as options spell it."""
        return f"{self.prefix}:{self.model}"

    @property
    def shown(self) -> str:
        """The name as records show it, which says nothing of the machine."""
        return self.text

    @property
    def identity(self) -> str:
        """What a set's identity says of the model: a hash of its files, or its name where files are out of reach."""
        return self.text

    @property
    def recorded(self) -> str:
        """The name as a set's options hold it: a folder's by its last part and its content."""
        return self.text

    def problem(self, settings: LLMSettings) -> str | None:  # noqa: ARG002 - most models need nothing
        """Returns why the model cannot be used here, or None; calls no server."""
        return None

    @abstractmethod
    def open(self, resources: Resources) -> Backend:
        """Returns the backend.

        Raises:
            PrerequisiteError: The model is nowhere to be had.
        """


@cache
def _kinds() -> tuple[type[ModelName], ...]:
    """Returns the name classes that the modules of `backends` define; these modules load no heavy library on import."""
    package = importlib.import_module(_BACKENDS)
    modules = [importlib.import_module(f"{_BACKENDS}.{info.name}") for info in pkgutil.iter_modules(package.__path__)]
    values = [value for module in modules for value in vars(module).values() if inspect.isclass(value)]
    kinds = [value for value in values if issubclass(value, ModelName) and value is not ModelName]
    return tuple(sorted(kinds, key=lambda kind: kind.spelling, reverse=True))


@dataclass(frozen=True)
class Access:
    """Access to language models for one command.

    Args:
        words: How the task is spoken of.
        spending: Limits, prices, addresses, and what this command has paid for so far.
        store: The file of stored replies.
    """

    words: TaskWords
    spending: Spending
    store: Path

    def open(
        self,
        name: str,
        real: LabelledText,
        *,
        device: str,
        cost: CostMeter,
        task_lm: Callable[[], tuple[TaskLM, SourceModel]],
    ) -> LLM:
        """Returns a language model.

        Args:
            name: Its name.
            real: The train split, for the names of its fields and classes.
            device: `cpu` or `cuda`.
            cost: Receives what replies cost.
            task_lm: Returns the task's own decoder, and the source learner whose tokens it writes.

        Raises:
            PrerequisiteError: The model is nowhere to be had.
        """
        model = ModelName.parse(name)
        resources = Resources(list(real.fields), list(real.label_names), self.spending.limits, device, task_lm)
        backend = model.open(resources)
        store = ReplyStore(self.store) if model.cacheable else None
        return LLM(model.shown, backend, store, self.spending, cost, paid=model.paid)


def words_of_task(task: type[Task] | Task) -> TaskWords:
    """Returns how a task is spoken of."""
    classes = task.classes or tuple(f"of the class '{name}'" for name in task.label_names)
    return TaskWords(task.item, task.items, classes, task.text_fields, task.label_names)
