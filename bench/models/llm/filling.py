"""Asks on until every class has as many usable texts as are wanted, and says what was thrown away and why."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tdbench.bench.errors import LLMError
from tdbench.bench.models.llm.asks import Failure, Sampling
from tdbench.bench.models.llm.method import USABLE_FRAC
from tdbench.bench.models.llm.parsing import FAILED, read_reply
from tdbench.bench.models.llm.sieve import Sieve, as_rows
from tdbench.bench.models.llm.wording import TaskWords, ask_for_class, named_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.models.llm.asks import Ask
    from tdbench.bench.models.llm.client import LLM

    Text = tuple[str, ...]
    Embed = Callable[[LabelledText], NDArray[np.floating]]

_CHECK_TOKENS = 64


class Asking(Protocol):
    """What asks for texts of a class."""

    def __call__(self, label: int, number: int, /) -> tuple[Ask, Sequence[Text]]:
        """Returns the question number `number` for a class, and the real texts that it shows."""
        ...


@dataclass(frozen=True)
class Filling:
    """How much is asked for, and what is thrown away.

    Args:
        wanted: Texts of a class.
        sampling: How replies are drawn.
        per_ask: Texts that a question asks for.
        check: Who checks texts' classes; None for nobody.
        embed: Features by which texts are found to be alike; None to go by words alone.
        most: Questions of a class, as a multiple of those that suffice where every text can be used.
        rework: Makes other texts of those that come back; None to take them as they are.
    """

    wanted: int
    sampling: Sampling
    per_ask: int
    check: Check | None
    embed: Embed | None
    most: float = 4.0
    rework: Rework | None = None


class Rework(Protocol):
    """What makes other texts of those that came back, before anything is thrown away."""

    def __call__(
        self, texts: Sequence[Text], labels: NDArray[np.int64], shown: Sequence[Sequence[Text]], /
    ) -> list[Text | str]:
        """Returns a text for each, or why there is none."""
        ...


class Check(Protocol):
    """What checks whether texts belong to the classes they were written for."""

    def __call__(self, texts: Sequence[Text], labels: NDArray[np.int64], /) -> NDArray[np.int64]:
        """Returns every text's class, -1 where none was named."""
        ...


@dataclass
class Pool:
    """Usable texts.

    Args:
        texts: Field by field.
        labels: Their classes.
        rejected: Why others were thrown away, and how many.
        n_asks: Questions so far.
    """

    texts: list[Text] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    n_asks: int = 0

    def rows(self, words: TaskWords) -> LabelledText:
        """Returns the texts class by class."""
        order = np.argsort(self.labels, kind="stable")
        return as_rows([self.texts[i] for i in order], np.array([self.labels[i] for i in order]), words)


def fill(llm: LLM, words: TaskWords, asking: Asking, how: Filling) -> Pool:
    """Fills every class with texts.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
        asking: Asks for texts of a class.
        how: How much, and what is thrown away.

    Raises:
        LLMError: The questions of a class are used up; the message says what was thrown away and why.
    """
    pool, n_classes, wanted = Pool(), len(words.label_names), how.wanted
    sieve = Sieve(words, how)
    asked = np.zeros(n_classes, dtype=int)
    most = math.ceil(how.most * math.ceil(wanted / how.per_ask))
    while True:
        missing = wanted - np.bincount(pool.labels, minlength=n_classes)
        if not (missing > 0).any():
            return pool
        per_ask = _per_ask(pool, how)
        labels = []
        for label in np.flatnonzero(missing > 0):
            count = min(math.ceil(missing[label] / per_ask), most - int(asked[label]))
            if count <= 0:
                raise LLMError(_too_few(llm, words.label_names[label], pool, pool.labels.count(int(label)), how))
            labels += [int(label)] * count
        asks, shown = [], []
        for label in labels:
            ask, real = asking(label, int(asked[label]))
            asks.append(ask)
            shown.append(real)
            asked[label] += 1
        pool.n_asks += len(asks)
        for ask, label, reply, real in zip(asks, labels, llm.ask(asks, how.sampling), shown, strict=True):
            if isinstance(reply, Failure):
                pool.rejected[FAILED] += 1
                continue
            parsed = read_reply(ask, reply, words.field_names)
            pool.rejected += parsed.rejected
            sieve.offer(parsed.texts, label, real)
        sieve.settle(pool)


def _per_ask(pool: Pool, how: Filling) -> float:
    """Guesses the usable texts of a question by what questions gave so far."""
    if not pool.n_asks:
        return how.per_ask * USABLE_FRAC if how.per_ask > 1 else 1.0
    return max(len(pool.texts) / pool.n_asks, 0.1)


@dataclass(frozen=True)
class AskedCheck:
    """Lets a language model name the class of every text.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
    """

    llm: LLM
    words: TaskWords

    def __call__(self, texts: Sequence[Text], labels: NDArray[np.int64], /) -> NDArray[np.int64]:
        """Asks once for each text."""
        sampling = Sampling(temperature=0.0, max_tokens=_CHECK_TOKENS)
        pairs = zip(texts, labels, strict=True)
        asks = [ask_for_class(self.llm, self.words, text, int(label), "check") for text, label in pairs]
        replies = self.llm.ask(asks, sampling)
        named = [None if isinstance(reply, Failure) else named_class(self.words, reply.text) for reply in replies]
        return np.array([-1 if label is None else label for label in named], dtype=np.int64)


def _too_few(llm: LLM, class_name: str, pool: Pool, have: int, how: Filling) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in pool.rejected.most_common()) or "none"
    return (
        f"{llm.name} gave {have} of {how.wanted} usable texts of class '{class_name}' in {how.most:g} times the questions that would do. "
        f"Thrown away, of all classes: {reasons}. Use a model that follows instructions better, or change method.check, method.per_ask or "
        "method.temperature."
    )
