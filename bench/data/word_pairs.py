"""Near-duplicates: texts whose sets of neighbouring words, ends included, have a Jaccard index above a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.data.text import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

JACCARD = 0.8
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class WordPairs:
    """Which pairs of neighbouring words each of N texts has.

    Args:
        texts_P: Number of the text that has a pair; a text has a pair once.
        hashes_P: 64-bit hash of the pair, good within one process.
        size_N: Different pairs of every text.
    """

    texts_P: NDArray[np.int64]
    hashes_P: NDArray[np.int64]
    size_N: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], least_words: int = 0) -> WordPairs:
        """Reads texts; those with fewer words than `least_words` have no pairs and so no duplicates."""
        hashes_by_text: list[list[int]] = []
        for text in texts:
            words = normalised(text).split()
            hashes_by_text.append(
                [] if len(words) < least_words else sorted(set(map(hash, pairwise(["", *words, ""]))))
            )
        size_N = np.array([len(pairs) for pairs in hashes_by_text], dtype=np.int64)
        hashes = np.fromiter(
            (pair for pairs in hashes_by_text for pair in pairs), dtype=np.int64, count=int(size_N.sum())
        )
        return cls(np.repeat(np.arange(len(hashes_by_text)), size_N), hashes, size_N)

    @cached_property
    def vocabulary(self) -> NDArray[np.int64]:
        """All V pairs, ascending."""
        return np.unique(self.hashes_P)

    @cached_property
    def incidence(self) -> Any:
        """(N, V) sparse matrix of ones: which text has which pair."""
        return self._within(self.vocabulary)

    def _within(self, vocabulary: NDArray[np.int64]) -> Any:
        from scipy.sparse import csr_matrix

        columns = np.searchsorted(vocabulary, self.hashes_P)
        columns[columns == len(vocabulary)] = 0
        known = vocabulary[columns] == self.hashes_P if len(vocabulary) else np.zeros(len(columns), dtype=bool)
        shape = (len(self.size_N), max(1, len(vocabulary)))
        ones = np.ones(known.sum(), dtype=np.float32)
        return csr_matrix((ones, (self.texts_P[known], columns[known])), shape=shape)

    def near(self, other: WordPairs, jaccard: float = JACCARD) -> Any:
        """Returns the (N, M) sparse matrix of near-duplicates among the M texts of another."""
        from scipy.sparse import coo_matrix, csr_matrix, vstack

        mine = self._within(other.vocabulary)
        shape, blocks = (len(self.size_N), len(other.size_N)), []
        for start in range(0, shape[0], _BLOCK):
            common = coo_matrix(mine[start : start + _BLOCK] @ other.incidence.T)
            union = self.size_N[start + common.row] + other.size_N[common.col] - common.data
            near = common.data > jaccard * union
            part = (np.ones(near.sum(), dtype=bool), (common.row[near], common.col[near]))
            blocks.append(csr_matrix(part, shape=(min(_BLOCK, shape[0] - start), shape[1])))
        return vstack(blocks) if blocks else csr_matrix(shape, dtype=bool)
