"""Feature spaces of texts: words of the task, which no method with a pretrained source reads, and sentences as MiniLM does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tdbench.bench.budget import WORD_PATTERN
from tdbench.bench.canonical import seed_from
from tdbench.bench.cost import CostMeter
from tdbench.bench.models.encoder import TFIDF_DIMENSIONS, CachedEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.training.learner import Learner

    Features = NDArray[np.float64]

MAX_LENGTH = 128


class Space(Protocol):
    """Features of length 1; those of a task's real sample are computed once."""

    name: str
    sample_RD: Features

    def read(self, text: LabelledText) -> Features:
        """Returns the (M, D) features of a set's texts."""
        ...


class WordSpace:
    """TF-IDF with truncated SVD; texts without a known word lie at the origin.

    Args:
        others: Real texts that it is fitted on: never the sample, whose texts would then seem nearer to one another.
        sample: The real sample.
    """

    name = "words"

    def __init__(self, others: LabelledText, sample: LabelledText) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words: Any = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD_PATTERN.pattern)
        counts = self._words.fit_transform(others.joined())
        dimensions = max(1, min(TFIDF_DIMENSIONS, *(size - 1 for size in counts.shape)))
        self._axes = TruncatedSVD(dimensions, random_state=seed_from("word-space") % 2**32).fit(counts)
        self.sample_RD = self.read(sample)

    def read(self, text: LabelledText) -> Features:
        """Returns the (M, D) features, D at most 128."""
        from sklearn.preprocessing import normalize

        points = self._axes.transform(self._words.transform(text.joined()))
        return np.asarray(normalize(points), dtype=np.float64)


class SentenceSpace:
    """Sentence features of a learner's encoder.

    Args:
        name: The learner's name.
        learner: Whose encoder.
        sample: The real sample.
        cache: Folder that keeps its features.
        device: Where the encoder runs.
    """

    def __init__(self, name: str, learner: Learner, sample: LabelledText, cache: Path, device: str) -> None:
        self.name = name
        self._encoder = learner.encoder(MAX_LENGTH, device)
        self.weights = str(self._encoder.identity["model"])
        features_RD = CachedEncoder(self._encoder, cache / "features").embed(sample, CostMeter())
        self.sample_RD = np.asarray(features_RD, dtype=np.float64)

    def read(self, text: LabelledText) -> Features:
        """Returns the (M, D) features."""
        cost = CostMeter()  # nobody's: the evaluator's work is no part of a method's cost
        with cost.phase("encode"):
            return np.asarray(self._encoder.embed(text, cost), dtype=np.float64)
