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
from tdbench.bench.models.llm.prompts import TaskWords, named_class, request_for_class, request_for_variation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.models.llm.client import LLM, Request

    Text = tuple[str, ...]
    Embed = Callable[[LabelledText], NDArray[np.floating]]

USABLE_FRAC = 0.9
"""Share of texts that is expected to be of use before anything is known."""
LEAST_USABLE_FRAC = 0.1
"""Share of variations below which a model is said not to do what it is asked for."""
REPEATED, SIMILAR, COPIED = "a repeat", "like another", "copied"
OTHER_CLASS, NO_CLASS = "of another class", "of no named class"
SIMILAR_JACCARD, SIMILAR_COSINE = 0.7, 0.95
"""From where on two texts are the same text: shared runs of words (MinHash), and angle of their features."""
COPIED_RUN = 8
"""Words in a row that make a copy of a text that was shown."""
_SHINGLE, _PERMUTATIONS = 3, 128
_CHECK_TOKENS = 64
_FRAME_TOKENS, _TOKENS_A_WORD = 64, 3


class RequestBuilder(Protocol):
    """Builder of the requests for texts of a class."""

    def __call__(self, label: int, number: int, /) -> tuple[Request, Sequence[Text]]:
        """Returns the request number `number` for a class, and the real texts that it shows."""
        ...


@dataclass(frozen=True)
class GenerationConfig:
    """Options of a generation.

    Args:
        per_class: Texts of a class.
        sampling: How replies are drawn.
        per_request: Texts that a request asks for.
        check: Checks texts' classes; None for no check.
        embed: Features by which texts are found to be alike; None to go by words alone.
        most: Requests of a class, as a multiple of those that suffice where every text can be used.
        rewriter: Makes other texts of those that come back; None to take them as they are.
    """

    per_class: int
    sampling: Sampling
    per_request: int
    check: Check | None
    embed: Embed | None
    most: float = 4.0
    rewriter: Rewriter | None = None


class Rewriter(Protocol):
    """Rewriter of the texts that came back, before anything is thrown away."""

    def __call__(
        self, texts: Sequence[Text], labels: NDArray[np.int64], shown: Sequence[Sequence[Text]], /
    ) -> list[Text | str]:
        """Returns a text for each, or why there is none."""
        ...


class Check(Protocol):
    """Check of whether texts belong to the classes they were written for."""

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
        n_requests: Requests so far.
    """

    texts: list[Text] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    n_requests: int = 0

    def rows(self, words: TaskWords) -> LabelledText:
        """Returns the texts class by class."""
        order = np.argsort(self.labels, kind="stable")
        return as_rows([self.texts[i] for i in order], np.array([self.labels[i] for i in order]), words)


def generate(llm: LLM, words: TaskWords, build_request: RequestBuilder, config: GenerationConfig) -> Pool:
    """Fills every class with texts.

    Args:
        llm: The model.
        words: How the task is spoken of.
        build_request: Builds the requests for texts of a class.
        config: How much, and what is thrown away.

    Raises:
        LLMError: The requests of a class are used up; the message says what was thrown away and why.
    """
    pool, n_classes, per_class = Pool(), len(words.label_names), config.per_class
    text_filter = TextFilter(words, config)
    n_sent = np.zeros(n_classes, dtype=int)
    most = math.ceil(config.most * math.ceil(per_class / config.per_request))
    while True:
        missing = per_class - np.bincount(pool.labels, minlength=n_classes)
        if not (missing > 0).any():
            return pool
        usable = _usable_per_request(pool, config)
        labels = []
        for label in np.flatnonzero(missing > 0):
            count = min(math.ceil(missing[label] / usable), most - int(n_sent[label]))
            if count <= 0:
                raise LLMError(_too_few(llm, words.label_names[label], pool, pool.labels.count(int(label)), config))
            labels += [int(label)] * count
        requests, shown = [], []
        for label in labels:
            request, real = build_request(label, int(n_sent[label]))
            requests.append(request)
            shown.append(real)
            n_sent[label] += 1
        pool.n_requests += len(requests)
        for request, label, reply, real in zip(
            requests, labels, llm.complete(requests, config.sampling), shown, strict=True
        ):
            if isinstance(reply, Failure):
                pool.rejected[FAILED] += 1
                continue
            parsed = read_reply(request, reply, words.field_names)
            pool.rejected += parsed.rejected
            text_filter.offer(parsed.texts, label, real)
        text_filter.settle(pool)


def _usable_per_request(pool: Pool, config: GenerationConfig) -> float:
    """Guesses the usable texts of a request by what requests gave so far."""
    if not pool.n_requests:
        return config.per_request * USABLE_FRAC if config.per_request > 1 else 1.0
    return max(len(pool.texts) / pool.n_requests, 0.1)


@dataclass(frozen=True)
class ClassCheck:
    """Class check by a language model, which names the class of every text.

    Args:
        llm: The model.
        words: How the task is spoken of.
    """

    llm: LLM
    words: TaskWords

    def __call__(self, texts: Sequence[Text], labels: NDArray[np.int64], /) -> NDArray[np.int64]:
        """Sends one request for each text."""
        sampling = Sampling(temperature=0.0, max_tokens=_CHECK_TOKENS)
        pairs = zip(texts, labels, strict=True)
        requests = [request_for_class(self.llm, self.words, text, int(label), "check") for text, label in pairs]
        replies = self.llm.complete(requests, sampling)
        named = [None if isinstance(reply, Failure) else named_class(self.words, reply.text) for reply in replies]
        return np.array([-1 if label is None else label for label in named], dtype=np.int64)


def _too_few(llm: LLM, class_name: str, pool: Pool, have: int, config: GenerationConfig) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in pool.rejected.most_common()) or "none"
    return (
        f"{llm.name} gave {have} of {config.per_class} usable texts of class '{class_name}' in {config.most:g} times the "
        f"requests that would do. Thrown away, of all classes: {reasons}. Use a model that follows instructions better, or "
        "change method.check, method.per_ask or method.temperature."
    )


def as_rows(texts: Sequence[Text], labels: NDArray[np.int64], words: TaskWords) -> LabelledText:
    """Returns texts as labelled text; their row ids say nothing."""
    columns = list(map(list, zip(*texts, strict=True))) or [[] for _ in words.field_names]
    fields = dict(zip(words.field_names, columns, strict=True))
    return LabelledText(fields, np.asarray(labels, dtype=np.int64), words.label_names, np.arange(len(texts)))


class TextFilter:
    """Filter of unusable texts; keeps the order in which texts came. A text is compared with the accepted ones of its class alone."""

    def __init__(self, words: TaskWords, config: GenerationConfig) -> None:
        self._words, self._config = words, config
        self._accepted = [_AcceptedTexts() for _ in words.label_names]
        self._offered: list[tuple[Text, int, Sequence[Text]]] = []

    def offer(self, texts: Sequence[Text], label: int, shown: Sequence[Text]) -> None:
        """Takes the texts of one reply."""
        self._offered += [(text, label, shown) for text in texts]

    def settle(self, pool: Pool) -> None:
        """Moves what can be used into the pool; what a class has no room for is left out without remark."""
        offered, self._offered = self._offered, []
        fresh: dict[tuple[str, int], tuple[Text, int]] = {}
        for text, label, shown in self._rewritten(offered, pool):
            joined = normalised("\n".join(text))
            if (joined, label) in fresh or joined in self._accepted[label].texts:
                pool.rejected[REPEATED] += 1
            elif copies(joined, [normalised("\n".join(one)) for one in shown]):
                pool.rejected[COPIED] += 1
            else:
                fresh[joined, label] = (text, label)
        if fresh:
            self._accept(list(fresh.values()), pool)
        pool.rejected = +pool.rejected

    def _accept(self, fresh: list[tuple[Text, int]], pool: Pool) -> None:
        texts, labels = [text for text, _ in fresh], np.array([label for _, label in fresh])
        named = labels if self._config.check is None else self._config.check(texts, labels)
        features = None if self._config.embed is None else self._config.embed(as_rows(texts, labels, self._words))
        for i, (text, label) in enumerate(fresh):
            if named[i] != label:
                pool.rejected[OTHER_CLASS if named[i] >= 0 else NO_CLASS] += 1
            elif pool.labels.count(label) < self._config.per_class:
                if self._accepted[label].takes(text, None if features is None else features[i]):
                    pool.texts.append(text)
                    pool.labels.append(label)
                else:
                    pool.rejected[SIMILAR] += 1

    def _rewritten(
        self, offered: list[tuple[Text, int, Sequence[Text]]], pool: Pool
    ) -> list[tuple[Text, int, Sequence[Text]]]:
        if self._config.rewriter is None or not offered:
            return offered
        texts, labels, shown = zip(*offered, strict=True)
        rewritten = []
        for new, label, real in zip(self._config.rewriter(texts, np.array(labels), shown), labels, shown, strict=True):
            if isinstance(new, str):
                pool.rejected[new] += 1
            else:
                rewritten.append((new, label, real))
        return rewritten


class _AcceptedTexts:
    """Accepted texts of a class, indexed to find what is like one of them."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self.texts: set[str] = set()
        self._shingles: list[set[str]] = []
        self._index = MinHashLSH(
            threshold=SIMILAR_JACCARD / 2, num_perm=_PERMUTATIONS
        )  # candidates: all that matter are among them
        self._features: list[NDArray[np.floating]] = []

    def takes(self, text: Text, feature_D: NDArray[np.floating] | None) -> bool:
        """Accepts a text, unless it is like an accepted one."""
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


@dataclass(frozen=True)
class LLMVariations:
    """Variations by a language model that is asked for another text like each (Xie et al., 2024, Aug-PE).

    An implementation of `tdbench.bench.models.variations.Varies`.

    Args:
        llm: The model.
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
        requests = [request_for_variation(self.llm, self.words, text, f"{seed}:{i}") for i, text in enumerate(texts)]
        longest = max(len(part.split()) for text in texts for part in text) * len(texts[0])
        sampling = Sampling(top_p=self.top_p, max_tokens=_FRAME_TOKENS + _TOKENS_A_WORD * longest)
        replies = self.llm.complete(requests, sampling)
        variations = [
            one_text(request, reply, self.words.field_names) for request, reply in zip(requests, replies, strict=True)
        ]
        bad = Counter(one for one in variations if isinstance(one, str))
        usable = 1 - bad.total() / len(variations)
        if usable < LEAST_USABLE_FRAC:
            reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common())
            raise LLMError(
                f"of {len(variations)} variations {len(variations) - bad.total()} can be used ({reasons}); give another model."
            )
        self.notes["variation_usable_frac"] = min(usable, self.notes.get("variation_usable_frac", 1.0))
        return [old if isinstance(new, str) else new for new, old in zip(variations, texts, strict=True)]
