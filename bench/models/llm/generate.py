"""Text generation by a language model: every class is filled with usable texts; what is thrown away is counted by reason."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.errors import LLMError
from tdbench.bench.models.llm.client import Failure, Sampling
from tdbench.bench.models.llm.parsing import FAILED, one_text, read_reply
from tdbench.bench.models.llm.prompts import TaskWords, ask_for_another, ask_for_class, named_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.models.llm.client import LLM, Ask

    Text = tuple[str, ...]
    Embed = Callable[[LabelledText], NDArray[np.floating]]

USABLE_FRAC = 0.9
"""Share of texts that is expected to be of use before anything is known."""
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


REPEATED, SIMILAR, COPIED = "a repeat", "like another", "copied"

SIMILAR_JACCARD, SIMILAR_COSINE = 0.7, 0.95
"""From where on two texts are the same text: shared runs of words (MinHash), and angle of their features."""

COPIED_RUN = 8
"""Words in a row that make a copy of a text that was shown."""

_SHINGLE, _PERMUTATIONS = 3, 128

OTHER_CLASS, NO_CLASS = "of another class", "of no named class"


def as_rows(texts: Sequence[Text], labels: NDArray[np.int64], words: TaskWords) -> LabelledText:
    """Returns texts as labelled text; their row ids say nothing."""
    columns = list(map(list, zip(*texts, strict=True))) or [[] for _ in words.field_names]
    fields = dict(zip(words.field_names, columns, strict=True))
    return LabelledText(fields, np.asarray(labels, dtype=np.int64), words.label_names, np.arange(len(texts)))


class Sieve:
    """Throws away what cannot be used; keeps the order in which texts came. Only kept texts stand in another one's way, in their class."""

    def __init__(self, words: TaskWords, how: Filling) -> None:
        self._words, self._how = words, how
        self._kept = [_Kept() for _ in words.label_names]
        self._offered: list[tuple[Text, int, Sequence[Text]]] = []

    def offer(self, texts: Sequence[Text], label: int, shown: Sequence[Text]) -> None:
        """Takes the texts of one reply."""
        self._offered += [(text, label, shown) for text in texts]

    def settle(self, pool: Pool) -> None:
        """Moves what can be used into the pool; what a class has no room for is left out without remark."""
        offered, self._offered = self._offered, []
        fresh: dict[tuple[str, int], tuple[Text, int]] = {}
        for text, label, shown in self._reworked(offered, pool):
            joined = normalised("\n".join(text))
            if (joined, label) in fresh or joined in self._kept[label].texts:
                pool.rejected[REPEATED] += 1
            elif copies(joined, [normalised("\n".join(one)) for one in shown]):
                pool.rejected[COPIED] += 1
            else:
                fresh[joined, label] = (text, label)
        if fresh:
            self._keep(list(fresh.values()), pool)
        pool.rejected = +pool.rejected

    def _keep(self, fresh: list[tuple[Text, int]], pool: Pool) -> None:
        texts, labels = [text for text, _ in fresh], np.array([label for _, label in fresh])
        named = labels if self._how.check is None else self._how.check(texts, labels)
        features = None if self._how.embed is None else self._how.embed(as_rows(texts, labels, self._words))
        for i, (text, label) in enumerate(fresh):
            if named[i] != label:
                pool.rejected[OTHER_CLASS if named[i] >= 0 else NO_CLASS] += 1
            elif pool.labels.count(label) < self._how.wanted:
                if self._kept[label].takes(text, None if features is None else features[i]):
                    pool.texts.append(text)
                    pool.labels.append(label)
                else:
                    pool.rejected[SIMILAR] += 1

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


class _Kept:
    """The texts of a class that were kept, to tell what is like one of them."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self.texts: set[str] = set()
        self._shingles: list[set[str]] = []
        self._index = MinHashLSH(
            threshold=SIMILAR_JACCARD / 2, num_perm=_PERMUTATIONS
        )  # candidates: all that matter are among them
        self._features: list[NDArray[np.floating]] = []

    def takes(self, text: Text, feature_D: NDArray[np.floating] | None) -> bool:
        """Keeps a text, unless it is like one that was kept."""
        from datasketch import MinHash

        joined = normalised("\n".join(text))
        shingles = _shingles(joined)
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode("utf-8", "replace") for shingle in shingles])
        near = (self._shingles[int(str(place))] for place in self._index.query(sketch))
        if any(len(shingles & other) >= SIMILAR_JACCARD * len(shingles | other) for other in near):
            return False
        if feature_D is not None:
            if any(float(feature_D @ other_D) > SIMILAR_COSINE for other_D in self._features):
                return False
            self._features.append(feature_D)
        self._index.insert(str(len(self._shingles)), sketch)
        self._shingles.append(shingles)
        self.texts.add(joined)
        return True


def copies(text: str, shown: Sequence[str]) -> bool:
    """Tells whether a text is one of those that were shown, or shares a run of eight words with one of them."""
    words = text.split()
    runs = {" ".join(words[i : i + COPIED_RUN]) for i in range(len(words) - COPIED_RUN + 1)}
    for other in shown:
        theirs = other.split()
        if text == other or runs & {" ".join(theirs[i : i + COPIED_RUN]) for i in range(len(theirs) - COPIED_RUN + 1)}:
            return True
    return False


def _shingles(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}


LEAST_USABLE_FRAC = 0.1
"""Share of replies below which a model is said not to do what it is asked for."""

_FRAME_TOKENS, _TOKENS_A_WORD = 64, 3


@dataclass(frozen=True)
class AskedVariations:
    """Asks for another text like each; see `tdbench.bench.models.variations.Varies`.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
        top_p: Share of the probability that is sampled from.
        notes: Receives `variation_usable_frac`, the least share of replies that could be used.
    """

    llm: LLM
    words: TaskWords
    top_p: float
    notes: dict[str, float]

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Returns one variation of each text; the text itself where the reply cannot be used.

        Raises:
            LLMError: Fewer than a tenth of the replies can be used.
        """
        asks = [ask_for_another(self.llm, self.words, text, f"{seed}:{i}") for i, text in enumerate(texts)]
        longest = max(len(part.split()) for text in texts for part in text) * len(texts[0])
        sampling = Sampling(top_p=self.top_p, max_tokens=_FRAME_TOKENS + _TOKENS_A_WORD * longest)
        replies = self.llm.ask(asks, sampling)
        made = [one_text(ask, reply, self.words.field_names) for ask, reply in zip(asks, replies, strict=True)]
        bad = Counter(one for one in made if isinstance(one, str))
        usable = 1 - bad.total() / len(made)
        if usable < LEAST_USABLE_FRAC:
            reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common())
            raise LLMError(
                f"of {len(made)} variations {len(made) - bad.total()} can be used ({reasons}); give another model."
            )
        self.notes["variation_usable_frac"] = min(usable, self.notes.get("variation_usable_frac", 1.0))
        return [old if isinstance(new, str) else new for new, old in zip(made, texts, strict=True)]
