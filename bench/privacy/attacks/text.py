"""Game T1: the attacker sees the released texts, and owns auxiliary texts. Shapes: R candidates, M released texts, S runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.data.text import normalised
from bench.privacy.attacks.ngrams import BigramModel, NgramIndex, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.data.text import LabelledText

HIT_WORDS = 8
"""Length of an n-gram that is not repeated by chance."""
CONTAINED_WORDS = 4
HEADLINE = "bigram-lm"


@dataclass(frozen=True, eq=False)
class Candidates:
    """What attacks on texts know about the candidates, worked out once for all runs.

    Args:
        rows: The R candidates.
        auxiliary: The attacker's own texts.
    """

    rows: LabelledText
    auxiliary: LabelledText

    @cached_property
    def words_R(self) -> list[list[str]]:  # noqa: N802 - a shape suffix
        """Every candidate's words."""
        return [words(text) for text in self.rows.joined()]

    @cached_property
    def keys_R(self) -> list[str]:  # noqa: N802
        """Every candidate with case and white space folded."""
        return [normalised(text) for text in self.rows.joined()]

    @cached_property
    def _auxiliary_words(self) -> list[list[str]]:
        return [words(text) for text in self.auxiliary.joined()]

    @cached_property
    def known_to_attacker(self) -> NgramIndex:
        """The 8-grams of the auxiliary texts: repeated by many, they say nothing about one."""
        return NgramIndex(self._auxiliary_words, HIT_WORDS)

    @cached_property
    def vocabulary(self) -> int:
        """Number of different words of candidates and auxiliary texts, and the end mark."""
        return len({word for text in (*self.words_R, *self._auxiliary_words) for word in text}) + 1

    @cached_property
    def reference_R(self) -> NDArray[np.float64]:  # noqa: N802
        """Every candidate's mean log-probability under a bigram model of the auxiliary texts."""
        return self._under(BigramModel(self._auxiliary_words, self.vocabulary))

    def _under(self, model: BigramModel) -> NDArray[np.float64]:
        return np.array([model.mean_log(text) for text in self.words_R])

    def exact(self, released: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which candidates are released as they are, case and white space aside."""
        known = {normalised(text) for text in released}
        return np.array([key in known for key in self.keys_R])

    def n_copied(self, released: Sequence[str], among_R: NDArray[np.bool_]) -> int:
        """Counts the released texts that equal some of the candidates."""
        keys = {key for key, wanted in zip(self.keys_R, among_R, strict=True) if wanted}
        return sum(normalised(text) in keys for text in released)

    def hit(self, released: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which candidates share an 8-gram with a released text that no auxiliary text has, or are released as they are."""
        index = NgramIndex(map(words, released), HIT_WORDS)
        shared = [index.hits(text, unless=self.known_to_attacker) for text in self.words_R]
        return np.array(shared) | self.exact(released)

    def contained(self, released: Sequence[str]) -> NDArray[np.float64]:
        """Returns the share of each candidate's 4-grams that released texts hold."""
        index = NgramIndex(map(words, released), CONTAINED_WORDS)
        return np.array([index.share(text) for text in self.words_R])

    def likelihood(self, released: Sequence[str]) -> NDArray[np.float64]:
        """Returns each candidate's mean log-probability under a bigram model of the released texts (Meeus et al., 2025, n-gram attack)."""
        return self._under(BigramModel(map(words, released), self.vocabulary))


Embed = "Callable[[LabelledText], NDArray[np.float32]]"


def text_scores(
    candidates: Candidates,
    released_S: Sequence[LabelledText],
    embed: Callable[[LabelledText], NDArray[np.float32]] | None,
) -> dict[str, NDArray[np.float64]]:
    """Runs all attacks on all runs.

    Args:
        candidates: Who is to be told apart.
        released_S: Each run's released texts.
        embed: Gives unit-length features of texts by a public encoder; None leaves its attack out.

    Returns:
        Attack -> (S, R) scores. `bigram-lm` is the headline: log-probability under a bigram model of the released texts, less that under one of
        the auxiliary texts.
    """
    columns = [released.joined() for released in released_S]
    likelihood_SR = np.array([candidates.likelihood(texts) for texts in columns])
    found = {
        HEADLINE: likelihood_SR - candidates.reference_R,
        "exact": np.array([candidates.exact(texts) for texts in columns], dtype=float),
        "8-gram": np.array([candidates.hit(texts) for texts in columns], dtype=float),
        "4-gram": np.array([candidates.contained(texts) for texts in columns]),
    }
    if embed is not None:
        own_RD = embed(candidates.rows)
        found["knn"] = np.array([(own_RD @ embed(released).T).max(axis=1) for released in released_S], dtype=float)
    return found
