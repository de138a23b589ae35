"""Groups of near-duplicate texts: a coin decides about a whole group, or a member's twin would pass for a non-member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.data.word_pairs import WordPairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText

LONG_FIELD_WORDS = 6
"""A field of a pair with at least so many words makes twins by itself: pair tasks use one premise several times."""


def duplicate_groups(rows: LabelledText) -> NDArray[np.int64]:
    """Groups rows whose texts are near-duplicates; of a pair, also rows that share a long field.

    Returns:
        (N,) group numbers from 0, in the order of each group's first row. A group is closed: a duplicate of a duplicate belongs to it.
    """
    from scipy.sparse.csgraph import connected_components

    links = _within(rows.joined())
    if len(rows.fields) > 1:
        for column in rows.fields.values():
            links = links + _within(column, LONG_FIELD_WORDS)
    _, labels = connected_components(links, directed=False)
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group]


def _within(texts: Sequence[str], least_words: int = 0) -> Any:
    """Returns the (N, N) sparse matrix of near-duplicates among texts with at least so many words."""
    pairs = WordPairs.of(texts, least_words)
    return pairs.near(pairs)
