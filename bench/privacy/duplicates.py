"""Groups of near-duplicate texts: a coin decides about a whole group, or a member's twin would pass for a non-member."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.text import normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.data.text import LabelledText

JACCARD = 0.8
LONG_FIELD_WORDS = 6
"""A field of a pair with at least so many words makes twins by itself: pair tasks use one premise several times."""
_BLOCK = 512


def duplicate_groups(rows: LabelledText) -> NDArray[np.int64]:
    """Groups rows whose texts are near-duplicates; of a pair, also rows that share a long field.

    Returns:
        (N,) group numbers from 0, in the order of each group's first row. A group is closed: a duplicate of a duplicate belongs to it.
    """
    from scipy.sparse.csgraph import connected_components

    links = _near(rows.joined(), least_words=0)
    if len(rows.fields) > 1:
        for column in rows.fields.values():
            links = links + _near(column, least_words=LONG_FIELD_WORDS)
    _, labels = connected_components(links, directed=False)
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group]


def _near(texts: Sequence[str], least_words: int) -> Any:
    """Returns the (N, N) sparse matrix of pairs whose sets of word pairs, ends included, have a Jaccard index above 0.8."""
    from scipy.sparse import coo_matrix, csr_matrix, vstack

    ids: dict[tuple[str, str], int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for row, text in enumerate(texts):
        words = normalised(text).split()
        if len(words) < least_words:
            continue
        pairs = {ids.setdefault(pair, len(ids)) for pair in pairwise(["", *words, ""])}
        rows += [row] * len(pairs)
        columns += pairs
    shape = (len(texts), max(1, len(ids)))
    has_NF = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    size_N = np.asarray(has_NF.sum(axis=1)).ravel()
    blocks = []
    for start in range(0, len(texts), _BLOCK):
        common = coo_matrix(has_NF[start : start + _BLOCK] @ has_NF.T)
        union = size_N[start + common.row] + size_N[common.col] - common.data
        near = common.data > JACCARD * union
        part = (np.ones(near.sum(), dtype=bool), (common.row[near], common.col[near]))
        blocks.append(csr_matrix(part, shape=(min(_BLOCK, len(texts) - start), len(texts))))
    return vstack(blocks)
