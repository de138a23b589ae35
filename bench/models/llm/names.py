"""Names of language models that are asked in words: `task-lm`, `hf:<id or folder>`, `openai:<model>`, `fake:<seed>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tdbench.bench.card import TASK_LM
from tdbench.bench.errors import UsageError
from tdbench.bench.models.resolve import CAUSAL, available, pretrained_name, pretrained_sha256, shown_name

if TYPE_CHECKING:
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
            from tdbench.bench.models.llm.openai_backend import problem

            return problem(settings)
        return None
