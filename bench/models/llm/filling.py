"""Asks on until every class has as many usable texts as are wanted, and says what was thrown away and why."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bench.data.text import LabelledText, normalised
from bench.errors import LLMError
from bench.models.llm.asks import Failure, Sampling
from bench.models.llm.parsing import read_texts
from bench.models.llm.wording import TaskWords, ask_for_class, named_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.models.llm.asks import Ask
    from bench.models.llm.client import LLM

    Text = tuple[str, ...]
    Embed = Callable[[LabelledText], NDArray[np.floating]]

SIMILAR_JACCARD, SIMILAR_COSINE = 0.7, 0.95
"""From where on two texts are the same text: shared runs of words (MinHash), and angle of their features."""
COPIED_RUN = 8
"""Words in a row that make a copy of a text that was shown."""
_SHINGLE, _PERMUTATIONS = 3, 64
_MOST_YIELD = 0.9
FAILED, REPEATED, SIMILAR, COPIED, OTHER_CLASS = "no reply", "a repeat", "like another", "copied", "of another class"


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

    def __call__(self, texts: Sequence[Text], labels: NDArray[np.int64], /) -> NDArray[np.bool_]:
        """Returns which of the texts do."""
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


def as_rows(texts: Sequence[Text], labels: NDArray[np.int64], words: TaskWords) -> LabelledText:
    """Returns texts as labelled text; their row ids say nothing."""
    columns = list(map(list, zip(*texts, strict=True))) or [[] for _ in words.field_names]
    fields = dict(zip(words.field_names, columns, strict=True))
    return LabelledText(fields, np.asarray(labels, dtype=np.int64), words.label_names, np.arange(len(texts)))


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
    sieve = _Sieve(words, how)
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
        for label, reply, real in zip(labels, llm.ask(asks, how.sampling), shown, strict=True):
            if isinstance(reply, Failure):
                pool.rejected[FAILED] += 1
                continue
            form = "json" if asks[0].messages or not llm.reads_words else "plain"
            parsed = read_texts(reply.text, words.field_names, form)
            pool.rejected += parsed.rejected
            sieve.offer(parsed.texts, label, real)
        sieve.settle(pool)


def _per_ask(pool: Pool, how: Filling) -> float:
    """Guesses the usable texts of a question by what questions gave so far."""
    if not pool.n_asks:
        return how.per_ask * _MOST_YIELD if how.per_ask > 1 else 1.0
    return max(len(pool.texts) / pool.n_asks, 0.1)


class _Sieve:
    """Throws away what cannot be used; keeps the order in which texts came."""

    def __init__(self, words: TaskWords, how: Filling) -> None:
        from datasketch import MinHashLSH

        self._words, self._how = words, how
        self._seen: set[str] = set()
        self._index = MinHashLSH(threshold=SIMILAR_JACCARD, num_perm=_PERMUTATIONS)
        self._kept_ND: list[NDArray[np.floating]] = []
        self._offered: list[tuple[Text, int, Sequence[Text]]] = []

    def offer(self, texts: Sequence[Text], label: int, shown: Sequence[Text]) -> None:
        """Takes the texts of one reply."""
        self._offered += [(text, label, shown) for text in texts]

    def settle(self, pool: Pool) -> None:
        """Moves what can be used into the pool; what a class has no room for is left out without remark."""
        offered, self._offered = self._offered, []
        fresh = []
        for text, label, shown in self._reworked(offered, pool):
            reason = self._by_words(text, shown)
            if reason:
                pool.rejected[reason] += 1
            else:
                fresh.append((text, label))
        if not fresh:
            return
        texts, labels = [text for text, _ in fresh], np.array([label for _, label in fresh])
        right = np.ones(len(fresh), dtype=bool) if self._how.check is None else self._how.check(texts, labels)
        pool.rejected[OTHER_CLASS] += int((~right).sum())
        features = None if self._how.embed is None else self._how.embed(as_rows(texts, labels, self._words))
        for i in np.flatnonzero(right):
            if pool.labels.count(int(labels[i])) >= self._how.wanted:
                continue
            if features is not None and self._is_like_another(features[i]):
                pool.rejected[SIMILAR] += 1
                continue
            pool.texts.append(texts[i])
            pool.labels.append(int(labels[i]))
        pool.rejected = +pool.rejected

    def _reworked(
        self, offered: list[tuple[Text, int, Sequence[Text]]], pool: Pool
    ) -> list[tuple[Text, int, Sequence[Text]]]:
        if self._how.rework is None or not offered:
            return offered
        texts, labels, shown = zip(*offered, strict=True)
        made = []
        for new, label, real in zip(self._how.rework(texts, np.array(labels), shown), labels, shown, strict=True):
            if isinstance(new, str):
                pool.rejected[new] += 1
            else:
                made.append((new, label, real))
        return made

    def _by_words(self, text: Text, shown: Sequence[Text]) -> str | None:
        from datasketch import MinHash

        joined = normalised("\n".join(text))
        if joined in self._seen:
            return REPEATED
        if copies(joined, [normalised("\n".join(one)) for one in shown]):
            return COPIED
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in _shingles(joined)])
        if self._index.query(sketch):
            return SIMILAR
        self._index.insert(str(len(self._seen)), sketch)
        self._seen.add(joined)
        return None

    def _is_like_another(self, feature_D: NDArray[np.floating]) -> bool:
        if any(float(feature_D @ other_D) > SIMILAR_COSINE for other_D in self._kept_ND):
            return True
        self._kept_ND.append(feature_D)
        return False


def copies(text: str, shown: Sequence[str]) -> bool:
    """Tells whether a text is one of those that were shown, or shares a run of eight words with one of them."""
    words = text.split()
    runs = {" ".join(words[i : i + COPIED_RUN]) for i in range(len(words) - COPIED_RUN + 1)}
    for other in shown:
        theirs = other.split()
        if text == other or runs & {" ".join(theirs[i : i + COPIED_RUN]) for i in range(len(theirs) - COPIED_RUN + 1)}:
            return True
    return False


@dataclass(frozen=True)
class AskedCheck:
    """Lets a language model name the class of every text.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
    """

    llm: LLM
    words: TaskWords

    def __call__(self, texts: Sequence[Text], labels: NDArray[np.int64], /) -> NDArray[np.bool_]:
        """Asks once for each text; a text without an answer is not of its class."""
        sampling = Sampling(temperature=0.0, max_tokens=16, stop=() if self.llm.chats else ("\n",))
        pairs = zip(texts, labels, strict=True)
        asks = [ask_for_class(self.llm, self.words, text, int(label), "check") for text, label in pairs]
        replies = self.llm.ask(asks, sampling)
        named = [None if isinstance(reply, Failure) else named_class(self.words, reply.text) for reply in replies]
        return np.array([name == label for name, label in zip(named, labels, strict=True)], dtype=bool)


def _shingles(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}


def _too_few(llm: LLM, class_name: str, pool: Pool, have: int, how: Filling) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in pool.rejected.most_common()) or "none"
    return (
        f"{llm.name} gave {have} of {how.wanted} usable texts of class '{class_name}' in {how.most:g} times the questions that would do. "
        f"Thrown away, of all classes: {reasons}. Use a model that follows instructions better, or change method.check, method.per_ask or "
        "method.temperature."
    )
