"""The recipe, the batches, the engine against a plain loop, and every kind of learner on toy texts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)
from transformers.utils import logging

from bench.canonical import seed_from
from bench.cost import CostMeter
from bench.data.text import LabelledText
from bench.distilled import DistilledSet
from bench.registry import LEARNERS
from bench.training import engine
from bench.training.batches import Encoded, length_sorted_batches, training_batches
from bench.training.learner import TrainContext, TrainingSet
from bench.training.modules import BiLSTM, MeanPooled, TextCNN, load_backbone, load_classifier
from bench.training.recipe import Recipe
from bench.training.resolve import resolve_learner

RECIPE = Recipe(max_length=24, steps=60, batch_size=8, lr=5e-3, weight_decay=0.01, clip_norm=1.0, warmup_frac=0.1)
WORDS = ["good", "great", "bad", "awful", "film", "the", "a", "very", "##s"]


def toy(n_rows: int, fields: int = 1) -> LabelledText:
    labels = np.arange(n_rows) % 2
    texts = [("great good film" if label else "awful bad film") + " the" * (i % 5) for i, label in enumerate(labels)]
    columns = {"text": texts} if fields == 1 else {"first": ["a film"] * n_rows, "second": texts}
    return LabelledText(columns, labels, ("negative", "positive"), np.arange(n_rows))


def hard(text: LabelledText) -> TrainingSet:
    return TrainingSet.of(DistilledSet.from_rows(text, np.arange(len(text))), text)


def context(seed: int = 0) -> TrainContext:
    return TrainContext(seed, "cpu", CostMeter())


def encoded(*rows: list[int], pad_id: int = 0) -> Encoded:
    return Encoded([np.array(row, dtype=np.int64) for row in rows], pad_id)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.5), (60, 0.1), (7, 0.3), (30, 0.0), (1, 0.5)])
def test_the_rate_rises_to_its_peak_and_follows_the_usual_cosine_to_almost_zero(steps, warmup):
    recipe = Recipe(8, steps, 8, 2e-3, 0.0, 1.0, warmup)
    rates = [recipe.lr_at(step) for step in range(steps)]
    first = math.ceil(warmup * steps)  # first step after the warm-up
    assert all(0 < rate <= 2e-3 for rate in rates)
    assert np.allclose(np.diff(rates[:first], 2), 0, atol=1e-9)
    assert all(np.diff(rates[: first + 1]) > 0) or warmup * steps % 1
    assert all(np.diff(rates[first:]) < 0)
    if warmup * steps % 1 == 0:
        optimiser = torch.optim.SGD([torch.zeros(1)], lr=2e-3)
        scheduler = get_cosine_schedule_with_warmup(optimiser, first, steps)
        assert rates[first:] == pytest.approx([2e-3 * scheduler.lr_lambdas[0](s) for s in range(first, steps)])
        assert rates[first] == 2e-3
    if steps >= 60:
        assert rates[-1] < 0.002 * 2e-3


@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_training_batches_have_one_size_and_hold_every_row_once_an_epoch(n_rows, batch_size, steps, seed):
    batches = list(training_batches(n_rows, batch_size, steps, np.random.default_rng(seed)))
    assert [len(batch) for batch in batches] == [min(batch_size, n_rows)] * steps
    stream = np.concatenate(batches)
    for start in range(0, len(stream) - n_rows + 1, n_rows):
        assert sorted(stream[start : start + n_rows]) == list(range(n_rows))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_length_sorted_batches_cover_every_text_once_within_the_token_bound(lengths, max_tokens):
    texts = encoded(*([1] * n for n in lengths))
    batches = list(length_sorted_batches(texts, max_tokens))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= max_tokens for b in batches)
    assert [lengths[i] for b in batches for i in b] == sorted(lengths, reverse=True)


def test_collating_pads_on_the_right_and_masks_the_padding():
    rows = [[5, 6, 7], [8], [9, 9]]
    made = Encoded([np.array(r) for r in rows], pad_id=3, type_ids=[np.array([0] * (len(r) - 1) + [1]) for r in rows])
    batch = made.collate(np.array([1, 0]), "cpu")
    assert batch["input_ids"].tolist() == [[8, 3, 3], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch["token_type_ids"].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert set(encoded([1]).collate(np.array([0]), "cpu")) == {"input_ids", "attention_mask"}


def test_a_training_set_has_one_hot_targets_unless_labels_are_soft_and_weights_of_mean_one():
    real = toy(6)
    soft = np.array([[0.25, 0.75], [1, 0]], dtype=np.float32)
    made = DistilledSet(np.array([1, 0]), np.array([3, 0]), soft_labels_MC=soft, weights_M=np.array([1, 3], np.float32))
    train = TrainingSet.of(made, real)
    assert train.text.joined() == [real.joined()[3], real.joined()[0]]
    assert train.targets_MC.tolist() == soft.tolist()
    assert train.weights_M.tolist() == [0.5, 1.5]
    assert hard(real).targets_MC.tolist() == np.eye(2)[real.labels_N].tolist()
    assert (hard(real).only_class, hard(real.take([1, 3])).only_class) == (None, 1)


def plain_loop(module: torch.nn.Module, texts: Encoded, data: TrainingSet, recipe: Recipe, seed: int) -> None:
    """AdamW written out (Loshchilov and Hutter, 2019, algorithm 2)."""
    rng = np.random.default_rng(seed_from(seed, "batches"))
    size, stream = min(recipe.batch_size, len(texts)), []
    weights = list(module.parameters())
    first, second = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights]
    for step in range(recipe.steps):
        while len(stream) < size:
            stream += rng.permutation(len(texts)).tolist()
        rows, stream = stream[:size], stream[size:]
        logits = module(**texts.collate(np.array(rows), "cpu"))
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(data.targets_MC[rows]), reduction="none")
        gradients = torch.autograd.grad((losses * torch.tensor(data.weights_M[rows])).sum() / size, weights)
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        rate = recipe.lr_at(step)
        clipped = [g * min(1.0, recipe.clip_norm / float(norm)) for g in gradients]
        with torch.no_grad():
            for w, g, m, v in zip(weights, clipped, first, second, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g**2)
                if w.ndim >= 2:
                    w.mul_(1 - rate * recipe.weight_decay)
                w.sub_(rate * (m / (1 - 0.9 ** (step + 1))) / (torch.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8))


class Linear(torch.nn.Module):
    """Mean of word vectors, a scale for each, and a linear head."""

    float32_only = True

    def __init__(self) -> None:
        super().__init__()
        self.table, self.scale, self.head = torch.nn.Embedding(20, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        words = self.table(input_ids) * attention_mask.unsqueeze(-1)
        return self.head(self.scale(words.sum(1) / attention_mask.sum(1, keepdim=True)))


def cnn() -> torch.nn.Module:
    module = TextCNN(torch.randn(20, 6), 3, (2, 3), 5, dropout=0.0)
    module.float32_only = True  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("build", [Linear, cnn])
@pytest.mark.parametrize("kind", ["hard", "soft and weighted"])
@pytest.mark.parametrize(("batch_size", "clip_norm"), [(4, 1.0), (64, 0.05)])
def test_the_engine_takes_the_same_steps_as_a_plain_loop(build, kind, batch_size, clip_norm):
    rng = np.random.default_rng(0)
    texts = encoded(*(rng.integers(1, 20, size=n).tolist() for n in rng.integers(2, 9, size=10)))
    targets = np.eye(3)[rng.integers(0, 3, 10)] if kind == "hard" else rng.dirichlet(np.ones(3), 10)
    weights = np.ones(10) if kind == "hard" else rng.uniform(0.2, 2, 10)
    data = TrainingSet(toy(10), targets.astype(np.float32), (weights / weights.mean()).astype(np.float32))
    recipe = Recipe(16, 20, batch_size, 1e-2, 0.1, clip_norm, 0.5)
    made = []
    for trainer in (engine.train, plain_loop):
        torch.manual_seed(0)
        module = build()
        before = torch.cat([w.detach().flatten().clone() for w in module.parameters()])
        where = context(seed=7)
        with where.cost.phase("train"):
            trainer(module, texts, data, recipe, where if trainer is engine.train else 7)  # type: ignore[operator]
        made.append(torch.cat([w.detach().flatten() for w in module.parameters()]))
    assert (made[0] - before).abs().max() > 0.05
    assert (made[0] - made[1]).abs().max() < 1e-5


def test_many_texts_come_back_in_their_own_order_and_the_module_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(engine, "MAX_TOKENS", 12)
    module = Linear().train()
    texts = encoded([1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13])
    meter = CostMeter()
    with meter.phase("predict"):
        together = engine.run_batches(module, texts, "cpu", meter)
        alone = [engine.run_batches(module, encoded(row.tolist()), "cpu", meter)[0] for row in texts.ids]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)
    assert meter.phases[0].flops > 0


def predictions(learner: Any, seed: int = 0, train: TrainingSet | None = None, fields: int = 1) -> np.ndarray:
    return learner.fit_predict(train or hard(toy(12, fields)), toy(40, fields), RECIPE, context(seed))


def accuracy(scores_NC: np.ndarray) -> float:
    return float((scores_NC.argmax(axis=1) == toy(40).labels_N).mean())


def word_learner(name: str) -> Any:
    return LEARNERS.get(name)(LEARNERS.get(name).Config(vectors="none"))


@pytest.mark.parametrize("name", ["textcnn", "bilstm"])
@pytest.mark.parametrize("fields", [1, 2])
def test_a_word_learner_without_pretrained_vectors_fits_a_separable_set(name, fields):
    assert accuracy(predictions(word_learner(name), fields=fields)) == 1.0
    assert word_learner(name).identity()["vectors"] == "random word table"


@pytest.mark.parametrize("name", ["textcnn", "bilstm"])
def test_a_seed_decides_the_scores_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = predictions(word_learner(name), seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert np.array_equal(predictions(word_learner(name), seed=3), first)
    assert not np.array_equal(predictions(word_learner(name), seed=4), first)
    still = replace(RECIPE, steps=1, lr=1e-12)  # the initial weights differ too
    made = [word_learner(name).fit_predict(hard(toy(12)), toy(5), still, context(seed)) for seed in (0, 1)]
    assert not np.allclose(*made, atol=1e-3)


def test_the_bag_of_words_learner_fits_hard_and_soft_labels():
    learner, text = resolve_learner("bow-logreg"), toy(12)
    scores = predictions(learner)
    assert accuracy(scores) == 1.0
    flipped = TrainingSet(text, np.eye(2, dtype=np.float32)[1 - text.labels_N] * 0.8 + 0.1, np.ones(12, np.float32))
    assert accuracy(predictions(learner, train=flipped)) == 0.0
    sure = np.abs(np.diff(scores)).mean()
    assert 0 < np.abs(np.diff(predictions(learner, train=flipped))).mean() < sure  # soft labels temper the scores


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models with tokenizers of their own."""
    logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("models")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [("[CLS]", 2), ("[SEP]", 3)]
    pieces.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", marks)
    letters = {c: i for i, c in enumerate(["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bpe = Tokenizer(models.BPE(letters, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    size: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    long: dict[str, Any] = {**size, "intermediate_size": 32, "max_position_embeddings": 64}
    ends: dict[str, Any] = {"vocab_size": len(letters), "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    made = {
        "bert": BertModel(BertConfig(vocab_size=len(vocabulary), **long)),
        "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64, **ends)),
        "llama": LlamaForCausalLM(LlamaConfig(**long, **ends)),
    }
    for name, model in made.items():
        fast = {"tokenizer_object": pieces, **special} if name == "bert" else {"tokenizer_object": bpe}
        PreTrainedTokenizerFast(**fast, **({} if name == "bert" else {"eos_token": "<|end|>"})).save_pretrained(
            root / name
        )
        model.save_pretrained(root / name)
    return {name: root / name for name in made}


@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_a_model_folder_trains_and_predicts(folders, name, fields):
    learner = resolve_learner(f"hf:{folders[name]}")
    assert learner.available() is None
    assert accuracy(predictions(learner, fields=fields)) == 1.0


@pytest.mark.parametrize("name", ["bilstm", "mean pooled", "bert", "gpt2", "llama"])
def test_padding_does_not_reach_a_text(folders, name):
    torch.manual_seed(0)
    if name == "bilstm":
        module: torch.nn.Module = BiLSTM(torch.randn(12, 6), 3, 5, dropout=0.5)
    elif name == "mean pooled":
        module = MeanPooled(load_backbone(str(folders["bert"])))
    else:
        module = load_classifier(str(folders[name]), 3)
    texts = encoded([5, 6, 7], [8, 9, 10, 11, 5, 6, 7, 8, 9], [9])
    with torch.inference_mode():
        rows = [module.eval()(**texts.collate(np.array(r), "cpu")) for r in ([0, 1, 2], [0], [1], [2])]
    together, *alone = [getattr(row, "logits", row) for row in rows]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 4, 6])
def test_textcnn_ignores_padding(length):
    from bench.training.modules import TextCNN

    torch.manual_seed(0)
    model = TextCNN(torch.randn(50, 16), n_classes=4, widths=(3, 4, 5), filters=20, dropout=0.0).eval()
    alone_BL = torch.randint(1, 50, (1, length))
    padded_BL = torch.zeros(1, 29, dtype=torch.long)
    padded_BL[:, :length] = alone_BL
    mask_BL = (padded_BL > 0).long()
    torch.testing.assert_close(model(alone_BL, torch.ones_like(alone_BL)), model(padded_BL, mask_BL))
