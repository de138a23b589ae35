"""Trigram: texts that a Markov chain of words makes up, the cheapest generator and a gauge for audits."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard, normalised

if TYPE_CHECKING:
    import numpy as np


TRIES = 200
"""Samples drawn for one that is no train text; where all are, the chain knows nothing else, and the last one stays."""
_START, _END = "\N{SYMBOL FOR START OF TEXT}", "\N{SYMBOL FOR END OF TEXT}"


class Trigram(Method):
    """Samples each class's word-trigram model: the next word is drawn from those that followed the last two words in train texts.

    Samples that are a train text as they stand are drawn again. Without smoothing, so it repeats stretches of train texts, more the fewer
    there are: what leaks is known beforehand to grow with the number of samples, which makes it the positive control of membership
    inference. The fields of a pair are sampled by themselves.
    """

    name = "trigram"
    card = MethodCard(
        summary="Samples of a word-trigram model of each class.",
        family="language model",
        paper="Shannon, 1948, A mathematical theory of communication (section 3)",
        output="text",
        counts_texts=True,
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Counts, and samples."""
        assert budget.per_class is not None
        rng = ctx.rng("samples")
        fields: dict[str, list[str]] = {name: [] for name in real.fields}
        known = {name: set(map(normalised, column)) for name, column in real.fields.items()}
        labels: list[int] = []
        for label in range(real.n_classes):
            rows = real.take(real.positions_of_class(label))
            labels += [label] * budget.per_class
            for name, column in rows.fields.items():
                chain = _Chain(column)
                fields[name] += [chain.new_text(known[name], rng) for _ in range(budget.per_class)]
        return DistilledSet.from_texts(fields, labels)


class _Chain:
    """What follows every two words, as often as it does."""

    def __init__(self, texts: list[str]) -> None:
        self._after: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._longest = 1
        for text in texts:
            words = text.split()
            self._longest = max(self._longest, len(words))
            padded = [_START, _START, *words, _END]
            for first, second, word in zip(padded, padded[1:], padded[2:], strict=False):
                self._after[first, second].append(word)

    def new_text(self, known: set[str], rng: np.random.Generator) -> str:
        """Makes up one text that is not known as it stands."""
        for _ in range(TRIES - 1):
            text = self.sample(rng)
            if normalised(text) not in known:
                return text
        return self.sample(rng)

    def sample(self, rng: np.random.Generator) -> str:
        """Makes up one text, no longer than the longest train text."""
        words: list[str] = []
        state = (_START, _START)
        while len(words) < self._longest:
            follow = self._after[state]
            word = follow[rng.integers(len(follow))]
            if word == _END:
                break
            words.append(word)
            state = (state[1], word)
        return " ".join(words)
