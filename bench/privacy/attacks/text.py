"""Set MIA: the attacker sees the released texts, and owns auxiliary texts. Shapes: R candidates, M released texts, T targets."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.data.text import normalised
from tdbench.bench.privacy.attacks.ngrams import BigramModel, NgramIndex, words
from tdbench.bench.privacy.released import less_references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.privacy.released import Released

    Embed = Callable[[LabelledText], NDArray[np.float32]]

HIT_WORDS = 8
"""Length of an n-gram that is not repeated by chance."""
CONTAINED_WORDS = 4


class TextAttacks:
    """Attacks on released texts; what they need to know about the candidates is worked out once for all targets.

    Args:
        rows: The R candidates.
        auxiliary: The attacker's own texts.
        embed: Gives unit-length features of texts by a public encoder; None leaves out the attack by nearest neighbours.
    """

    headline = "bigram-lm"

    def __init__(self, rows: LabelledText, auxiliary: LabelledText, embed: Embed | None) -> None:
        self._rows, self._embed = rows, embed
        self._words_R = [words(text) for text in rows.joined()]
        self._keys_R = [normalised(text) for text in rows.joined()]
        self._auxiliary = [words(text) for text in auxiliary.joined()]
        self._vocabulary = len({word for text in (*self._words_R, *self._auxiliary) for word in text}) + 1

    @cached_property
    def _known_to_attacker(self) -> NgramIndex:
        """The 8-grams of the auxiliary texts: what many repeat says nothing about one."""
        return NgramIndex(self._auxiliary, HIT_WORDS)

    def scores(self, targets: Sequence[Released], pairs_S: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """Runs all attacks on all targets.

        Args:
            targets: The S runs, and the null run where there is one.
            pairs_S: Pair of complementary runs that each run belongs to.

        Returns:
            Attack -> (T, R) scores.
            `bigram-lm`: log-probability under a bigram model of the released texts (Meeus et al., 2025), less that under one of the
            auxiliary texts.
            `bigram-shadows`: less the mean of those under models of other pairs' sets, where there are other pairs.
            `exact`: whether it is released as it is.
            `8-gram`: whether one of its 8-grams is, which no auxiliary text has.
            `4-gram`: share of its 4-grams that are.
            `knn`: largest cosine to a released text.
        """
        columns = [target.text.joined() for target in targets]
        likelihood_TR = np.array([self._likelihood(map(words, texts)) for texts in columns])
        found = {self.headline: likelihood_TR - self._likelihood(self._auxiliary)}
        if len(set(pairs_S)) > 1:
            found["bigram-shadows"] = less_references(likelihood_TR, pairs_S)
        found["exact"] = np.array([self._exact(texts) for texts in columns], dtype=float)
        found["8-gram"] = np.array([self.repeated(target) for target in targets], dtype=float)
        found["4-gram"] = np.array([self._contained(texts) for texts in columns])
        if self._embed is not None:
            own_RD = self._embed(self._rows)
            cosines = [own_RD @ self._embed(target.text).T for target in targets]
            found["knn"] = np.array([cosine_RM.max(axis=1) for cosine_RM in cosines], dtype=float)
        return found

    def repeated(self, target: Released) -> NDArray[np.bool_]:
        """Returns which candidates share an 8-gram with a released text that no auxiliary text has, or are released as they are."""
        texts = target.text.joined()
        index = NgramIndex(map(words, texts), HIT_WORDS)
        shared = [index.hits(text, unless=self._known_to_attacker) for text in self._words_R]
        return np.array(shared) | self._exact(texts)

    def n_copied(self, target: Released, among_R: NDArray[np.bool_]) -> int:
        """Counts the released texts that equal one of some candidates, case and white space aside."""
        keys = {key for key, wanted in zip(self._keys_R, among_R, strict=True) if wanted}
        return sum(normalised(text) in keys for text in target.text.joined())

    def _exact(self, released: Sequence[str]) -> NDArray[np.bool_]:
        known = {normalised(text) for text in released}
        return np.array([key in known for key in self._keys_R])

    def _contained(self, released: Sequence[str]) -> NDArray[np.float64]:
        index = NgramIndex(map(words, released), CONTAINED_WORDS)
        return np.array([index.share(text) for text in self._words_R])

    def _likelihood(self, texts: Iterable[list[str]]) -> NDArray[np.float64]:
        model = BigramModel(texts, self._vocabulary)
        return np.array([model.log_probability(text) for text in self._words_R])
