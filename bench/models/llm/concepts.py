"""What texts are about, by their words alone: for models that cannot be asked, and to find texts that share concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 60
_WORD = r"(?u)\b[^\W\d_][\w'-]{2,}\b"


def keywords(texts: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Returns every text's words of the greatest tf-idf weight among these texts, at most `count`; English function words are no keywords.

    Args:
        texts: The texts that weights are counted over.
        count: Keywords of a text.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rare = 2 if len(texts) > 50 else 1
    vectorizer: Any = TfidfVectorizer(
        stop_words="english",
        min_df=rare,
        max_df=0.5 if len(texts) > 4 else 1.0,
        token_pattern=_WORD,
    )
    try:
        weights_NV = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # no word is left
        return [()] * len(texts)
    names = vectorizer.get_feature_names_out()
    made = []
    for row in range(len(texts)):
        own = slice(weights_NV.indptr[row], weights_NV.indptr[row + 1])
        values, ids = weights_NV.data[own], weights_NV.indices[own]
        best = np.lexsort((ids, -values))[:count]
        made.append(tuple(str(names[ids[i]])[:_LONGEST] for i in best))
    return made
