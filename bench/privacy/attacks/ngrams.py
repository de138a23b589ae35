"""Word n-grams: which ones a set of texts holds, and a bigram language model of it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

_WORD = re.compile(r"\w+")
_START, _END = "<s>", "</s>"
"""No text holds them: words have no angle brackets."""


def words(text: str) -> list[str]:
    """Returns the words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yields the n-grams in order; of a shorter text, the whole of it."""
    if tokens:
        yield from (tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1)))


class NgramIndex:
    """The n-grams of several texts.

    Args:
        texts: Texts as words.
        n: Length of the n-grams.
    """

    def __init__(self, texts: Iterable[Sequence[str]], n: int) -> None:
        self._n = n
        # Shorter n-grams are asked for by texts shorter than n.
        self._known = {gram for text in texts for size in range(1, n + 1) for gram in _exactly(text, size)}

    def share(self, tokens: Sequence[str]) -> float:
        """Returns the share of a text's n-grams that are known; 0 for an empty text."""
        grams = list(ngrams(tokens, self._n))
        return sum(gram in self._known for gram in grams) / len(grams) if grams else 0.0

    def hits(self, tokens: Sequence[str], unless: NgramIndex | None = None) -> bool:
        """Tells whether an n-gram of a text that is no shorter than n is known, and not known to another index."""
        return any(
            gram in self._known and (unless is None or gram not in unless._known) for gram in _exactly(tokens, self._n)
        )


def _exactly(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


class BigramModel:
    """Interpolated bigram model with Witten-Bell smoothing (Witten and Bell, 1991), down to a uniform distribution.

    P(w | v) = (c(v, w) + T(v) P(w)) / (c(v) + T(v)) with T(v) the number of different words seen after v, and the same once more for P(w)
    over the uniform 1 / vocabulary.

    Args:
        texts: Texts as words.
        vocabulary: Number of words that may occur, end mark included.
    """

    def __init__(self, texts: Iterable[Sequence[str]], vocabulary: int) -> None:
        pairs: Counter[tuple[str, str]] = Counter()
        for text in texts:
            pairs.update(pairwise([_START, *text, _END]))
        self._pairs, self._vocabulary = pairs, vocabulary
        self._after: Counter[str] = Counter()
        self._kinds_after: Counter[str] = Counter()
        self._single: Counter[str] = Counter()
        for (first, second), count in pairs.items():
            self._after[first] += count
            self._kinds_after[first] += 1
            self._single[second] += count
        self._total = sum(self._single.values())

    def probability(self, word: str, after: str) -> float:
        """Returns P(word | after)."""
        kinds = len(self._single)
        single = (
            (self._single[word] + kinds / self._vocabulary) / (self._total + kinds) if kinds else 1 / self._vocabulary
        )
        seen, kinds_after = self._after[after], self._kinds_after[after]
        return (self._pairs[after, word] + kinds_after * single) / (seen + kinds_after) if seen else single

    def log_probability(self, tokens: Sequence[str]) -> float:
        """Returns the natural logarithm of a text's probability, end mark included."""
        return sum(math.log(self.probability(second, first)) for first, second in pairwise([_START, *tokens, _END]))
