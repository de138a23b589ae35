"""Vocabularies of the stand-in corpus: words of each class and subtopic by frequency, and the draws that pick them.

Draws are PCG64 doubles seeded by sha256, and so the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tdbench.bench.data import standin_words as words

Objects = npt.NDArray[np.object_]
Ints = npt.NDArray[np.int64]
Vocabulary = dict[str, tuple[list[str], list[str], list[str]]]  # kind -> core, frequent and rare words

N_SUBTOPICS = 4
N_NAMES = 400
N_CORE = 4  # the words that all subtopics of a class share as their most frequent ones
INFLECTED = {"N": "NM", "I": "IVW", "A": "A", "P": "P"}  # kind of word -> the slots that show it


def stream(*key: str | int) -> np.random.Generator:
    """A generator of its own for each key."""
    digest = hashlib.sha256(json.dumps(["tdbench-standin-v1", *key]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def integers(rng: np.random.Generator, n: int | tuple[int, ...], bound: int) -> Ints:
    """Integers of shape `n` in [0, bound)."""
    return (rng.random(n) * bound).astype(np.int64)


def shuffled(rng: np.random.Generator, items: list[str]) -> list[str]:
    """The items in random order."""
    return [items[i] for i in np.argsort(rng.random(len(items)), kind="stable")]


@lru_cache(maxsize=64)
def zipf_cdf(width: int, exponent: float, shift: float) -> npt.NDArray[np.float64]:
    """Cumulative Zipf-Mandelbrot law over ranks 1 to `width`: weight (rank + shift) ** -exponent."""
    weight = (np.arange(1, width + 1) + shift) ** -exponent
    cdf = np.round(np.cumsum(weight) / weight.sum(), 12)
    cdf[-1] = 1.0
    return cdf


@lru_cache(maxsize=32)
def lexicon(style: str, n_classes: int, material: int) -> dict[str, Objects]:
    """Words by slot letter, most frequent first.

    Args:
        style: `news`, `review` or `message`.
        n_classes: Number of classes, 2 to 20.
        material: Seed of names and orders.

    Returns:
        Slot letter -> words of shape (n_classes * N_SUBTOPICS + 1, width); the last row is shared by all classes.
    """
    rng = stream("words", style, n_classes, material)
    starts, ends = words.NAME_STARTS.split(), words.NAME_ENDS.split()
    middles = ["", *words.NAME_MIDDLES.split()]
    names = [a + b + c for a in starts for b in middles for c in ends]
    names = shuffled(rng, list(dict.fromkeys(names)))
    tables: dict[str, Objects] = {}
    vocabularies = _vocabularies(style, n_classes)
    for kind, shown in INFLECTED.items():
        rows: list[list[str]] = []
        for i, vocabulary in enumerate(vocabularies):
            core, rest, tail = vocabulary.get(kind) or ([], [], names[i * N_NAMES : (i + 1) * N_NAMES])
            for _ in range(N_SUBTOPICS if i < n_classes else 1):
                rows.append(core + shuffled(rng, rest) + shuffled(rng, tail))
        width = max(map(len, rows))
        padded = [(row * width)[:width] for row in rows]
        for letter in shown:
            inflect = _INFLECT.get(letter, str)
            tables[letter] = np.array([[inflect(word) for word in row] for row in padded], dtype=object)
    return tables


def _vocabularies(style: str, n_classes: int) -> list[Vocabulary]:
    """Core, frequent and rare words by kind, one dictionary for each class and a last one that all classes share."""
    material = {
        "news": words.TOPICS[:n_classes],
        "review": (words.NEGATIVE, *words.TOPICS[: n_classes - 2], words.POSITIVE),
        "message": (words.PERSONAL, words.OFFERS, *words.TOPICS[4:], *words.TOPICS[:4])[:n_classes],
    }[style]
    common = _split(words.REVIEW_COMMON if style == "review" else words.COMMON)
    shared = {kind: (head[:N_CORE], head[N_CORE:], []) for kind, head in zip("NIA", common, strict=True)}
    return [*map(_class_words, material), shared]


def _split(material: str) -> list[list[str]]:
    return [part.split() for part in material.split(" | ")]


def _class_words(material: str) -> Vocabulary:
    nouns, verbs, adjectives = _split(material)
    stems, endings = nouns, words.ADJECTIVE_ENDINGS
    if material in words.SENTIMENT_ENDINGS:
        stems, endings = words.STEMS.split(), words.SENTIMENT_ENDINGS[material]
    tails = {
        "N": (nouns, [stem + ending for stem in nouns for ending in words.NOUN_ENDINGS.split()]),
        "I": (verbs, [prefix + verb for prefix in words.VERB_PREFIXES.split() for verb in verbs]),
        "A": (adjectives, [stem + ending for stem in stems for ending in endings.split()]),
    }
    return {kind: (head[:N_CORE], head[N_CORE:], tail) for kind, (head, tail) in tails.items()}


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _past(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


_INFLECT = {"M": _plural, "W": _plural, "V": _past}
