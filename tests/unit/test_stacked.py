"""Stacked training: every member as if alone, and what cannot be stacked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.training import engine
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.modules import BiLSTM, MeanPooledClassifier, NativeClassifier, TextCNN
from tdbench.bench.training.prepared import Prepared
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.stacked import NotStackable, train_stack
from tdbench.bench.training.torch_learner import TorchLearner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZE |= {"max_position_embeddings": 64, "vocab_size": 60, "pad_token_id": 0}
GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 60, "pad_token_id": 0}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 1}
DISTIL: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 60}
RECIPE = Recipe(64, 30, 8, 3e-3, 0.1, 1.0, 0.5)
KINDS = ["mean pooled", "bert", "roberta", "distilbert", "gpt2", "llama", "textcnn"]


def build(kind: str, seed: int, p: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(seed)
    rates = {"hidden_dropout_prob": p, "attention_probs_dropout_prob": p, "num_labels": 3}
    if kind == "mean pooled":
        return MeanPooledClassifier(BertModel(BertConfig(**SIZE, **rates)), 3, p)
    if kind == "textcnn":
        return TextCNN(torch.randn(60, 16), 3, (2, 3), 5, p)
    if kind == "bilstm":
        return BiLSTM(torch.randn(60, 16), 3, 5, p)
    if kind == "gpt2":
        rates = {"resid_pdrop": p, "embd_pdrop": p, "attn_pdrop": p, "num_labels": 3}
        return NativeClassifier(GPT2ForSequenceClassification(GPT2Config(**GPT2, **rates)))
    if kind == "llama":
        return NativeClassifier(LlamaForSequenceClassification(LlamaConfig(**SIZE, num_labels=3)))
    if kind == "distilbert":
        rates = {"dropout": p, "attention_dropout": p, "seq_classif_dropout": p, "num_labels": 3}
        return NativeClassifier(DistilBertForSequenceClassification(DistilBertConfig(**DISTIL, **rates)))
    made = (
        (BertForSequenceClassification, BertConfig)
        if kind == "bert"
        else (RobertaForSequenceClassification, RobertaConfig)
    )
    return NativeClassifier(made[0](made[1](**SIZE, **rates)))  # type: ignore[arg-type]


def texts(seed: int, n_texts: int = 12) -> Encoded:
    rng = np.random.default_rng(seed)
    return Encoded([rng.integers(5, 60, size=n) for n in rng.integers(3, 20, size=n_texts)], pad_id=0)


def targets(seed: int, n_texts: int = 12) -> TrainingSet:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_texts)
    text = LabelledText({"text": ["x"] * n_texts}, labels, ("a", "b", "c"), np.arange(n_texts))
    weights = rng.uniform(0.5, 1.5, n_texts).astype(np.float32)
    return TrainingSet(text, np.eye(3, dtype=np.float32)[labels], weights / weights.mean())


def ready(kind: str, seed: int, dtype: torch.dtype = torch.float32, p: float = 0.0) -> Prepared:
    return Prepared(build(kind, seed, p), "cpu", dtype, packed=False)


def contexts(n_members: int) -> list[TrainContext]:
    cost = CostMeter()
    return [TrainContext(seed, "cpu", cost) for seed in range(n_members)]


def weights(member: Prepared) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in member.module.parameters()])


def trained_both_ways(build_member: Callable[[int], Prepared], recipe: Recipe) -> list[tuple[Prepared, Prepared]]:
    """Trains three members alone and as a stack; returns the pairs."""
    sets, data, where = [texts(i) for i in range(3)], [targets(i) for i in range(3)], contexts(3)
    alone, together = ([build_member(seed) for seed in range(3)] for _ in range(2))
    with where[0].cost.phase("train"):
        for member, encoded, target, context in zip(alone, sets, data, where, strict=True):
            engine.train(member, encoded, target, recipe, context)
        train_stack(together, sets, data, recipe, where)
    return list(zip(alone, together, strict=True))


def difference(one: Prepared, other: Prepared) -> float:
    """The largest difference of two members' weights, buffers and predictions."""
    cost = CostMeter()
    with cost.phase("test"):
        logits = [engine.predict(member, texts(9), cost) for member in (one, other)]
    states = [[value.double() for value in member.module.state_dict().values()] for member in (one, other)]
    pairs = [*zip(*states, strict=True), logits]
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_ends_as_it_would_alone(kind):
    pairs = trained_both_ways(lambda seed: ready(kind, seed), RECIPE)
    assert (weights(pairs[0][0]) - weights(ready(kind, 0))).abs().max() > 0.01
    assert max(difference(*pair) for pair in pairs) < 1e-4


def test_members_of_a_stack_with_one_step_move_alike():
    # AdamW's first step is the sign of the gradient times the rate, but for gradients near its epsilon: there rounding shows.
    one_step = Recipe(64, 1, 8, 1e-3, 0.1, 1.0, 0.0)
    assert max(difference(*p) for p in trained_both_ways(lambda seed: ready("mean pooled", seed), one_step)) < 1e-5


def test_dropout_in_bfloat16_trains_and_differs_between_members():
    same, where = [texts(0)] * 2, contexts(2)
    members = [ready("mean pooled", 0, torch.bfloat16, p=0.3) for _ in range(2)]
    with where[0].cost.phase("train"):
        train_stack(members, same, [targets(0)] * 2, Recipe(64, 60, 12, 3e-3, 0.0, 1.0, 0.5), [where[0], where[0]])
        first, second = (engine.predict(member, same[0], where[0].cost) for member in members)
    assert not torch.equal(first, second)
    assert (first.argmax(1).numpy() == targets(0).text.labels_N).mean() > 0.9
    assert where[0].cost.phases[0].flops


def test_a_model_that_reads_numbers_out_of_tensors_is_not_stacked_and_keeps_its_weights():
    members, where = [ready("bilstm", seed) for seed in range(2)], contexts(2)
    before, table = weights(members[0]).clone(), members[0].module.get_submodule("table")
    with pytest.raises(NotStackable), where[0].cost.phase("train"):
        train_stack(members, [texts(0), texts(1)], [targets(0), targets(1)], RECIPE, where)
    assert torch.equal(weights(members[0]), before)
    assert members[0].module.get_submodule("table") is table


def test_sets_of_different_size_are_not_stacked():
    members, where = [ready("textcnn", seed) for seed in range(2)], contexts(2)
    with pytest.raises(NotStackable, match="size"), where[0].cost.phase("train"):
        train_stack(members, [texts(0), texts(1, 9)], [targets(0), targets(1, 9)], RECIPE, where)


def test_a_model_whose_texts_reach_each_other_is_found_out():
    class Mixing(TextCNN):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
            return super().forward(input_ids, attention_mask) * input_ids.shape[1]

    members = [Prepared(Mixing(torch.randn(60, 16), 3, (2, 3), 5, 0.0), "cpu", torch.float32) for _ in range(2)]
    where = contexts(2)
    with pytest.raises(NotStackable, match="differ"), where[0].cost.phase("train"):
        train_stack(members, [texts(0), texts(1)], [targets(0), targets(1)], RECIPE, where)


def test_running_statistics_come_back_from_a_stack():
    class Normed(TextCNN):
        def __init__(self) -> None:
            super().__init__(torch.randn(60, 16), 3, (2, 3), 5, 0.0)
            self.norm = torch.nn.BatchNorm1d(3)

        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            scores_BC = super().forward(*args, **kwargs)
            return scores_BC + self.norm(scores_BC)

    def member(seed: int) -> Prepared:
        torch.manual_seed(seed)
        return Prepared(Normed(), "cpu", torch.float32)

    pairs = trained_both_ways(member, RECIPE)
    assert pairs[0][1].module.get_buffer("norm.running_var").sub(1).abs().max() > 0.01
    assert max(difference(*pair) for pair in pairs) < 1e-4


def test_members_that_differ_in_more_than_parameters_are_found_out():
    class Projected(TextCNN):
        def __init__(self, seed: int) -> None:
            super().__init__(torch.ones(60, 16), 3, (2, 3), 5, 0.0)
            self.factor = float(seed + 1)

        def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return super().forward(*args, **kwargs) * self.factor

    members, where = [Prepared(Projected(seed), "cpu", torch.float32) for seed in range(2)], contexts(2)
    with pytest.raises(NotStackable, match="differ"), where[0].cost.phase("train"):
        train_stack(members, [texts(0), texts(1)], [targets(0), targets(1)], RECIPE, where)


class Toy(TorchLearner):
    """A learner on made-up tokens."""

    name = "toy"
    kind = "textcnn"

    def tokenizer(self, train: TrainingSet) -> Any:
        def tokenize(fields: dict[str, list[str]], _: int) -> Encoded:
            return texts(len(fields["text"][0]), len(fields["text"]))

        tokenize.identity = "toy"  # type: ignore[attr-defined]
        return tokenize

    def module(self, n_classes: int, notes: list[str]) -> torch.nn.Module:
        made = build(self.kind, torch.initial_seed())
        made.float32_only = True  # type: ignore[assignment]
        return made


def test_a_learner_predicts_the_same_alone_and_in_a_stack():
    trains, test, where = [targets(i) for i in range(3)], targets(5).text, contexts(3)
    stacked = Toy().fit_predict_stack(trains, test, RECIPE, where)
    assert stacked is not None
    for train, context, scores in zip(trains, where, stacked, strict=True):
        assert np.abs(Toy().fit_predict(train, test, RECIPE, context) - scores).max() < 1e-4
    assert Toy().fit_predict_stack(trains[:1], test, RECIPE, where[:1]) is None


def test_a_learner_that_does_not_stack_says_why_in_the_log(caplog):
    class Recurrent(Toy):
        kind = "bilstm"

    with caplog.at_level(logging.WARNING):
        assert Recurrent().fit_predict_stack([targets(0), targets(1)], targets(5).text, RECIPE, contexts(2)) is None
    assert "one by one" in caplog.text


def test_a_stack_that_does_not_fit_is_halved_and_says_so(monkeypatch):
    sizes = []

    def hungry(members: list[Prepared], *rest: Any) -> None:
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("full")
        train_stack(members, *rest)

    monkeypatch.setattr("tdbench.bench.training.stacked.train_stack", hungry)
    where = contexts(5)
    made = Toy().fit_predict_stack([targets(i) for i in range(5)], targets(5).text, RECIPE, where)
    assert made is not None
    assert [scores.shape for scores in made] == [(12, 3)] * 5
    assert sizes == [5, 2, 3, 2]
    assert [context.notes[-1] for context in where] == ["trained in a stack of 2"] * 2 + [
        "out of memory: no stack of 3"
    ] + ["trained in a stack of 2"] * 2
