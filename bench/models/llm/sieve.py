"""Throws away texts that cannot be used: repeats, copies of what was shown, texts of another class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.data.text import LabelledText, normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.models.llm.filling import Filling, Pool
    from tdbench.bench.models.llm.wording import TaskWords

    Text = tuple[str, ...]

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
