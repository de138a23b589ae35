"""Texts without padding: layout, the hand-written layer and its gradient, rebuilt models, token tables, dropout."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tdbench.bench.models.resolve import MINILM, available
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.dropout import CheapDropout, MaskSource, keep_, use_cheap_dropout
from tdbench.bench.training.modules import MeanPooled, load_backbone, tokenizer_for
from tdbench.bench.training.optimiser import TableRows
from tdbench.bench.training.packed_layer import LayerShape, PackedLayer
from tdbench.bench.training.packed_model import PackedBackbone
from tdbench.bench.training.packing import WIDTH_STEP, Packed, pack
from tdbench.bench.training.prepared import cpu_has_bf16

pytestmark = pytest.mark.usefixtures("one_thread")
ARCHITECTURES = ["bert", "roberta", "distilbert"]
LENGTHS = [7, 1, 33, 5, 64, 5, 32, 65, 70, 31, 2]
BERT_PARTS = [f"attention.self.{part}" for part in ("query", "key", "value")]
BERT_PARTS += [
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
]
DISTILBERT_PARTS = [f"attention.{part}" for part in ("q_lin", "k_lin", "v_lin", "out_lin")]
DISTILBERT_PARTS += ["sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"]


def numbered(lengths: list[int]) -> Encoded:
    """Returns texts of which every token has an id of its own."""
    ends = np.cumsum(lengths)
    ids = [np.arange(end - n, end) for n, end in zip(lengths, ends, strict=True)]
    return Encoded(ids, 0, [row % 2 for row in ids])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_packing_lays_every_token_once_and_gives_it_one_cell(lengths, shuffler):
    texts, positions = numbered(lengths), list(range(len(lengths)))
    shuffler.shuffle(positions)
    packed = pack(texts, np.array(positions))
    chosen = [texts.ids[positions[i]] for i in packed.order_B]
    assert sorted(packed.order_B.tolist()) == list(range(len(lengths)))
    assert packed.ids_T.tolist() == np.concatenate(chosen).tolist()
    assert packed.types_T is not None
    assert packed.types_T.tolist() == (packed.ids_T % 2).tolist()
    assert packed.places_T.tolist() == [place for row in chosen for place in range(len(row))]
    assert packed.lengths_B.tolist() == [len(row) for row in chosen] == sorted(lengths, reverse=True)
    assert [packed.ids_T[start] for start in packed.starts_B] == [row[0] for row in chosen]
    assert [g.start for g in packed.groups] == [0, *(g.stop for g in packed.groups[:-1])]
    assert packed.groups[-1].stop == len(packed.ids_T)
    rows = iter(chosen)
    for group in packed.groups:
        members = [next(rows) for _ in range(group.n_texts)]
        assert {-(-len(row) // WIDTH_STEP) * WIDTH_STEP for row in members} == {group.width}
        real = np.array([np.arange(group.width) < len(row) for row in members])
        in_cells = packed.ids_T[group.start : group.stop][group.sources].reshape(real.shape)
        for row, cells in zip(members, in_cells.tolist(), strict=True):
            assert cells == [*row, *[row[-1]] * (group.width - len(row))]
        assert group.sources[group.cells].tolist() == list(range(group.stop - group.start))
        assert group.cells.tolist() == np.flatnonzero(real).tolist()
        assert group.padding.tolist() == np.flatnonzero(~real).tolist()
        assert (group.bias_G1W is None) == bool(real.all())
        if group.bias_G1W is not None:
            assert group.bias_G1W.squeeze(1).tolist() == np.where(real, 0, -math.inf).tolist()
    assert next(rows, None) is None
    values_T2 = torch.stack([packed.ids_T, -packed.ids_T], dim=1).double()
    stub: Any = SimpleNamespace(hidden=lambda _: values_T2, pooler=None)
    expected = torch.tensor([[texts.ids[i].mean(), -texts.ids[i].mean()] for i in positions])
    assert torch.allclose(PackedBackbone.mean(stub, packed), expected.float())
    first: Any = PackedBackbone.forward(stub, packed).last_hidden_state
    assert first[:, 0, 0].tolist() == [texts.ids[i][0] for i in positions]


class Replay:
    """Stands in for a mask source; every new one gives the same masks, which `factors` keeps with their scale."""

    def __init__(self) -> None:
        self.factors: list[torch.Tensor] = []

    def draw(self, shape: tuple[int, ...], p: float) -> tuple[torch.Tensor, float]:
        kept = torch.rand(shape, generator=torch.Generator().manual_seed(len(self.factors))) >= p
        self.factors.append(kept / (1 - p))
        return kept.to(torch.int16), 1 / (1 - p)


def plain_layer(x_TD, packed: Packed, shape: LayerShape, factors: list[torch.Tensor], weights) -> torch.Tensor:
    """One text and one head at a time, by the definition."""
    qkv_w, qkv_b, out_w, out_b, gain1, bias1, up_w, up_b, down_w, down_b, gain2, bias2 = weights
    masks, texts, mixed = iter(factors), iter((x_TD @ qkv_w.T + qkv_b).split(packed.lengths_B.tolist())), []

    def dropped(rows: torch.Tensor, p: float) -> torch.Tensor:
        return rows * next(masks) if p else rows

    def normal(rows: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        variance = rows.var(1, correction=0, keepdim=True)
        return (rows - rows.mean(1, keepdim=True)) / (variance + shape.eps).sqrt() * gain + bias

    for group in packed.groups:
        kept = iter(
            next(masks) if shape.p_attention else torch.ones(group.n_texts * shape.heads, group.width, group.width)
        )
        for _ in range(group.n_texts):
            parts, heads = [part.chunk(shape.heads, dim=1) for part in next(texts).chunk(3, dim=1)], []
            for query, key, value in zip(*parts, strict=True):
                weights_LL = torch.softmax(query @ key.T / math.sqrt(query.shape[1]), dim=1)
                heads.append((weights_LL * next(kept)[: len(key), : len(key)]) @ value)
            mixed.append(torch.cat(heads, dim=1))
    y = normal(x_TD + dropped(torch.cat(mixed) @ out_w.T + out_b, shape.p_output), gain1, bias1)
    active = nn.functional.gelu(y @ up_w.T + up_b, approximate=shape.gelu)
    return normal(y + dropped(active @ down_w.T + down_b, shape.p_feed), gain2, bias2)


def layer_inputs(n_tokens: int, width: int, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    matrices = {0: (3 * width, width), 2: (width, width), 6: (width + 2, width), 8: (width, width + 2)}
    made = [torch.randn(n_tokens, width, dtype=dtype)]
    for place in range(0, 12, 2):
        shape = matrices.get(place, (width,))
        made += [torch.randn(shape, dtype=dtype) * 0.5, torch.randn(shape[0], dtype=dtype) * 0.5]
    return [tensor.requires_grad_() for tensor in made]


@pytest.mark.parametrize("gelu", ["none", "tanh"])
@pytest.mark.parametrize("rates", [(0.2, 0.3, 0.4), (0.5, 0.0, 0.1), (0.0, 0.2, 0.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("lengths", [[40, 33, 32, 5, 1], [64, 64, 32]], ids=str)
def test_the_layer_and_its_gradient_are_those_of_the_definition_for_fixed_dropout(lengths, rates, gelu):
    packed, shape = pack(numbered(lengths), np.arange(len(lengths))), LayerShape(4, 1e-5, gelu, *rates)
    inputs, masks = layer_inputs(sum(lengths), 16, torch.float32), Replay()
    weight = torch.randn(sum(lengths), 16)
    made = PackedLayer.apply(inputs[0], packed, shape, masks, *inputs[1:])
    expected = plain_layer(inputs[0], packed, shape, masks.factors, inputs[1:])
    assert len(masks.factors) == len(packed.groups) * bool(rates[0]) + bool(rates[1]) + bool(rates[2])
    assert (made - expected).abs().max() < 1e-5
    pairs = [torch.autograd.grad((out * weight).sum(), inputs) for out in (made, expected)]
    for found, wanted in zip(*pairs, strict=True):
        assert wanted.abs().max() > 1e-3
        assert (found - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("rates", [(0.2, 0.3, 0.4), (0.0, 0.0, 0.0)])
def test_the_gradient_of_the_layer_is_that_of_finite_differences(rates):
    packed, shape = pack(numbered([33, 2, 1]), np.arange(3)), LayerShape(2, 1e-5, "none", *rates)
    inputs = layer_inputs(36, 4, torch.float64)
    assert torch.autograd.gradcheck(lambda x, *w: PackedLayer.apply(x, packed, shape, Replay(), *w), inputs)


@pytest.mark.parametrize("lengths", [LENGTHS, [1], [1, 1, 1], [9] * 4, [32] * 3, [64, 64], [33, 64, 33, 1]], ids=str)
@pytest.mark.parametrize("head", ["mean", "native", "features"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_texts_score_as_padded_ones(tiny, architecture, head, lengths):
    module, pairs = tiny.build(architecture, head).eval(), architecture != "distilbert"
    ready = tiny.prepare(module)
    assert ready.packs
    for texts in (tiny.texts(architecture, lengths), tiny.texts(architecture, lengths, pairs)):
        assert tiny.gap(tiny.packed(ready, texts), tiny.padded(module, texts)) < 1e-6


@pytest.mark.parametrize(("architecture", "types"), [("distilbert", [np.array([0, 0, 1])]), ("roberta", None)])
def test_unknown_segments_and_a_padding_token_as_a_word_score_as_in_a_padded_batch(tiny, architecture, types):
    module = tiny.build(architecture, "mean").eval()
    texts = Encoded([np.array([5, 1, 7])], tiny.pad_ids[architecture], types)
    assert tiny.gap(tiny.packed(tiny.prepare(module), texts), tiny.padded(module, texts)) < 1e-6


@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_gradient_on_packed_texts_is_that_of_the_padded_model(tiny, architecture, head):
    module = tiny.build(architecture, head)
    texts, ready = tiny.texts(architecture, LENGTHS, architecture != "distilbert"), tiny.prepare(module)
    for logits in (tiny.padded(module, texts), tiny.packed(ready, texts)):
        (logits.log_softmax(1) * torch.linspace(-1, 1, logits.numel()).view_as(logits)).mean().backward()
    expected = {name: weight.grad for name, weight in module.named_parameters()}
    stack, parts = ("transformer", DISTILBERT_PARTS) if architecture == "distilbert" else ("encoder", BERT_PARTS)
    for name, weight in ready.module.named_parameters():
        names, layer = [name], re.fullmatch(r"(.*)\.layers\.(\d)\.weights\.(\d+)", name)
        if layer:
            place = int(layer[3])
            chosen = parts[:3] if place < 2 else [parts[place // 2 + 2]]
            names = [f"{layer[1]}.{stack}.layer.{layer[2]}.{p}.{('weight', 'bias')[place % 2]}" for p in chosen]
        wanted = [expected.pop(n) for n in names]
        if "pooler" in name and head == "mean":
            assert (weight.grad, wanted) == (None, [None])
        else:
            assert torch.cat(wanted).abs().max() > 0
            assert tiny.gap(weight.grad, torch.cat(wanted)) < 1e-6
    assert not expected


def test_rows_in_use_stand_in_for_their_table():
    table = nn.Embedding(9, 2, padding_idx=3)
    before, ids = table.weight.detach().clone(), torch.tensor([[7, 3], [5, 7]])
    rows = TableRows(table, torch.tensor([3, 5, 7]))
    assert torch.equal(rows(ids), table(ids))
    (gradient,) = torch.autograd.grad(rows(ids).sum(), list(rows.parameters()))
    assert gradient.tolist() == [[0, 0], [1, 1], [2, 2]]  # padding learns nothing
    with pytest.raises(IndexError):
        rows(torch.tensor([4]))
    rows.rows.data += 1
    made = rows.restored(0.5).weight
    assert rows.restored(1.0) is table
    assert torch.equal(made[[3, 5, 7]], before[[3, 5, 7]] + 1)
    assert torch.equal(made[[0, 1, 2, 4, 6, 8]], before[[0, 1, 2, 4, 6, 8]] * 0.5)


@pytest.mark.skipif(not cpu_has_bf16(), reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_is_close_to_float32(tiny, architecture, head):
    module, texts = tiny.build(architecture, head), tiny.texts(architecture, LENGTHS)
    scores, gradients = [], []
    for dtype in ("float32", "bfloat16"):
        ready = tiny.prepare(module, dtype)
        scores.append(tiny.packed(ready, texts))
        scores[-1].square().mean().backward()
        gradients.append(torch.cat([w.grad.flatten() for w in ready.module.parameters() if w.grad is not None]))
    assert scores[1].dtype is torch.float32
    assert 1e-4 < tiny.gap(scores[1], scores[0]) < 0.02
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


@pytest.mark.skipif(available(MINILM) is not None, reason=f"no weights of {MINILM}")
def test_features_of_minilm_are_those_of_transformers(tiny):
    words = ["a thin plot, but its actors carry every scene of this long and winding film; "] * 10
    texts = tokenizer_for(MINILM)({"text": ["".join(words)[:n] for n in (1, 20, 140, 141, 142, 700, 60)]}, 64)
    module = MeanPooled(load_backbone(MINILM)).eval()
    with torch.no_grad():
        assert tiny.gap(tiny.packed(tiny.prepare(module), texts), tiny.padded(module, texts)) < 1e-5


@pytest.mark.parametrize("shape", [(100_003,), (317, 331), (7, 3, 5, 1001)], ids=str)
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_masks_drop_their_share_and_the_scale_makes_up_for_it(p, shape):
    mask, scale = MaskSource(3).draw(shape, p)
    assert mask.shape == shape
    assert set(mask.unique().tolist()) == {0, 1}
    n, rate = mask.numel(), round(p * 2**16) / 2**16
    assert scale * (1 - rate) == pytest.approx(1, rel=1e-12)
    centred = (mask == 0).flatten().double() - rate
    assert abs(float(centred.sum())) < 4.5 * math.sqrt(n * rate * (1 - rate))
    for lag in (1, 2, 3, 4, 8):
        assert abs(float(centred[lag:] @ centred[:-lag])) < 4.5 * math.sqrt(n) * rate * (1 - rate)


@pytest.mark.parametrize("n_elements", [1, 2, 3, 5, 1023])
def test_a_seed_decides_the_masks_and_every_draw_is_another(n_elements):
    sources = map(MaskSource, (1, 1, 2))
    first, same, other = [torch.cat([s.draw((n_elements,), 0.5)[0] for _ in range(40)]) for s in sources]
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first[: 20 * n_elements], first[20 * n_elements :])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_masking_in_place_zeroes_what_is_dropped_and_changes_nothing_else(dtype):
    x, mask = torch.randn(33, 7).to(dtype), MaskSource(0).draw((33, 7), 0.3)[0]
    before, where = x.clone(), x.data_ptr()
    assert keep_(x, mask).data_ptr() == where
    assert torch.equal(x, torch.where(mask == 0, torch.zeros_like(before), before))


def test_cheap_dropout_keeps_the_expectation_and_masks_the_gradient_alike():
    dropout, x = CheapDropout(0.2, MaskSource(5)), torch.full((100_001,), 3.0, requires_grad=True)
    made = dropout(x)
    (gradient,) = torch.autograd.grad(made.sum(), x)
    assert float(made.detach().mean()) == pytest.approx(3, abs=4.5 * 3 * math.sqrt(0.25 / len(x)))
    assert made.detach().unique().tolist() == pytest.approx([0, 3.75], rel=1e-4)
    assert torch.equal(gradient * 3, made.detach())
    assert not torch.equal(dropout(x), made)
    assert dropout.eval()(x) is x
    assert CheapDropout(0.0, MaskSource(5))(x) is x


def test_every_dropout_of_a_module_is_replaced_where_it_stands():
    module = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2).eval()), nn.Dropout1d(0.3))
    source = MaskSource(0)
    use_cheap_dropout(module, source)
    found = [part for part in module.modules() if isinstance(part, CheapDropout)]
    assert [(part.p, part.training) for part in found] == [(0.1, True), (0.2, False)]
    assert all(part._source is source for part in found)
    assert [type(part) for part in module] == [CheapDropout, nn.Sequential, nn.Dropout1d]
    assert not any(type(part) is nn.Dropout for part in module.modules())


def test_the_rows_in_use_never_pass_for_the_whole_table():
    with pytest.raises(RuntimeError, match="look ids up"):
        _ = TableRows(nn.Embedding(9, 4), torch.tensor([2, 5])).weight
