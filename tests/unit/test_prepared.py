"""What the engine may change about a module, and what it must leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, GPT2Config, GPT2ForSequenceClassification

from tdbench.bench.cost import AMOUNTS, CostMeter, merged, share
from tdbench.bench.errors import PluginError
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.modules import MeanPooled, MeanPooledClassifier, NativeClassifier, TextCNN
from tdbench.bench.training.optimiser import MasterAdamW
from tdbench.bench.training.packed_model import PackedBackbone
from tdbench.bench.training.prepared import Prepared
from tdbench.bench.training.recipe import Recipe

SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SIZE |= {"vocab_size": 60, "max_position_embeddings": 32}
RECIPE = Recipe(32, 10, 8, 1e-2, 0.1, 1.0, 0.5)
TEXTS = Encoded([np.array([2, 5, 6, 3]), np.array([2, 7, 3])], pad_id=0)


def bert() -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZE))


class Pooled(torch.nn.Module):
    """A plug-in's own way to pool, under an attribute that the suite's modules use too."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = bert()
        self.head = torch.nn.Linear(32, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(states.amax(1))


def test_only_modules_that_know_packed_batches_are_packed():
    module = Pooled()
    ready = Prepared(module, "cpu", torch.float32)
    assert not ready.packs
    assert isinstance(module.backbone, BertModel)
    known = MeanPooledClassifier(bert(), 3, 0.1)
    assert Prepared(known, "cpu", torch.float32).packs
    assert isinstance(known.backbone, PackedBackbone)


def test_preparing_a_packed_module_again_keeps_it_packed():
    module = MeanPooled(bert()).eval()
    first = Prepared(module, "cpu", torch.float32)
    again = Prepared(module, "cpu", torch.float32)
    rows = np.array([0, 1])
    one, other = (ready.module(**ready.inputs(TEXTS, rows)) for ready in (first, again))
    assert torch.equal(one, other)


@pytest.mark.parametrize("frozen", ["encoder.layer.0.attention.self.query.weight", "embeddings", ""])
def test_a_frozen_backbone_stays_frozen(frozen):
    module = MeanPooledClassifier(bert(), 3, 0.0)
    for name, parameter in module.backbone.named_parameters():
        parameter.requires_grad = not name.startswith(frozen)
    before = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert not Prepared(module, "cpu", torch.float32).packs
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == before


class Scaled(torch.nn.Embedding):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 5.0


@pytest.mark.parametrize(
    "table",
    [Scaled(60, 8), torch.nn.Embedding(60, 8, max_norm=1.0), torch.nn.Embedding(60, 8, scale_grad_by_freq=True)],
    ids=["subclass", "max_norm", "scale_grad_by_freq"],
)
def test_a_token_table_with_ways_of_its_own_is_left_whole(table):
    module = TextCNN(torch.randn(60, 8), 3, (2,), 4, 0.0)
    assert Prepared(module, "cpu").narrow_table(TEXTS) is not None
    module.table = table
    assert Prepared(module, "cpu").narrow_table(TEXTS) is None


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["mean pooled", "bert", "gpt2", "textcnn"])
def test_scores_are_float32_whatever_computes_the_features(kind, packed):
    if kind == "mean pooled":
        module: torch.nn.Module = MeanPooledClassifier(bert(), 3, 0.0)
    elif kind == "bert":
        module = NativeClassifier(BertForSequenceClassification(BertConfig(**SIZE, num_labels=3)))
    elif kind == "gpt2":
        size: dict[str, Any] = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 60, "pad_token_id": 0}
        size |= {"num_labels": 3, "bos_token_id": 1, "eos_token_id": 1}
        module = NativeClassifier(GPT2ForSequenceClassification(GPT2Config(**size)))
    else:
        module = TextCNN(torch.randn(60, 8), 3, (2,), 4, 0.0)
    ready = Prepared(module, "cpu", torch.bfloat16, packed=packed)
    with ready.autocast():
        assert ready.module(**ready.inputs(TEXTS, np.array([0, 1]))).dtype is torch.float32


def test_a_gradient_that_is_missing_in_one_step_counts_as_zero():
    used, sometimes = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimiser = MasterAdamW([used, sometimes], RECIPE)
    (used.sum() + sometimes.sum()).backward()
    optimiser.step(0)
    used.sum().backward()
    optimiser.step(1)
    assert used.grad is None
    assert torch.isfinite(sometimes).all()


def test_a_parameter_that_gets_its_first_gradient_late_is_refused_and_so_is_none_at_all():
    used, late = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimiser = MasterAdamW([used, late], RECIPE)
    used.sum().backward()
    optimiser.step(0)
    (used.sum() + late.sum()).backward()
    with pytest.raises(PluginError, match="in the first step and one later"):
        optimiser.step(1)
    with pytest.raises(PluginError, match="no parameter got a gradient"):
        MasterAdamW([torch.nn.Parameter(torch.ones(2))], RECIPE).step(0)


def test_phases_of_one_name_add_up_and_are_shared_out():
    meter = CostMeter()
    for flops in (3.0, 4.0):
        with meter.phase("predict"):
            meter.add_flops(flops, "count")
    with meter.phase("build"):
        pass
    whole = {phase.phase: phase for phase in merged(meter.phases)}
    assert list(whole) == ["predict", "build"]
    assert whole["predict"].flops == 7.0
    assert whole["build"].flops is None
    assert whole["predict"].wall_s == sum(phase.wall_s or 0.0 for phase in meter.phases[:2])
    part = share(whole["predict"], 7)
    assert part.flops == 1.0
    assert all(
        getattr(part, name) is None or getattr(part, name) <= getattr(whole["predict"], name) for name in AMOUNTS
    )
    assert part.peak_rss_gb == whole["predict"].peak_rss_gb
