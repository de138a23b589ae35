"""The recipe, the batches, the optimiser, and every kind of learner on toy texts."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
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

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet, RowSelection
from tdbench.bench.registry import LEARNERS
from tdbench.bench.training.batches import Encoded, training_batches
from tdbench.bench.training.modules import BiLSTM, MeanPooled, TextCNN, load_backbone, load_classifier
from tdbench.bench.training.optimiser import MasterAdamW, TableRows
from tdbench.bench.training.prepared import Prepared
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.resolve import resolve_learner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

pytestmark = pytest.mark.usefixtures("one_thread")
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


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 100), st.booleans())
@settings(max_examples=100, deadline=None)
def test_chunks_cover_every_text_once_longest_first_within_the_token_bound(lengths, max_tokens, packs):
    ready = Prepared(nn.Linear(1, 1), "cpu")
    ready.packs = packs
    chunks = ready.chunks(np.array(lengths), max_tokens)
    assert sorted(np.concatenate(chunks)) == list(range(len(lengths)))
    assert [lengths[i] for chunk in chunks for i in chunk] == sorted(lengths, reverse=True)
    sizes = [[lengths[i] for i in chunk] for chunk in chunks]
    assert all(sum(ready.widths(np.array(size))) <= max_tokens for size in sizes if len(size) > 1)
    fuller = [[*size, after[0]] for size, after in pairwise(sizes)]  # every chunk holds as many texts as fit
    assert all(sum(ready.widths(np.array(size))) > max_tokens for size in fuller)


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
    made = RowSelection(np.array([1, 0]), np.array([3, 0]), soft_labels_MC=soft, weights_M=np.array([1, 3], np.float32))
    train = TrainingSet.of(made, real)
    assert train.text.joined() == [real.joined()[3], real.joined()[0]]
    assert train.targets_MC.tolist() == soft.tolist()
    assert train.weights_M.tolist() == [0.5, 1.5]
    assert hard(real).targets_MC.tolist() == np.eye(2)[real.labels_N].tolist()
    assert (hard(real).only_class, hard(real.take([1, 3])).only_class) == (None, 1)


@pytest.mark.parametrize("members", [None, 3])
def test_optimiser_steps_are_torchs_adamw_after_clipping_every_model_apart(members):
    recipe, shapes = Recipe(8, 40, 8, 1e-2, 0.3, 1.0, 0.25), [(4, 3), (5,), (2, 3, 2), (1,)]
    torch.manual_seed(0)
    models = [[nn.Parameter(torch.randn(shape)) for shape in shapes] for _ in range(members or 1)]
    stacked = [nn.Parameter(torch.stack(ws) if members else ws[0].clone()) for ws in zip(*models, strict=True)]
    ours, theirs = MasterAdamW(stacked, recipe, members), []
    for weights in models:
        matrices, vectors = [w for w in weights if w.ndim > 1], [w for w in weights if w.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
        theirs.append(torch.optim.AdamW(groups, fused=False, foreach=False))
    clipped = set()
    for step in range(recipe.steps):
        gradients = [
            [torch.randn(shape) * 10 ** ((step + i) % 3 - 1.5) for shape in shapes] for i in range(len(models))
        ]
        for weight, parts in zip(stacked, zip(*gradients, strict=True), strict=True):
            weight.grad = torch.stack(parts) if members else parts[0].clone()
        ours.step(step)
        assert all(weight.grad is None for weight in stacked)
        for weights, parts, theirs_of_one in zip(models, gradients, theirs, strict=True):
            for weight, part in zip(weights, parts, strict=True):
                weight.grad = part
            clipped.add(float(nn.utils.clip_grad_norm_(weights, 1.0)) > 1)
            for group in theirs_of_one.param_groups:
                group["lr"] = recipe.lr_at(step)
            theirs_of_one.step()
    assert clipped == {True, False}
    for weight, expected in zip(stacked, zip(*models, strict=True), strict=True):
        assert torch.allclose(weight, torch.stack(expected).view_as(weight), atol=1e-6)


def test_masters_of_bfloat16_weights_gather_steps_too_small_for_them():
    recipe = Recipe(8, 400, 8, 5e-5, 0.0, 1.0, 0.1)
    coarse, fine = (nn.Parameter(torch.ones(6, 4, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32))
    for weight in (coarse, fine):
        optimiser = MasterAdamW([weight], recipe)
        for step in range(recipe.steps):
            weight.grad = torch.ones_like(weight)
            optimiser.step(step)
            assert step > 20 or weight is fine or bool((weight == 1).all())
    assert float(fine.detach().max()) < 1 - 2 * 2**-8
    assert coarse.dtype is torch.bfloat16
    assert torch.equal(coarse, fine.bfloat16())


def test_weights_without_a_gradient_are_left_as_they_are():
    weights = [nn.Parameter(torch.ones(3, 3), requires_grad=i < 2) for i in range(3)]
    optimiser = MasterAdamW(weights, Recipe(8, 5, 8, 0.1, 0.5, 1.0, 0.0))
    for step in range(5):
        weights[0].grad = torch.ones(3, 3)
        optimiser.step(step)
    assert [bool((weight == 1).all()) for weight in weights] == [False, True, True]


@pytest.mark.parametrize("kind", ["own", "same weight", "same table", "frozen"])
def test_a_table_that_is_tied_or_frozen_is_left_alone(kind):
    module: Any = TextCNN(torch.randn(20, 6), 3, (2,), 5, dropout=0.0)
    if kind == "same weight":
        module.words = nn.Linear(6, 20)
        module.words.weight = module.table.weight
    elif kind == "same table":
        module.other = module.table
    module.table.requires_grad_(kind != "frozen")
    assert (Prepared(module, "cpu").narrow_table(encoded([5, 6])) is None) is (kind != "own")
    assert isinstance(module.table, TableRows if kind == "own" else nn.Embedding)


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


@pytest.mark.parametrize("name", ["textcnn", "bilstm", "mean pooled", "bert", "gpt2", "llama"])
def test_padding_does_not_reach_a_text(folders, name):
    torch.manual_seed(0)
    module: nn.Module
    if name == "textcnn":
        module = TextCNN(torch.randn(12, 6), 3, (3, 4, 5), 20, dropout=0.5)
    elif name == "bilstm":
        module = BiLSTM(torch.randn(12, 6), 3, 5, dropout=0.5)
    elif name == "mean pooled":
        module = MeanPooled(load_backbone(str(folders["bert"])))
    else:
        module = load_classifier(str(folders[name]), 3)
    texts = encoded([5, 6, 7], [8, 9, 10, 11, 5, 6, 7, 8, 9], [9], [6, 7], [11, 5, 6, 7])
    with torch.inference_mode():
        rows = [module.eval()(**texts.collate(np.array(r), "cpu")) for r in (range(5), [0], [1], [2], [3], [4])]
    together, *alone = [getattr(row, "logits", row) for row in rows]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-4)
