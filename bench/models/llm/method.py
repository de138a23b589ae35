"""The base class of methods that have a language model write texts, and the options that they share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_serializer, field_validator

from tdbench.bench.card import TASK_LM, Estimate, MethodCard, MethodConfig
from tdbench.bench.errors import UsageError
from tdbench.bench.method import Method
from tdbench.bench.models.llm.access import ModelName
from tdbench.bench.models.llm.generate import USABLE_FRAC

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.models.llm.client import LLM, Ask, Failure, Reply, Sampling
    from tdbench.bench.models.llm.generate import Asking, Pool, Rework
    from tdbench.bench.models.llm.prompts import TaskWords

    Text = tuple[str, ...]

MODEL_OPTIONS = ("llm", "base")


_WORDS_TO_TOKENS = 1.4

_FRAME_TOKENS = 120
"""Tokens of an instruction without the texts that it shows."""


class NamesModels(MethodConfig):
    """Options of which `llm` and `base` name language models."""

    @field_serializer("llm", "base", check_fields=False)
    def _by_content(self, value: str) -> str:
        """A folder is told by its content, so that records say nothing of the machine."""
        return ModelName.parse(value).recorded

    @field_validator("llm", "base", check_fields=False)
    @classmethod
    def _is_a_model(cls, value: str) -> str:
        try:
            return ModelName.parse(value).text
        except UsageError as error:
            raise ValueError(str(error)) from None


class LLMConfig(NamesModels):
    """Options of methods that have a language model write texts."""

    llm: str = TASK_LM
    """task-lm (the task's own small decoder: no download, no instructions), openai:<model> of a server (runtime.llm.url), or
    hf:<id or folder>."""
    temperature: float = Field(default=1.0, ge=0, le=2)
    """Of the writing."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Share of the probability that is sampled from."""
    per_ask: PositiveInt = 10
    """Texts that a question asks for; models that only continue texts give one."""
    max_tokens: PositiveInt = 160
    """Longest text in the model's tokens."""
    check: Literal["asked", "none"] = "asked"
    """`asked`: the model is asked for the class of every text, and others than the wanted one are thrown away."""
    most: float = Field(default=4.0, ge=1)
    """Questions of a class, as a multiple of those that suffice where every text can be used; then the run fails and says why."""


@dataclass(frozen=True)
class Questions:
    """How many questions a method expects to ask.

    Args:
        write: That ask for texts.
        short: With short answers: classes, attributes, concepts.
        n_texts: Texts that come back.
        n_shown: Texts that a question shows.
    """

    write: int
    short: int
    n_texts: int
    n_shown: float = 0.0


def llm_card(summary: str, paper: str, *, shows_real: bool) -> MethodCard:
    """Returns the card of a method that has a language model write texts.

    Args:
        summary: One sentence.
        paper: Citation.
        shows_real: Whether real texts stand in its questions, and so reach whoever answers.
    """
    return MethodCard(
        summary=summary,
        family="LLM",
        paper=paper,
        output="text",
        cost_class="minutes",
        reads=("encoder", "llm"),
        counts_texts=True,
        tags=("real-texts-in-prompts",) if shows_real else (),
    )


class LLMMethod(Method):
    """Has a language model write texts. Subclasses say what they ask, in `distil` by way of `filled`."""

    Config = LLMConfig

    @property
    def llms(self) -> tuple[str, ...]:
        """Names of the language models that this configuration asks."""
        given = (getattr(self.config, option, None) for option in MODEL_OPTIONS if option not in self.config.idle)
        return tuple(dict.fromkeys(name for name in given if name))

    @property
    def reads(self) -> tuple[str, ...]:
        """With the task's own decoder, the source learner whose tokens it writes too."""
        return (*self.card.reads, *dict.fromkeys(what for model in self._models for what in model.reads))

    @property
    def uses_task_lm(self) -> bool:
        """Whether the task's own decoder is asked."""
        return any("lm" in model.reads for model in self._models)

    @property
    def _models(self) -> list[ModelName]:
        return list(map(ModelName.parse, self.llms))

    @abstractmethod
    def questions(self, n_classes: int, per_class: int) -> Questions:
        """Returns how many questions one set is expected to take."""

    def estimate(self, real: LabelledText, budget: Budget) -> Estimate:
        """Guesses what one set takes of a language model, by the train split's mean length."""
        assert budget.per_class is not None
        asked = self.questions(real.n_classes, budget.per_class)
        texts = real.joined()[:1000]
        length = _WORDS_TO_TOKENS * float(np.mean([len(text.split()) for text in texts]))
        tokens_in = asked.write * (_FRAME_TOKENS + asked.n_shown * length) + asked.short * (_FRAME_TOKENS + length)
        return Estimate(
            asked.write + asked.short, math.ceil(tokens_in), math.ceil(asked.n_texts * length + 10 * asked.short)
        )

    def expected(self, n_classes: int, per_class: int, per_ask: int | None = None) -> tuple[int, int, int]:
        """Guesses what filling every class takes, when nine texts of ten can be used.

        Args:
            n_classes: Number of classes.
            per_class: Texts of a class.
            per_ask: Texts that a question asks for; None for as many as the options say. A local model may give fewer.

        Returns:
            Questions that ask for texts, texts that come back, and questions that check these.
        """
        texts = self.config.per_ask if per_ask is None else per_ask
        asks = n_classes * math.ceil(per_class / (USABLE_FRAC * texts))
        return asks, asks * texts, asks * texts if self.config.check == "asked" else 0

    def filled(
        self,
        session: Session,
        wanted: int,
        asking: Asking,
        *,
        per_ask: int | None = None,
        checker: Session | None = None,
        rework: Rework | None = None,
    ) -> Pool:
        """Has every class filled with texts; see `tdbench.bench.models.llm.generate.fill`.

        Args:
            session: Model, words, features.
            wanted: Texts of a class.
            asking: Asks for texts of a class.
            per_ask: Texts that a question asks for; None for as many as the options say.
            checker: Whose model checks classes; None for the one that writes.
            rework: Makes other texts of those that come back.
        """
        from tdbench.bench.models.llm.generate import AskedCheck, Filling, fill

        config, llm = self.config, session.llm
        texts = self.per_ask(session) if per_ask is None else per_ask
        check = AskedCheck((checker or session).llm, session.words) if config.check == "asked" else None
        # Features that depend on what is read together cannot be compared between rounds of questions.
        embed = session.embed if session.rowwise else None
        how = Filling(wanted, self.sampling(texts), texts, check, embed, config.most, rework)
        with session.ctx.cost.phase("write"):
            pool = fill(llm, session.words, asking, how)
        session.note(pool)
        return pool

    def per_ask(self, session: Session) -> int:
        """Returns the texts that a question asks for: models that only continue texts give one."""
        return self.config.per_ask if session.llm.chats or not session.llm.reads_words else 1

    def sampling(self, n_texts: int = 1) -> Sampling:
        """Returns how replies of so many texts are drawn."""
        from tdbench.bench.models.llm.client import Sampling

        config = self.config
        return Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens * n_texts)

    def session(self, real: LabelledText, ctx: Context, name: str | None = None) -> Session:
        """Opens the configured language model, or another one by name."""
        with ctx.cost.phase("open"):
            return Session(ctx.llm(name or self.config.llm, real), ctx.words(), real, ctx)

    def made(self, pool: Pool, session: Session) -> DistilledSet:
        """Returns the pool as a distilled set."""
        from tdbench.bench.distilled import DistilledSet

        rows = pool.rows(session.words)
        return DistilledSet.from_texts(rows.fields, rows.labels_N)


@dataclass(frozen=True)
class Session:
    """One set's writing.

    Args:
        llm: The model.
        words: How the task is spoken of.
        real: The train split.
        ctx: Seeds, encoder, cost meter.
    """

    llm: LLM
    words: TaskWords
    real: LabelledText
    ctx: Context

    def embed(self, rows: LabelledText) -> np.ndarray:
        """Returns the encoder's features of texts, of length 1."""
        return self.ctx.encoder().embed(rows)

    def texts(self, positions: Iterable[int]) -> tuple[Text, ...]:
        """Returns real texts, field by field."""
        return tuple(tuple(column[int(i)] for column in self.real.fields.values()) for i in positions)

    def one_text(self, ask: Ask, reply: Reply | Failure) -> Text | str:
        """Returns the text of a reply that should hold one, or why there is none."""
        from tdbench.bench.models.llm.parsing import one_text

        return one_text(ask, reply, self.words.field_names)

    @property
    def rowwise(self) -> bool:
        """Whether the encoder reads every text by itself."""
        return self.ctx.encoder().encoder.rowwise

    def draw(self, *parts: object) -> str:
        """Names a draw of this set."""
        return ":".join(map(str, (self.ctx.seed, *parts)))

    def note(self, pool: Pool) -> None:
        """Notes what was thrown away, as shares of all that came back."""
        total = len(pool.texts) + sum(pool.rejected.values())
        self.ctx.diagnostics["usable_frac"] = len(pool.texts) / total
        for reason, count in pool.rejected.items():
            self.ctx.diagnostics[f"thrown_away_{reason.replace(' ', '_')}_frac"] = count / total
