"""Base class of methods that have a language model write texts, and the options that they share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_serializer, field_validator

from tdbench.bench.card import TASK_LM, Estimate, MethodCard, MethodConfig
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import UsageError
from tdbench.bench.method import Method
from tdbench.bench.models.llm.access import ModelName
from tdbench.bench.models.llm.client import Sampling
from tdbench.bench.models.llm.generate import USABLE_FRAC, ClassCheck, GenerationConfig, generate
from tdbench.bench.models.llm.parsing import one_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.models.llm.client import LLM, Failure, Reply, Request
    from tdbench.bench.models.llm.generate import Pool, RequestBuilder, Rewriter
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
    """Texts that a request asks for; models that only continue texts give one."""
    max_tokens: PositiveInt = 160
    """Longest text in the model's tokens."""
    check: Literal["asked", "none"] = "asked"
    """`asked`: the model is asked for the class of every text, and others than the wanted one are thrown away."""
    most: float = Field(default=4.0, ge=1)
    """Requests of a class, as a multiple of those that suffice where every text can be used; then the run fails and says why."""


@dataclass(frozen=True)
class RequestCounts:
    """Expected numbers of requests of one set.

    Args:
        write: That ask for texts.
        short: With short answers: classes, attributes, concepts.
        n_texts: Texts that come back.
        n_shown: Texts that a request shows.
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
        shows_real: Whether real texts stand in its requests, and so reach the model.
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
    """Method that has a language model write texts. Subclasses say what they request, in `distil` by way of `generated`."""

    Config = LLMConfig

    @property
    def llms(self) -> tuple[str, ...]:
        """Names of the language models that this configuration prompts."""
        given = (getattr(self.config, option, None) for option in MODEL_OPTIONS if option not in self.config.idle)
        return tuple(dict.fromkeys(name for name in given if name))

    @property
    def reads(self) -> tuple[str, ...]:
        """With the task's own decoder, the source learner whose tokens it writes too."""
        return (*self.card.reads, *dict.fromkeys(what for model in self._models for what in model.reads))

    @property
    def uses_task_lm(self) -> bool:
        """Whether the task's own decoder is prompted."""
        return any("lm" in model.reads for model in self._models)

    @property
    def _models(self) -> list[ModelName]:
        return list(map(ModelName.parse, self.llms))

    @abstractmethod
    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """Returns how many requests one set is expected to take."""

    def estimate(self, real: LabelledText, budget: Budget) -> Estimate:
        """Guesses what one set takes of a language model, by the train split's mean length."""
        assert budget.per_class is not None
        counts = self.request_counts(real.n_classes, budget.per_class)
        texts = real.joined()[:1000]
        length = _WORDS_TO_TOKENS * float(np.mean([len(text.split()) for text in texts]))
        tokens_in = counts.write * (_FRAME_TOKENS + counts.n_shown * length) + counts.short * (_FRAME_TOKENS + length)
        return Estimate(
            counts.write + counts.short, math.ceil(tokens_in), math.ceil(counts.n_texts * length + 10 * counts.short)
        )

    def expected(self, n_classes: int, per_class: int, per_request: int | None = None) -> tuple[int, int, int]:
        """Guesses what filling every class takes, when nine texts of ten can be used.

        Args:
            n_classes: Number of classes.
            per_class: Texts of a class.
            per_request: Texts that a request asks for; None for as many as the options say. A local model may give fewer.

        Returns:
            Requests that ask for texts, texts that come back, and requests that check these.
        """
        texts = self.config.per_ask if per_request is None else per_request
        requests = n_classes * math.ceil(per_class / (USABLE_FRAC * texts))
        return requests, requests * texts, requests * texts if self.config.check == "asked" else 0

    def generated(
        self,
        session: Session,
        per_class: int,
        build_request: RequestBuilder,
        *,
        per_request: int | None = None,
        checker: Session | None = None,
        rewriter: Rewriter | None = None,
    ) -> Pool:
        """Has every class filled with texts; see `tdbench.bench.models.llm.generate.generate`.

        Args:
            session: Model, words, features.
            per_class: Texts of a class.
            build_request: Builds the requests for texts of a class.
            per_request: Texts that a request asks for; None for as many as the options say.
            checker: Whose model checks classes; None for the one that writes.
            rewriter: Makes other texts of those that come back.
        """
        config = self.config
        texts = self.per_request(session) if per_request is None else per_request
        check = ClassCheck((checker or session).llm, session.words) if config.check == "asked" else None
        # Features that depend on what is read together cannot be compared between rounds of requests.
        embed = session.embed if session.rowwise else None
        generation = GenerationConfig(per_class, self.sampling(texts), texts, check, embed, config.most, rewriter)
        with session.ctx.cost.phase("write"):
            pool = generate(session.llm, session.words, build_request, generation)
        session.note(pool)
        return pool

    def per_request(self, session: Session) -> int:
        """Returns the texts that a request asks for: models that only continue texts give one."""
        return self.config.per_ask if session.llm.supports_chat or not session.llm.reads_words else 1

    def sampling(self, n_texts: int = 1) -> Sampling:
        """Returns how replies of so many texts are drawn."""
        config = self.config
        return Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens * n_texts)

    def session(self, real: LabelledText, ctx: Context, name: str | None = None) -> Session:
        """Opens the configured language model, or another one by name."""
        with ctx.cost.phase("open"):
            return Session(ctx.llm(name or self.config.llm, real), ctx.words(), real, ctx)

    def distilled(self, pool: Pool, session: Session) -> DistilledSet:
        """Returns the pool as a distilled set."""
        rows = pool.rows(session.words)
        return DistilledSet.from_texts(rows.fields, rows.labels_N)


@dataclass(frozen=True)
class Session:
    """Session in which one set is written.

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

    def one_text(self, request: Request, reply: Reply | Failure) -> Text | str:
        """Returns the text of a reply that should hold one, or why there is none."""
        return one_text(request, reply, self.words.field_names)

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
