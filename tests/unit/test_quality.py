"""What is measured about how generated texts read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.distilled import DistilledSet
from bench.quality import distinct, judged, repetitive, text_quality
from bench.testing.texts import small_task
from tests.unit.test_synthesis import context


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


def test_distinct_counts_different_n_grams():
    assert distinct(["a b a", "A c"], 1) == pytest.approx(3 / 5)
    assert distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert math.isnan(distinct(["a"], 2))


def test_repetitive_texts_repeat_others_or_themselves():
    assert repetitive(["a b", "A  b", "no no no no no", "no no no no", "a b a b c d"]) == [
        False,
        True,
        True,
        False,
        False,
    ]
    real = small_task("two classes").train
    texts = ["good film", "Good film", "  ", "new words here"]
    found = text_quality(DistilledSet.from_texts({"sentence": texts}, [0, 1, 0, 1]), real)
    assert (found["empty_frac"], found["repetitive_frac"]) == (0.25, 0.25)
    pairs = {"premise": ["one two", "four"], "hypothesis": ["three", " "]}
    assert text_quality(DistilledSet.from_texts(pairs, [0, 1]), small_task("pairs").train)["empty_frac"] == 0.5


def test_texts_of_pairs_are_counted_field_by_field():
    real = small_task("pairs").train
    fields = {"premise": ["one two", "one two"], "hypothesis": ["two", "three"]}
    found = text_quality(DistilledSet.from_texts(fields, [0, 1]), real)
    assert found["distinct_1"] == pytest.approx(3 / 6)
    assert found["distinct_2"] == pytest.approx(1 / 2)
    assert found["mean_words"] == 3


def test_the_judge_is_another_model_and_finds_shuffled_words_odd(real, tmp_path):
    ctx = context(tmp_path)
    rng = np.random.default_rng(0)
    texts = list(real.fields["sentence"][:40])
    shuffled = [" ".join(rng.permutation(text.split())) for text in texts]
    labels = real.labels_N[:40]
    with ctx.cost.phase("x"):
        plain, odd = (
            judged(DistilledSet.from_texts({"sentence": column}, labels), real, ctx) for column in (texts, shuffled)
        )
        source = ctx.source(real)
        assert ctx.task_lm(real, source).perplexity != ctx.judge(real, source).perplexity
    assert plain["judge_perplexity"] < odd["judge_perplexity"]
    assert plain["judge_perplexity_real"] == odd["judge_perplexity_real"] == ctx.judge(real, source).perplexity
