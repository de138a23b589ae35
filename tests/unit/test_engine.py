"""The engine against an ordinary padded PyTorch loop: whole runs, and its shortcuts one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertModel

from tdbench.bench.canonical import seed_from
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.training import engine
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.dropout import CheapDropout
from tdbench.bench.training.modules import MeanPooledClassifier, TextCNN
from tdbench.bench.training.prepared import Prepared, cpu_has_bf16
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.training_set import TrainContext, TrainingSet

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH_WAYS = pytest.mark.parametrize("packs", [True, False], ids=["packs", "pads"])
LENGTHS = [7, 1, 33, 5, 64, 5, 32, 65, 70, 31, 2]


def recipe(steps: int = 40, batch_size: int = 6, lr: float = 2e-3, clip_norm: float = 1.0) -> Recipe:
    return Recipe(80, steps, batch_size, lr, 0.1, clip_norm, 0.3)


def dataset(n_rows: int, kind: str = "hard") -> TrainingSet:
    rng = np.random.default_rng(1)
    targets = np.eye(3)[rng.integers(0, 3, n_rows)] if kind == "hard" else rng.dirichlet(np.ones(3), n_rows)
    weights = np.ones(n_rows) if kind == "hard" else rng.uniform(0.2, 2, n_rows)
    text = LabelledText({"text": ["x"] * n_rows}, targets.argmax(axis=1), ("a", "b", "c"), np.arange(n_rows))
    return TrainingSet(text, targets.astype(np.float32), (weights / weights.mean()).astype(np.float32))


def train(
    ready: Prepared,
    texts: Encoded,
    data: TrainingSet,
    how: Recipe,
    tick: Callable[[float], None] = lambda _: None,
    seed: int = 7,
) -> TrainContext:
    ctx = TrainContext(seed, "cpu", CostMeter(), tick)
    with ctx.cost.phase("train"):
        engine.train(ready, texts, data, how, ctx)
    return ctx


def predict(ready: Prepared, texts: Encoded) -> torch.Tensor:
    meter = CostMeter()
    with meter.phase("predict"):
        return engine.predict(ready, texts, meter)


def mean_loss(logits: torch.Tensor, data: TrainingSet, rows: Any = slice(None)) -> torch.Tensor:
    losses = nn.functional.cross_entropy(logits, torch.tensor(data.targets_MC[rows]), reduction="none")
    return (losses * torch.tensor(data.weights_M[rows])).mean()


def plain_loop(
    module: nn.Module, texts: Encoded, data: TrainingSet, how: Recipe, tick: Callable[[float], None] = lambda _: None
) -> None:
    rng, stream = np.random.default_rng(seed_from(7, "batches")), []
    weights = list(module.parameters())
    matrices, vectors = [w for w in weights if w.ndim >= 2], [w for w in weights if w.ndim < 2]
    groups = [{"params": matrices, "weight_decay": how.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, fused=False, foreach=False)
    size = min(how.batch_size, len(texts))
    for step in range(how.steps):
        while len(stream) < size:
            stream += rng.permutation(len(texts)).tolist()
        rows, stream = stream[:size], stream[size:]
        optimiser.zero_grad()
        mean_loss(module(**texts.collate(np.array(rows), "cpu")), data, rows).backward()
        nn.utils.clip_grad_norm_(weights, how.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = how.lr_at(step)
        optimiser.step()
        tick((step + 1) / how.steps)


@pytest.mark.parametrize(
    ("architecture", "head", "kind", "pairs"),
    [
        ("bert", "mean", "hard", False),
        ("bert", "native", "soft and weighted", True),
        ("roberta", "native", "hard", False),
        ("roberta", "mean", "soft and weighted", True),
        ("distilbert", "mean", "soft and weighted", False),
        ("distilbert", "native", "hard", False),
    ],
)
def test_a_whole_run_on_packed_texts_follows_a_plain_padded_loop(tiny, architecture, head, kind, pairs):
    module = tiny.build(architecture, head).train()
    texts, data = tiny.texts(architecture, LENGTHS, pairs, top=40), dataset(len(LENGTHS), kind)
    fresh, losses, ready = tiny.texts(architecture, [3, 40, 1, 66], pairs, seed=5), [], tiny.prepare(module)
    before = tiny.padded(module, fresh).detach()

    def watch(score: Callable[..., Any], model: Any) -> Callable[[float], None]:
        return lambda _: losses.append(float(mean_loss(score(model, texts), data).detach()))

    train(ready, texts, data, recipe(), watch(tiny.packed, ready))
    plain_loop(module, texts, data, recipe(), watch(tiny.padded, module))
    assert losses[:40] == pytest.approx(losses[40:], abs=1e-4)
    assert losses[-1] < 0.8 * losses[40]
    after = tiny.padded(module.eval(), fresh).detach()
    assert (after - before).abs().max() > 0.1
    assert (predict(ready, fresh) - after).abs().max() < 1e-4


class Linear(nn.Module):
    """Mean of word vectors, a scale for each, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.scale, self.head = nn.Embedding(20, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        words = self.table(input_ids) * attention_mask.unsqueeze(-1)
        return self.head(self.scale(words.sum(1) / attention_mask.sum(1, keepdim=True)))


def cnn() -> nn.Module:
    return TextCNN(torch.randn(20, 6), 3, (2, 3), 5, dropout=0.0)


@pytest.mark.parametrize("build", [Linear, cnn])
@pytest.mark.parametrize("kind", ["hard", "soft and weighted"])
@pytest.mark.parametrize(("batch_size", "clip_norm"), [(4, 1.0), (64, 0.05)])
def test_weights_of_a_module_that_pads_take_the_steps_of_a_plain_loop(tiny, build, kind, batch_size, clip_norm):
    torch.manual_seed(0)
    module, how = build(), recipe(20, batch_size, 1e-2, clip_norm)
    texts, data = tiny.texts("bert", [2, 5, 8, 3, 3, 7, 2, 6, 4, 8], top=20), dataset(10, kind)
    before, ready = nn.utils.parameters_to_vector(module.parameters()).detach(), tiny.prepare(module)
    assert not ready.packs
    train(ready, texts, data, how)
    plain_loop(module, texts, data, how)
    weights = nn.utils.parameters_to_vector(ready.module.parameters())
    assert (weights - before).abs().max() > 0.05
    assert (weights - nn.utils.parameters_to_vector(module.parameters())).abs().max() < 1e-5


@BOTH_WAYS
def test_micro_batches_add_up_to_the_batch(tiny, monkeypatch, packs):
    module, texts, data = tiny.build("bert", "mean"), tiny.texts("bert", LENGTHS), dataset(len(LENGTHS), "soft")
    made, sizes = [], []
    for max_tokens in (10_000, 70):
        monkeypatch.setitem(engine.TRAIN_TOKENS, "cpu", max_tokens)
        made.append(tiny.prepare(module, packed=packs))
        assert made[-1].packs is packs
        made[-1].module.register_forward_hook(lambda _, __, logits: sizes.append(len(logits)))
        assert train(made[-1], texts, data, recipe(3, 11)).notes == []
    assert sizes[:3] == [11, 11, 11]
    assert sum(sizes[3:]) == 33
    assert len(sizes[3:]) >= 3 * 5
    assert tiny.gap(*(predict(ready, texts) for ready in made)) < 1e-6


@BOTH_WAYS
def test_texts_come_back_in_their_own_order_whatever_the_size_of_the_batches(tiny, monkeypatch, packs):
    module, texts = tiny.build("roberta", "native"), tiny.texts("roberta", LENGTHS, pairs=True)
    ready, ticks, meter = tiny.prepare(module, packed=packs), [], CostMeter()
    together = predict(ready, texts)
    monkeypatch.setitem(engine.PREDICT_TOKENS, "cpu", 70)
    with meter.phase("predict"):
        apart = engine.predict(ready, texts, meter, ticks.append)
    assert tiny.gap(together, tiny.padded(module.eval(), texts)) < 1e-6
    assert tiny.gap(apart, together) < 1e-6
    assert len(ticks) >= 5
    assert ticks == sorted(ticks)
    assert ticks[-1] == 1


def test_predicting_no_texts_is_an_error():
    with pytest.raises(ValueError, match="no texts"):
        predict(Prepared(Linear(), "cpu"), Encoded([], 0))


@BOTH_WAYS
@pytest.mark.skipif(not cpu_has_bf16(), reason="this processor does not multiply bfloat16")
def test_a_whole_run_in_bfloat16_ends_near_one_in_float32(tiny, packs):
    module, texts, data = tiny.build("bert", "mean"), tiny.texts("bert", LENGTHS), dataset(len(LENGTHS))
    scores = []
    for dtype in ("float32", "bfloat16"):
        ready = tiny.prepare(module, dtype, packs)
        train(ready, texts, data, recipe())
        assert ready.packs is packs
        scores.append(predict(ready, texts))
    assert scores[1].dtype is torch.float32
    assert 1e-4 < tiny.gap(scores[1], scores[0]) < 0.1
    assert tiny.gap(predict(tiny.prepare(module), texts), scores[0]) > 0.5


@BOTH_WAYS
@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_training_only_the_rows_in_use_is_training_the_whole_table(tiny, monkeypatch, architecture, head, packs):
    module, data, how = tiny.build(architecture, head), dataset(len(LENGTHS)), recipe(20)
    texts, fresh = tiny.texts(architecture, LENGTHS, top=30), tiny.texts(architecture, LENGTHS, seed=3)
    narrowed, full, rows = tiny.prepare(module, packed=packs), tiny.prepare(module, packed=packs), []
    train(narrowed, texts, data, how, lambda _: rows.append([len(w) for w in narrowed.module.parameters()]))
    assert 60 not in {n for sizes in rows for n in sizes}
    assert all(29 in sizes for sizes in rows)  # 28 ids and the padding
    monkeypatch.setattr(Prepared, "narrow_table", lambda *_: None)
    train(full, texts, data, how)
    before, after, expected = (next(m.parameters()).detach() for m in (module, narrowed.module, full.module))
    assert [n for n, _ in narrowed.module.named_parameters()] == [n for n, _ in full.module.named_parameters()]
    decay = float(np.prod([1 - how.lr_at(step) * how.weight_decay for step in range(20)]))
    assert decay < 0.998
    assert torch.allclose(after[30:], before[30:] * decay, rtol=1e-6, atol=0)
    assert tiny.gap(after, expected) < 1e-6
    assert tiny.gap(predict(narrowed, fresh), predict(full, fresh)) < 1e-6


def crowd(ready: Prepared, most: int) -> Prepared:
    """Lets a module run out of memory on more than `most` texts."""

    def refuse(_: nn.Module, __: Any, batch: dict[str, Any]) -> None:
        if len(getattr(batch["input_ids"], "order_B", batch["input_ids"])) > most:
            raise torch.OutOfMemoryError("crowded")

    ready.module.register_forward_pre_hook(refuse, with_kwargs=True)
    return ready


@BOTH_WAYS
@pytest.mark.parametrize("most", [1, 2])
def test_running_out_of_memory_makes_smaller_batches_of_the_same_result(tiny, packs, most):
    module, texts, data = tiny.build("bert", "mean"), tiny.texts("bert", [5, 6, 7, 5, 6, 7, 5]), dataset(7)
    roomy, tight = tiny.prepare(module, packed=packs), crowd(tiny.prepare(module, packed=packs), most)
    untrained = predict(roomy, texts)
    assert tiny.gap(predict(tight, texts), untrained) < 1e-6
    assert train(roomy, texts, data, recipe(4, 7)).notes == []
    notes = train(tight, texts, data, recipe(4, 7)).notes
    assert notes
    assert all(re.fullmatch(r"out of memory: micro-batches of at most \d+ tokens", note) for note in notes)
    assert tiny.gap(predict(tight, texts), predict(roomy, texts)) < 1e-6
    assert tiny.gap(predict(roomy, texts), untrained) > 1e-3


@BOTH_WAYS
def test_a_single_text_that_does_not_fit_is_an_error(tiny, packs):
    ready = crowd(tiny.prepare(tiny.build("bert", "native"), packed=packs), 0)
    texts = tiny.texts("bert", [5, 6, 7])
    with pytest.raises(torch.OutOfMemoryError, match="one text at a time"):
        train(ready, texts, dataset(3), recipe(2))
    with pytest.raises(torch.OutOfMemoryError):
        predict(ready, texts)


@BOTH_WAYS
def test_operations_are_those_of_the_tokens_processed(tiny, packs):
    config = tiny.build("bert", "features").config
    ready = tiny.prepare(MeanPooledClassifier(BertModel(config, add_pooling_layer=False), 3, 0.0), packed=packs)
    texts, meter = tiny.texts("bert", [3, 10, 4]), CostMeter()
    with meter.phase("predict"):
        engine.predict(ready, texts, meter)
    # Every token meets four square matrices, two of the feed-forward part, and the head; every pair a score and a sum.
    per_token, per_pair = 2 * (2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 3), 2 * 2 * (32 + 32)
    forward = sum(n * per_token + n * n * per_pair for n in ([3, 10, 4] if packs else [10, 10, 10]))
    assert meter.phases[0].flops == forward
    assert train(ready, texts, dataset(3), recipe(2)).cost.phases[0].flops == 2 * 3 * forward


def test_dropout_comes_from_the_seed_alone_and_is_off_in_prediction(tiny):
    texts, data = tiny.texts("bert", [9, 1, 33, 64]), dataset(4)

    def run(seed: int, dropout: float) -> torch.Tensor:
        ready, before = tiny.prepare(tiny.build("bert", "native", dropout)), torch.random.get_rng_state()
        train(ready, texts, data, recipe(5, 4), seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.rand(1)
        assert torch.equal(predict(ready, texts), predict(ready, texts))
        return predict(ready, texts)

    assert torch.equal(run(1, 0.3), run(1, 0.3))
    assert tiny.gap(run(2, 0.0), run(1, 0.0)) < 1e-6  # the order inside a full batch means nothing
    assert tiny.gap(run(2, 0.3), run(1, 0.3)) > 1e-3
    assert tiny.gap(run(1, 0.0), run(1, 0.3)) > 1e-3


def test_packed_layers_drop_in_training_too(tiny):
    texts, ready = tiny.texts("bert", [9, 1, 33]), tiny.prepare(tiny.build("bert", "mean", 0.3))
    train(ready, texts, dataset(3), recipe(1))
    for part in ready.module.modules():
        if isinstance(part, CheapDropout):
            part.p = 0.0
    assert tiny.gap(tiny.packed(ready, texts), tiny.packed(ready, texts)) > 1e-3
    ready.module.eval()
    assert torch.equal(tiny.packed(ready, texts), tiny.packed(ready, texts))
