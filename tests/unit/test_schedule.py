"""Learned schedules: their files and checks, and the harness's run of them against a plain loop of SGD."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tdbench.bench.budget import Budget
from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet, Schedule
from tdbench.bench.errors import PluginError
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tdbench.bench.training.inner import _outside_backbone, linear_head
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.schedule import attention_of
from tdbench.bench.training.training_set import TrainContext, TrainingSet
from tests.unit.test_unroll import Trained

pytestmark = pytest.mark.usefixtures("full_precision")

RECIPE = Recipe(MAX_LENGTH, 5, 64, 1e-3, 0.01, 1.0, 0.5)
BUDGET = Budget("dpc2", per_class=2)


@pytest.fixture
def made(real, tmp_path) -> DistilledSet:
    """Two texts a class with labels of any size, and two steps."""
    source = Trained(real, tmp_path).source
    rows = np.sort(np.concatenate([real.positions_of_class(label)[:2] for label in range(real.n_classes)]))
    few = real.take(rows)
    labels = np.random.default_rng(0).normal(size=(len(few), real.n_classes)).astype(np.float32)
    schedule = Schedule(np.array([[0.5, 1.0], [0.2, 2.0]], np.float32), parts=2)
    soft = vectors_of(source, words_of(source, few))
    return DistilledSet.from_vectors(soft, few.labels_N, soft_labels_MC=labels, schedule=schedule)


def scores(made: DistilledSet, real, seed: int = 0) -> tuple[np.ndarray, TrainContext]:
    context = TrainContext(seed, "cpu", CostMeter())
    return tiny_learner().fit_predict(TrainingSet.of(made, real), real.without_labels(), RECIPE, context), context


def by_hand(made: DistilledSet, real, seed: int = 0) -> np.ndarray:
    """SGD on embeddings that are handed to the transformer itself, one text at a time."""
    learner = tiny_learner()
    torch.manual_seed(seed)
    module = learner.module(real.n_classes, []).eval()
    module.backbone.set_attn_implementation("eager")
    table = module.backbone.embeddings.word_embeddings.weight
    inner = learner.tokenizer(None).inner
    around = [table[inner.cls_token_id].detach(), table[inner.sep_token_id].detach()]
    assert made.soft is not None
    assert made.schedule is not None
    assert made.soft_labels_MC is not None
    weights = [p for name, p in module.named_parameters() if "word_embeddings" not in name and "pooler" not in name]
    head = {id(p) for p in module.head.parameters()}
    for rates, part in zip(made.schedule.rates_T2, ([0, 1, 3, 5], [2, 4, 6, 7]), strict=True):
        losses = []
        for row in part:
            vectors = torch.from_numpy(made.soft.vectors_SD[made.soft.rows[row][0]])
            embeds = torch.cat([around[0].unsqueeze(0), vectors, around[1].unsqueeze(0)]).unsqueeze(0)
            hidden = module.backbone(inputs_embeds=embeds).last_hidden_state.mean(1)
            log_p = torch.log_softmax(module.head(hidden), dim=1)[0]
            losses.append(-(torch.from_numpy(made.soft_labels_MC[row]) * log_p).sum())
        grads = torch.autograd.grad(torch.stack(losses).mean(), weights)
        with torch.no_grad():
            for weight, grad in zip(weights, grads, strict=True):
                weight.sub_(float(rates[1 if id(weight) in head else 0]) * grad)
    with torch.no_grad():
        encoded = learner.tokenizer(None)(real.fields, MAX_LENGTH)
        return module(**encoded.collate(np.arange(len(real)), "cpu")).numpy()


def test_the_harness_takes_the_steps_of_plain_sgd(made, real):
    found, context = scores(made, real, seed=3)
    assert np.abs(found - by_hand(made, real, seed=3)).max() < 1e-4
    assert context.notes == ["learned schedule: 2 steps of SGD from a new head, in place of the recipe"]
    assert not np.allclose(found, scores(made, real, seed=4)[0], atol=1e-3)


def test_heads_on_the_same_body_share_what_is_read_of_the_test_texts(made, real):
    schedule = Schedule(np.array([[0, 1.0], [0, 2.0]], np.float32), parts=2)
    frozen = dataclasses.replace(made, schedule=schedule)
    for seed in (1, 2):
        found, context = scores(frozen, real, seed=seed)
        assert np.abs(found - by_hand(frozen, real, seed=seed)).max() < 1e-4
        read = next(phase for phase in context.cost.phases if phase.phase == "predict")
        assert read.wall_s > 0
    assert read.from_cache
    other, context = scores(made, real, seed=2)
    assert np.abs(other - by_hand(made, real, seed=2)).max() < 1e-4
    assert not any(phase.from_cache for phase in context.cost.phases)


def test_another_body_reads_the_test_texts_itself(made, real, monkeypatch):
    frozen = dataclasses.replace(made, schedule=Schedule(np.array([[0, 1.0]], np.float32)))
    first, _ = scores(frozen, real)
    build = type(tiny_learner()).module

    def shifted(learner, n_classes, notes):
        module = build(learner, n_classes, notes)
        with torch.no_grad():
            module.backbone.embeddings.LayerNorm.bias.add_(0.5)
        return module

    monkeypatch.setattr(type(tiny_learner()), "module", shifted)
    second, context = scores(frozen, real)
    assert np.abs(first - second).max() > 1e-3
    assert not any(phase.from_cache for phase in context.cost.phases)


def test_a_head_of_its_own_makes_all_seeds_alike(made, real):
    head = np.random.default_rng(1).normal(size=(real.n_classes, 25)).astype(np.float32)
    fixed = dataclasses.replace(made, schedule=dataclasses.replace(made.schedule, head_CX=head))
    fixed.check(BUDGET, real)
    first, context = scores(fixed, real, seed=1)
    assert np.array_equal(first, scores(fixed, real, seed=2)[0])
    assert "from the set's own head" in context.notes[0]


def test_attention_changes_what_is_trained(made, real, tmp_path):
    n_heads = 4  # two layers of two heads
    lengths = made.soft.lengths_MF.sum(1) + 2
    rng = np.random.default_rng(2)
    one = rng.dirichlet(np.ones(3), size=(int(lengths.sum()), n_heads)).astype(np.float32)[:, :, 0]
    labelled = dataclasses.replace(made, schedule=dataclasses.replace(made.schedule, attention_XH=one))
    labelled.check(BUDGET, real)
    assert not np.allclose(scores(labelled, real)[0], scores(made, real)[0], atol=1e-4)
    assert labelled.n_bytes(real) == made.n_bytes(real) + one.nbytes


def test_attention_is_cut_by_tokens_or_by_pairs():
    lengths = np.array([2, 3])
    first = attention_of(np.arange(10, dtype=np.float32).reshape(5, 2), lengths)
    assert [tuple(own.shape) for own in first] == [(2, 2), (2, 3)]
    assert first[1][0].tolist() == [4, 6, 8]
    pairs = attention_of(np.arange(13, dtype=np.float32).reshape(13, 1), lengths)
    assert [tuple(own.shape) for own in pairs] == [(1, 2, 2), (1, 3, 3)]
    assert pairs[0][0].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(PluginError, match="has 7 rows; expected 5, one for each token, or 13"):
        attention_of(np.zeros((7, 2), np.float32), lengths)


def test_a_schedule_for_another_learner_is_refused(made, real):
    lengths = made.soft.lengths_MF.sum(1) + 2
    few_heads = np.full((int(lengths.sum()), 1), 0.1, np.float32)
    narrow = np.zeros((real.n_classes, 9), np.float32)
    for change, message in (
        ({"attention_XH": few_heads}, "attention is for 1 heads, all layers together; the learner has 4"),
        ({"head_CX": narrow}, "head has 9 columns, offsets included; the learner's has 25"),
    ):
        bad = dataclasses.replace(made, schedule=dataclasses.replace(made.schedule, **change))
        bad.check(BUDGET, real)
        with pytest.raises(PluginError, match=message):
            scores(bad, real)


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [("bert", set()), ("roberta", {"model.classifier.dense"}), ("distilbert", {"model.pre_classifier"})],
)
def test_heads_with_further_new_layers_are_recognised(architecture, wanted, tiny):
    module = tiny.build(architecture, "native")
    head = linear_head(module)
    new = {name.rpartition(".")[0] for name in _outside_backbone(module) if not name.startswith(f"{head}.")}
    assert new == wanted


def test_files_keep_everything(made, real, tmp_path):
    whole = Schedule(
        np.array([[0.1, 0.2], [0.1, 0.3]], np.float32),
        1,
        np.ones((3, 4), np.float32),
        np.zeros((real.n_classes, 25), np.float32),
        lora=7,
    )
    for schedule in (made.schedule, whole):
        folder = tmp_path / str(schedule.parts) / str(schedule.head_CX is None)
        folder.mkdir(parents=True)
        hashes = dataclasses.replace(made, schedule=schedule).save(folder, {})
        again = DistilledSet.load(folder, hashes).schedule
        assert again is not None
        assert (again.parts, again.lora) == (schedule.parts, schedule.lora)
        for name in ("rates_T2", "attention_XH", "head_CX"):
            wanted, got = getattr(schedule, name), getattr(again, name)
            assert got is None if wanted is None else np.array_equal(got, wanted)


def test_a_set_without_a_schedule_has_none_after_loading(made, tmp_path):
    plain = dataclasses.replace(made, schedule=None)
    assert DistilledSet.load(tmp_path, plain.save(tmp_path, {})).schedule is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates_T2": np.array([[-0.1, 1.0]], np.float32)}, "must not be negative; got -0.1"),
        ({"rates_T2": np.array([[np.nan, 1.0]], np.float32)}, "rates_T2 must be 2-D finite float32"),
        (
            {"rates_T2": np.array([[0.1, 1.0, 2.0]], np.float32)},
            r"rates_T2 must be 2-D finite float32; got shape \(1, 3\)",
        ),
        ({"rates_T2": np.zeros((0, 2), np.float32)}, r"got shape \(0, 2\)"),
        ({"parts": 9}, "with 9 parts leaves a step without texts"),
        ({"head_CX": np.zeros((9, 3), np.float32)}, "head has 9 classes; expected 4"),
        ({"attention_XH": -np.ones((3, 2), np.float32)}, "attention must not be negative"),
    ],
)
def test_a_malformed_schedule_is_refused(made, real, change, message):
    schedule = dataclasses.replace(Schedule(np.ones((9, 2), np.float32), 1), **change)
    with pytest.raises(PluginError, match=message):
        dataclasses.replace(made, schedule=schedule).check(BUDGET, real)


def test_a_schedule_goes_without_weights(made, real):
    with pytest.raises(PluginError, match="without weights"):
        dataclasses.replace(made, weights_M=np.ones(len(made), np.float32)).check(BUDGET, real)


def test_labels_without_a_constraint_need_a_schedule(made, real):
    made.check(BUDGET, real)
    with pytest.raises(PluginError, match="probabilities that add up to 1"):
        dataclasses.replace(made, schedule=None).check(BUDGET, real)


def test_a_training_that_diverges_says_at_which_step(made, real):
    wild = dataclasses.replace(made, schedule=Schedule(np.array([[0.1, 1.0], [1e38, 1e38]], np.float32), 2))
    with pytest.raises(PluginError, match="diverged at step 2 of 2"):
        scores(wild, real)
