"""Quality of the texts of distilled sets: labels, closeness to real texts, variety; one evaluator serves all sets of a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.budget import WORD_PATTERN
from tdbench.bench.canonical import seed_from
from tdbench.bench.data.loading import TaskData
from tdbench.bench.data.word_pairs import WordPairs
from tdbench.bench.quality.spaces import SentenceSpace, Space, WordSpace
from tdbench.bench.quality.spread import distance_to_real, mauve_score, vendi_score, word_measures
from tdbench.bench.record import TextQuality
from tdbench.bench.training.resolve import resolve_learner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet

QUALITY_VERSION = 1
"""Raised whenever the same texts get other numbers; 0 are measures from before there was a version."""

ENCODER = "minilm"

SAMPLE_PER_CLASS, FIT_PER_CLASS = 250, 1_000
"""Real texts of a class that sets are compared with, and others that the space of words is fitted on; half each where there are fewer."""

MOST_TEXTS = 5_000
"""Larger sets are not measured."""


@lru_cache(maxsize=2)
def evaluator_of(data: TaskData, cache: Path, device: str) -> TextEvaluator:
    """Returns the evaluator of a task, the same one for all sets of a command."""
    return TextEvaluator(data, cache, device)


@dataclass(frozen=True, eq=False)
class TextEvaluator:
    """What sets of one task are measured against.

    Args:
        data: The task.
        cache: Folder of cached features.
        device: Where the encoder runs.
    """

    data: TaskData
    cache: Path
    device: str

    def measure(self, made: DistilledSet, with_encoder: bool = True) -> TextQuality | None:
        """Measures the texts of a set; see docs/reference/text-quality.md for each number.

        Of sets of real rows, what they share with the train split and whether they agree with their labels say nothing and are left out;
        the selected rows are then no part of the real texts that they are compared with. Weights and soft labels are not read.

        Args:
            made: The set.
            with_encoder: Whether sentences are read too; without, or where the encoder's weights are missing, words alone.

        Returns:
            None for sets without texts, for those of more than 5,000, and for those that have selected all of the real sample.
        """
        if made.output == "embedding" or len(made) > MOST_TEXTS:
            return None
        text, sample = made.resolve(self.data.train), self._parts[0]
        selected = np.zeros(len(sample), bool) if made.row_ids_M is None else np.isin(sample.row_ids_N, made.row_ids_M)
        if selected.all():
            return None
        real = sample.take(np.flatnonzero(~selected))
        values = word_measures(text, real) | {"near_test_frac": _share_near(text, self._test_pairs)}
        if made.row_ids_M is None:
            values["near_train_frac"] = _share_near(text, self._train_pairs)
            values["label_agreement_frac"] = float(self._classifier.agrees(text).mean())
            values["label_agreement_real_frac"] = self._real_agreement
        for space in self._spaces(with_encoder):
            values |= _in_space(space, text, real, space.sample_RD[~selected])
        finite = {name: float(value) for name, value in sorted(values.items()) if np.isfinite(value)}
        sentences = self._sentences if with_encoder else None
        return TextQuality(
            version=QUALITY_VERSION, encoder=None if sentences is None else sentences.weights, values=finite
        )

    def _spaces(self, with_encoder: bool) -> Iterator[Space]:
        yield self._words
        if with_encoder and self._sentences is not None:
            yield self._sentences

    @cached_property
    def _parts(self) -> tuple[LabelledText, LabelledText]:
        """The real sample, and other real texts."""
        train, task = self.data.train, self.data.task
        rng = np.random.default_rng(seed_from("quality-sample", task.name, task.version))
        classes = [rng.permutation(train.positions_of_class(label)) for label in range(train.n_classes)]
        sizes = [min(SAMPLE_PER_CLASS, max(1, len(rows) // 2)) for rows in classes]
        sample = np.concatenate([rows[:n] for rows, n in zip(classes, sizes, strict=True)])
        others = np.concatenate([rows[n:][:FIT_PER_CLASS] for rows, n in zip(classes, sizes, strict=True)])
        return train.take(np.sort(sample)), train.take(np.sort(others))

    @cached_property
    def _words(self) -> WordSpace:
        sample, others = self._parts
        return WordSpace(others, sample)

    @cached_property
    def _sentences(self) -> SentenceSpace | None:
        learner = resolve_learner(ENCODER)
        if learner.available() is not None:
            return None
        return SentenceSpace(ENCODER, learner, self._parts[0], self.cache, self.device)

    @cached_property
    def _classifier(self) -> WordClassifier:
        return WordClassifier(self.data.train)

    @cached_property
    def _real_agreement(self) -> float:
        return float(self._classifier.agrees(self.data.validation).mean())

    @cached_property
    def _train_pairs(self) -> WordPairs:
        return WordPairs.of(self.data.train.joined())

    @cached_property
    def _test_pairs(self) -> WordPairs:
        return WordPairs.of(self.data.test.joined())


def _share_near(text: LabelledText, others: WordPairs) -> float:
    near = WordPairs.of(text.joined()).near(others)
    return float((near.getnnz(axis=1) > 0).mean())


def _in_space(space: Space, text: LabelledText, real: LabelledText, real_RD: np.ndarray) -> dict[str, float]:
    made_MD = space.read(text)
    far, p = distance_to_real(made_MD, text.labels_N, real_RD, real.labels_N)
    values = {"vendi": vendi_score(made_MD), "mmd2": far, "mmd_p": p}
    if space.name == ENCODER and (near := mauve_score(made_MD, real_RD)) is not None:
        values["mauve"] = near
    return {f"{name}_{space.name}": value for name, value in values.items()}


def judged(made: DistilledSet, real: LabelledText, context: Context) -> dict[str, float]:
    """Lets a language model of the train split, trained from another seed than the one that methods use, read the texts.

    Args:
        made: A set of texts.
        real: The train split.
        context: Builds the model; its cost meter is charged.

    Returns:
        `judge_perplexity` per token (pieces that the train split never uses are left out), and `judge_perplexity_real`, that of
        train rows held out of the judge's training. To be read from both sides: above it the texts are odd, far below it they are
        commonplace.
    """
    from tdbench.bench.matching.initialisation import words_of

    source = context.source(real)
    judge = context.judge(real, source)
    text = made.resolve(real)
    return {
        "judge_perplexity": judge.perplexity_of(words_of(source, text), text.labels_N),
        "judge_perplexity_real": judge.perplexity,
    }


def nearest_tokens(made: DistilledSet, real: LabelledText, context: Context) -> list[dict[str, str]]:
    """Reads token vectors as the tokens of the learner's table that they are nearest to: for every text, field -> tokens.

    They show what vectors are about, if anything; no learner is trained on them.
    """
    from tdbench.bench.matching.initialisation import nearest_words, text_of

    assert made.soft is not None
    source = context.source(real)
    columns = text_of(source, list(real.fields), nearest_words(source, made.soft))
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]


BUCKETS, LONGEST_NGRAM = 2**18, 2

REGULARISATION, EPOCHS = 1e-6, 10


class WordClassifier:
    """TF-IDF of hashed words and word pairs with averaged logistic regression (scikit-learn), trained on all of a train split.

    Args:
        train: The train split.
    """

    def __init__(self, train: LabelledText) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.linear_model import SGDClassifier

        self._words = HashingVectorizer(
            n_features=BUCKETS,
            ngram_range=(1, LONGEST_NGRAM),
            alternate_sign=False,
            norm=None,  # pyright: ignore[reportArgumentType] - no norm, as documented
            token_pattern=WORD_PATTERN.pattern,
        )
        self._weights: Any = TfidfTransformer(sublinear_tf=True)
        self._model = SGDClassifier(
            loss="log_loss",
            alpha=REGULARISATION,
            max_iter=EPOCHS,
            tol=None,  # pyright: ignore[reportArgumentType] - all epochs, as documented
            average=True,
            random_state=seed_from("word-classifier") % 2**32,
        )
        self._model.fit(self._weights.fit_transform(self._words.transform(train.joined())), train.labels_N)

    def agrees(self, text: LabelledText) -> NDArray[Any]:
        """Tells which of N texts get the label that they bear."""
        features = self._weights.transform(self._words.transform(text.joined()))
        return self._model.predict(features) == text.labels_N
