"""Trajectory matching on small texts and a tiny transformer: experts against plain SGD, their buffer, and what imitates them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tdbench.api import matching as toolkit
from tdbench.bench.budget import Budget
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.experts import ExpertBuffer
from tdbench.bench.registry import METHODS
from tdbench.methods.trajectory import _Matching
from tests.unit.test_meta import loss_of
from tests.unit.test_synthesis import context

pytestmark = pytest.mark.usefixtures("full_precision")

Trajectory = METHODS.get("trajectory")
BUDGET = Budget("dpc2", per_class=2)
FAST = {
    "updates": 6,
    "length": 6,
    "steps": 2,
    "experts": 2,
    "epochs": 3,
    "epoch_steps": 4,
    "span": 2,
    "expert_batch": 8,
}


def distil(real, ctx, **options) -> DistilledSet:
    with ctx.cost.phase("distil"):
        made = Trajectory(Trajectory.Config(**FAST | options)).distil(real.copy(), BUDGET, ctx)
    made.check(BUDGET, real)
    return made


def matching(real, ctx, **options) -> _Matching:
    with ctx.cost.phase("test"):
        return _Matching(Trajectory.Config(**FAST | options), ctx.source(real), real, 2, ctx)


@pytest.mark.parametrize("space", ["head", "all"])
def test_experts_take_steps_of_plain_sgd(real, tmp_path, space):
    ctx = context(tmp_path)
    one = matching(real, ctx, space=space, epoch_steps=2, epochs=2, expert_lr=0.05)
    start, end = one._buffer.state(1, 0), one._buffer.state(1, 2)
    module = ctx.source(real).new_module().eval()
    module.load_state_dict(start, strict=False)
    trained = {name: weight for name, weight in module.named_parameters() if name in start}
    from tdbench.bench.canonical import seed_from

    rng = np.random.default_rng(seed_from("expert", 1))
    rng.permutation(len(real))
    tokens = ctx.source(real).tokenise(real)
    for _ in range(4):
        rows = rng.integers(0, len(real), 8)
        logits = module(**tokens.collate(rows, "cpu"))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(real.labels_N[rows]))
        grads = torch.autograd.grad(loss, list(trained.values()))
        with torch.no_grad():
            for (name, weight), grad in zip(trained.items(), grads, strict=True):
                weight.sub_((0.3 if name.startswith("head") else 0.05) * grad)
    for name, weight in trained.items():
        assert torch.allclose(end[name], weight.detach(), rtol=2e-3, atol=2e-5), name


@pytest.mark.parametrize("space", ["head", "lora", "all"])
def test_an_interrupted_buffer_goes_on_where_it_stopped(real, tmp_path, space):
    whole = matching(real, context(tmp_path / "a"), space=space)._buffer
    wanted = [whole.state(number, 3) for number in (0, 1)]
    (last,) = (tmp_path / "kept").rglob("expert-1.json")
    untouched = (tmp_path / "kept").rglob("expert-0.safetensors")
    before = next(iter(untouched)).stat().st_mtime_ns
    last.unlink()
    ctx = context(tmp_path / "b")
    again = matching(real, ctx, space=space)._buffer
    assert next(iter((tmp_path / "kept").rglob("expert-0.safetensors"))).stat().st_mtime_ns == before
    for number in (0, 1):
        for name, weight in again.state(number, 3).items():
            assert torch.equal(weight, wanted[number][name])
    charged = [phase.from_cache for phase in ctx.cost.phases if phase.phase == "experts"]
    assert charged == [True, False]


def test_a_larger_buffer_keeps_the_experts_of_a_smaller_one(real, tmp_path):
    phases = []
    for number in (2, 3):
        ctx = context(tmp_path)
        matching(real, ctx, experts=number)
        phases.append([phase.from_cache for phase in ctx.cost.phases if phase.phase == "experts"])
    assert phases == [[False, False], [True, True, False]]


def test_a_damaged_expert_is_trained_again(real, tmp_path):
    ctx = context(tmp_path / "a")
    wanted = matching(real, ctx)._buffer.state(0, 3)
    (file,) = (tmp_path / "kept").rglob("expert-0.safetensors")
    file.write_bytes(b"rubbish")
    made = matching(real, context(tmp_path / "b"))._buffer.state(0, 3)
    assert all(torch.equal(made[name], wanted[name]) for name in wanted)


def test_the_buffer_is_as_large_as_predicted_and_never_larger_than_allowed(real, tmp_path):
    ctx = context(tmp_path / "a")
    one = matching(real, ctx, space="all")
    files = list((tmp_path / "kept").rglob("expert-*.safetensors"))
    size = 1e-9 * sum(file.stat().st_size for file in files)
    assert one._buffer.size_gb < size < 1.3 * one._buffer.size_gb  # so small a model's file is a fifth names
    assert ctx.diagnostics["expert_buffer_gb"] == one._buffer.size_gb
    with pytest.raises(
        UsageError, match=r"2 experts with 4 states each would take .* more than method.buffer_gb=1e-06"
    ):
        matching(real, context(tmp_path / "b"), space="all", buffer_gb=1e-6)


def test_experts_learn_and_the_record_shows_it(real, tmp_path):
    ctx = context(tmp_path / "a")
    distil(real, ctx, epochs=6, span=6, epoch_steps=100, expert_head_lr=3.0)
    accuracy = ctx.curves["expert_accuracy"]
    assert len(accuracy) == 7
    assert accuracy[-1] > accuracy[0] + 0.05
    assert len(ctx.curves["distance"]) == 6
    record = next((tmp_path / "kept").rglob("expert-0.json"))
    assert json.loads(record.read_text())["cost"]["phase"] == "experts"


@pytest.mark.parametrize(
    ("space", "gradient"), [("head", "exact"), ("lora", "exact"), ("lora", "tesla"), ("all", "exact"), ("all", "tesla")]
)
def test_updates_bring_the_steps_nearer_to_where_experts_went(real, tmp_path, space, gradient):
    ctx = context(tmp_path)
    made = distil(real, ctx, space=space, gradient=gradient, updates=60, rate=0.05, rate_lr=0.05)
    losses = ctx.curves["distance"]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])
    assert made.schedule.lora == (0 if space == "lora" else None)
    assert bool(made.schedule.rates_T2[:, 0].any()) == (space != "head")


def test_the_harness_ends_where_matching_ended(real, tmp_path):
    """A learned schedule run by the harness from an expert's own head gives the weights that matching saw."""
    for space in ("head", "lora", "all"):
        ctx = context(tmp_path)
        one = matching(real, ctx, space=space)
        with ctx.cost.phase("test"):
            one.run()
        from tdbench.bench.matching.unroll import descend

        start = one._buffer.state(0, 0)
        inner, loop = one._inner, one._learned.inner_loop()
        weights = {**inner.weights(), **start}
        loop.rates_T2.detach()[:, 0] *= space != "head"
        end = descend(inner, weights, loop)[-1]
        head = torch.cat([inner.head_of(start)[0], inner.head_of(start)[1].unsqueeze(1)], dim=1).numpy()
        import dataclasses

        from tdbench.bench.training.training_set import TrainContext, TrainingSet
        from tests.unit.test_schedule import RECIPE

        made = one.made()
        made = dataclasses.replace(made, schedule=dataclasses.replace(made.schedule, head_CX=head))
        learner = ctx.make_source().learner
        found = learner.fit_predict(
            TrainingSet.of(made, real), real.without_labels(), RECIPE, TrainContext(0, "cpu", ctx.cost)
        )
        tokens = ctx.source(real).tokenise(real)
        module = ctx.source(real).new_module().eval()
        module.load_state_dict(inner.whole(end), strict=False)
        with torch.no_grad():
            wanted = module(**tokens.collate(np.arange(len(real)), "cpu")).numpy()
        assert np.abs(found - wanted).max() < 1e-4, space


def test_matched_trainings_are_worth_more_than_their_start(real, tmp_path):
    options = {"epochs": 10, "span": 10, "epoch_steps": 30, "experts": 3}
    short, long = (distil(real, context(tmp_path), updates=n, **options) for n in (1, 150))
    assert loss_of(long, real, tmp_path) < loss_of(short, real, tmp_path) - 0.02


def test_repeats_are_steps_taken_again(real, tmp_path):
    once, thrice = (distil(real, context(tmp_path), repeats=n).schedule for n in (1, 3))
    assert np.array_equal(np.tile(once.rates_T2, (3, 1)), thrice.rates_T2)


def test_starts_open_with_the_budget(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("test"):
        windows = [
            _Matching(Trajectory.Config(**FAST), ctx.source(real), real, size, ctx)._window for size in (1, 2, 5, 10)
        ]
    assert windows == [1, 2, 3, 4]


def test_starts_open_over_the_first_half_of_the_updates_and_never_past_the_experts_end(real, tmp_path, monkeypatch):
    starts = []
    monkeypatch.setattr(
        ExpertBuffer, "state", lambda buffer, number, epoch: starts.append(epoch) or buffer._load(number, epoch)
    )
    distil(real, context(tmp_path), epochs=4, span=2, window=9, updates=60)
    begun = starts[::2]
    assert [end - start for start, end in zip(begun, starts[1::2], strict=True)] == [2] * 60
    assert set(begun[:7]) == {0}  # one open until a quarter of the way through the first half
    assert max(begun[:22]) == 1
    assert set(begun[23:]) == {0, 1, 2}


def test_tesla_holds_the_graph_of_one_step(real, tmp_path, monkeypatch):
    kept = []
    walk = toolkit.unroll

    def noted(*args, back, **options):
        kept.append(back.keep)
        return walk(*args, back=back, **options)

    monkeypatch.setattr(toolkit, "unroll", noted)
    for gradient in ("exact", "tesla"):
        distil(real, context(tmp_path), space="all", gradient=gradient, updates=1)
    assert kept == [True, False]


def test_versions_of_experts_are_part_of_what_a_set_is():
    assert len(Trajectory.Config().matching_version) == len(METHODS.get("meta").Config().matching_version) + 1


def test_normalising_by_parts_weighs_head_and_body_alike(real, tmp_path):
    one = matching(real, context(tmp_path), space="all", distance="parts")
    start, goal = one._buffer.state(0, 0), one._buffer.state(0, 2)
    weights = one._weight_of(start, goal)
    parts = {0: 0.0, 1: 0.0}
    for name, weight in weights.items():
        parts[one._inner.group_of(name)] += weight * float(((start[name] - goal[name]) ** 2).sum())
    assert parts == pytest.approx({0: 0.5, 1: 0.5}, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": 4, "epochs": 3}, "span is 4, more than the 3 epochs"),
        ({"head": "fixed"}, "a head of its own"),
        ({"attention": "first"}, "attention trains weights below the head"),
        ({"parts": 6}, "6 parts for 5 steps: some texts would never be trained on"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Trajectory.Config(**options)


def test_an_expert_that_diverges_is_an_error(real, tmp_path):
    with pytest.raises(UsageError, match=r"expert 0 diverged in epoch 1.*lower method.expert_lr"):
        matching(real, context(tmp_path), expert_head_lr=1e38)
