"""Topics and concepts of texts as a graph that is walked for combinations which texts have, or nearly have (SynthLLM, level 3).

An edge's weight is the number of texts that both of its ends occur in. Published code walks in proportion to exp(log weight), the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SAME_COSINE = 0.9
"""From where on two names are one concept."""
TOPIC_STEPS, CONCEPT_STEPS = (0, 1), (0, 4)
"""Least and greatest number of steps between topics, and between concepts, of a walk."""


@dataclass(frozen=True)
class Concepts:
    """What a text is about.

    Args:
        topics: What it belongs to.
        concepts: What is in it.
    """

    topics: tuple[str, ...]
    concepts: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Topics, then concepts."""
        return (*self.topics, *self.concepts)


def canonical_concepts(
    of_texts: Sequence[Concepts], embed: Callable[[list[str]], NDArray[np.floating]] | None
) -> list[Concepts]:
    """Gives names that mean the same one name: case and blanks folded, then names whose features are nearly the same.

    Args:
        of_texts: What every text is about.
        embed: Returns features, of length 1, of names; None to go by their letters alone.
    """
    folded = [
        Concepts(*(tuple(dict.fromkeys(map(_folded, part))) for part in (one.topics, one.concepts))) for one in of_texts
    ]
    counts = Counter(name for one in folded for name in one.all)
    names = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if name]
    stands_for: dict[str, str] = {}
    if embed is None:
        stands_for = {name: name for name in names}
    elif names:
        features_ND = embed(names)
        kept: list[int] = []
        for i, name in enumerate(names):
            near = features_ND[kept] @ features_ND[i] if kept else np.empty(0)
            if len(near) and near.max() > SAME_COSINE:
                stands_for[name] = names[kept[int(near.argmax())]]
            else:
                kept.append(i)
                stands_for[name] = name
    return [
        Concepts(
            *(tuple(dict.fromkeys(stands_for[name] for name in part if name)) for part in (one.topics, one.concepts))
        )
        for one in folded
    ]


class ConceptGraph:
    """Which topics and concepts occur together.

    Args:
        of_texts: What every text is about, names canonical.
    """

    def __init__(self, of_texts: Sequence[Concepts]) -> None:
        self._of_texts = list(of_texts)
        self._topics: dict[str, Counter[str]] = defaultdict(Counter)
        self._across: dict[str, Counter[str]] = defaultdict(Counter)
        self._concepts: dict[str, Counter[str]] = defaultdict(Counter)
        for one in of_texts:
            for a, b in combinations(sorted(set(one.topics)), 2):
                self._topics[a][b] += 1
                self._topics[b][a] += 1
            for topic, concept in product(set(one.topics), set(one.concepts)):
                self._across[topic][concept] += 1
            for a, b in combinations(sorted(set(one.concepts)), 2):
                self._concepts[a][b] += 1
                self._concepts[b][a] += 1
        self._starts = sorted({topic for one in of_texts for topic in one.topics})

    def walk(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Returns the names that a walk visits: from any topic over topics to a concept, and over concepts; none twice."""
        if not self._starts:
            return ()
        visited = [str(rng.choice(self._starts))]
        for _ in range(int(rng.integers(TOPIC_STEPS[0], TOPIC_STEPS[1] + 1))):
            visited += _step(self._topics[visited[-1]], visited, rng)
        place = _step(self._across[visited[-1]], visited, rng)
        visited += place
        for _ in range(int(rng.integers(CONCEPT_STEPS[0], CONCEPT_STEPS[1] + 1)) if place else 0):
            visited += _step(self._concepts[visited[-1]], visited, rng)
        return tuple(dict.fromkeys(visited))

    def nearest(self, names: Sequence[str], count: int) -> list[int]:
        """Returns the texts whose names overlap most with some names (Jaccard)."""
        wanted = set(names)

        def overlap(own: set[str]) -> float:
            return len(own & wanted) / max(1, len(own | wanted))

        shares = [overlap(set(one.all)) for one in self._of_texts]
        return [int(i) for i in np.argsort([-share for share in shares], kind="stable")[:count]]


def _step(neighbours: Counter[str], visited: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Returns one neighbour that was not visited, in proportion to its weight; none where there is none."""
    free = sorted(name for name in neighbours if name not in visited)
    if not free:
        return []
    weights = np.array([neighbours[name] for name in free], dtype=float)
    return [str(rng.choice(free, p=weights / weights.sum()))]


def _folded(name: str) -> str:
    return " ".join(name.lower().split())[:60]
