"""Sets that are chosen among samples of a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdbench.bench.matching.initialisation import words_of
from tdbench.bench.matching.samples import sample_medoids
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tests.unit.tiny_models import context

ROWS, CTX = small_task("two classes").train, context()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceModel:
    cache: Path = tmp_path_factory.mktemp("cache")
    return SourceModel(
        tiny_learner(), ROWS, name="tiny", max_length=MAX_LENGTH, device="cpu", cost=CTX.cost, cache=cache, seed=0
    )


def chosen(source: SourceModel, per_text: int, pool: int) -> tuple[list[str], Any]:
    """Chooses three of each class among samples; `per_text` samples in a row are the same text."""
    words = words_of(source, ROWS)
    fields, labels = sample_medoids(
        lambda labels_N, _: [words[i // per_text] for i in range(len(labels_N))],
        source,
        ["text"],
        2,
        per_class=3,
        pool=pool,
        ctx=CTX,
    )
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    return fields["text"], labels


def test_medoids_are_different_samples_of_their_class(source):
    texts, _ = chosen(source, per_text=1, pool=4)
    assert len(set(texts)) == 6
    assert chosen(source, per_text=1, pool=4)[0] == texts


def test_without_a_pool_samples_stay_as_they_are(source):
    texts, _ = chosen(source, per_text=1, pool=1)
    expected = [source.tokenizer.inner.decode(parts[0]) for parts in words_of(source, ROWS)[:6]]  # type: ignore[union-attr]
    assert texts == expected


def test_a_generator_that_repeats_itself_gives_its_repeats(source):
    texts, _ = chosen(source, per_text=6, pool=4)  # two different texts in twelve samples, three are wanted
    assert len(texts) == 6
    assert len(set(texts)) == 2
    assert np.unique(texts[:3]).size == 1
