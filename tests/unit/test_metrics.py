"""Metrics against scikit-learn, and as objects of the evaluate library."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from tdbench.bench.errors import UsageError
from tdbench.bench.metrics import METRICS, load, score


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    n_classes = draw(st.integers(2, 7))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, n_classes - 1)] * 2), min_size=1, max_size=60))
    return n_classes, [predicted for predicted, _ in pairs], [true for _, true in pairs]


@given(answers())
@settings(max_examples=150, deadline=None)
def test_scores_equal_those_of_scikit_learn(drawn):
    n_classes, predicted, true = drawn
    got = score(predicted, true, n_classes)
    f1 = f1_score(true, predicted, average="macro", labels=range(n_classes), zero_division=0)
    assert set(got) == set(METRICS)
    assert got["accuracy_frac"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    assert got["macro_f1_frac"] == pytest.approx(f1, abs=1e-12)


def test_macro_f1_counts_a_class_that_nobody_has_or_predicts_as_zero():
    assert score([0, 1], [0, 1], 4) == {"accuracy_frac": 1.0, "macro_f1_frac": 0.5}


def test_macro_f1_of_a_constant_prediction_is_the_hand_computed_value():
    # Class 0: precision 3/4, recall 1, F1 6/7; class 1: 0.
    assert score([0, 0, 0, 0], [0, 0, 0, 1], 2)["macro_f1_frac"] == pytest.approx(3 / 7)


@pytest.mark.parametrize(("predicted", "true"), [([], []), ([0], [0, 1]), ([[0, 1]], [0, 1])])
def test_predictions_that_do_not_match_the_references_are_refused(predicted, true):
    with pytest.raises(ValueError, match="expected the same, at least 1"):
        score(np.array(predicted, dtype=int), np.array(true, dtype=int), 2)


@pytest.mark.parametrize("name", METRICS)
def test_a_loaded_metric_gives_the_same_number_without_a_network(name, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    metric = load(name, 4)
    expected = score(predicted, true, 4)[name]
    assert metric.compute(predictions=predicted, references=true) == {name: pytest.approx(expected)}
    for one, other in zip(predicted, true, strict=True):
        metric.add(prediction=int(one), reference=int(other))
    assert metric.compute() == {name: pytest.approx(expected)}


def test_an_unknown_metric_gets_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean 'accuracy_frac'"):
        load("accuracy", 2)
