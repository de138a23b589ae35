"""Derivatives of trainings on token vectors against finite differences and plain automatic differentiation, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import Schedule
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.matching.outer import RealLoss
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.matching.unroll import Back, descend, unroll, unroll_head
from tdbench.bench.testing.texts import KINDS, small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tdbench.bench.training.inner import InnerLoop, InnerModel, Weights

pytestmark = pytest.mark.usefixtures("full_precision")

EVERY = ("rates", "vectors", "targets", "attention")


@pytest.fixture(params=KINDS)
def real(request):
    return small_task(request.param).train


class Trained:
    """A tiny learner, a training of some steps on four texts, and a quadratic loss of the weights that it leads to."""

    def __init__(self, real, tmp_path, steps: int = 3, attention: str = "none") -> None:
        cost = CostMeter()
        with cost.phase("test"):
            self.source = SourceModel(
                tiny_learner(),
                real,
                name="tiny",
                max_length=MAX_LENGTH,
                device="cpu",
                cost=cost,
                cache=tmp_path,
                seed=0,
            )
        rows = np.sort(np.concatenate([real.positions_of_class(label)[:2] for label in range(real.n_classes)]))
        few = real.take(rows)
        soft = vectors_of(self.source, words_of(self.source, few))
        self.encoded = self.source.special_tokens.around_vectors(soft, len(self.source.table_VE))
        self.inner = InnerModel(self.source.new_module(), self.encoded, "cpu", torch.float64)
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        x_SE = torch.from_numpy(soft.vectors_SD).double()
        y_MC = drawn(len(few), real.n_classes)
        rates_T2 = 0.2 + drawn(steps, 2).abs()
        self.start = self.inner.weights()
        wanted = None
        if attention != "none":
            own = self.inner.attention(self.start, x_SE)
            wanted = [torch.softmax(drawn(*(a[:, 0] if attention == "first" else a).shape), dim=-1) for a in own]
        rows_of = Schedule(np.zeros((steps, 2), np.float32), parts=2).rows_of(few.labels_N)
        self.loop = InnerLoop(rates_T2, x_SE, y_MC, rows_of, wanted)
        for leaf in self.loop.leaves():
            leaf.requires_grad_(True)
        self.goal = {name: weight + 0.1 * drawn(*weight.shape) for name, weight in self.start.items()}

    def outer(self, weights: Weights) -> tuple[float, Weights]:
        loss = sum(float(((weights[name] - self.goal[name]) ** 2).sum()) for name in weights)
        return loss, {name: 2 * (weights[name] - self.goal[name]) for name in weights}

    def loss_of(self, loop: InnerLoop) -> float:
        return self.outer(descend(self.inner, self.start, loop)[-1])[0]

    def whole_graph(self) -> list[torch.Tensor]:
        """The same derivatives by automatic differentiation through all steps at once."""
        loop, weights = self.loop, {name: weight.requires_grad_(True) for name, weight in self.start.items()}
        for step, rows in enumerate(loop.rows_of):
            grads = torch.autograd.grad(self.inner.loss(weights, loop, rows), list(weights.values()), create_graph=True)
            weights = {
                name: weight - loop.rates_T2[step, self.inner.group_of(name)] * grad
                for (name, weight), grad in zip(weights.items(), grads, strict=True)
            }
        loss = sum(((weights[name] - self.goal[name]) ** 2).sum() for name in weights)
        made = torch.autograd.grad(loss, loop.leaves(), allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(loop.leaves(), made, strict=True)]


def moved(loop: InnerLoop, place: int, by: torch.Tensor) -> InnerLoop:
    names = ("rates_T2", "x_SE", "targets_MC")
    if place < len(names):
        return replace(loop, **{names[place]: (getattr(loop, names[place]) + by).detach()})
    assert loop.attention is not None
    wanted = [(own + (by if i == place - len(names) else 0)).detach() for i, own in enumerate(loop.attention)]
    return replace(loop, attention=wanted)


@pytest.mark.parametrize("attention", ["none", "first", "all"])
def test_derivatives_equal_finite_differences(real, tmp_path, attention):
    one = Trained(real, tmp_path, attention=attention)
    found = unroll(one.inner, one.start, one.loop, one.outer)
    assert found.loss == pytest.approx(one.loss_of(one.loop), rel=1e-12)
    generator = torch.Generator().manual_seed(1)
    for place, (leaf, derivative) in enumerate(zip(one.loop.leaves(), found.leaves, strict=True)):
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        above = one.loss_of(moved(one.loop, place, step * direction))
        below = one.loss_of(moved(one.loop, place, -step * direction))
        assert (above - below) / (2 * step) == pytest.approx(float((derivative * direction).sum()), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("attention", ["none", "all"])
def test_walking_back_equals_one_graph_through_all_steps(real, tmp_path, keep, attention):
    one = Trained(real, tmp_path, attention=attention)
    found = unroll(one.inner, one.start, one.loop, one.outer, back=Back(keep=keep))
    for made, expected in zip(found.leaves, one.whole_graph(), strict=True):
        assert torch.allclose(made, expected, rtol=1e-9, atol=1e-12)


def test_tesla_is_exact_for_one_step_and_for_the_step_sizes_of_the_last(real, tmp_path):
    single = Trained(real, tmp_path, steps=1)
    pair = [unroll(single.inner, single.start, single.loop, single.outer, back=Back(across=a)) for a in (True, False)]
    for exact, tesla in zip(pair[0].leaves, pair[1].leaves, strict=True):
        assert torch.equal(exact, tesla)
    several = Trained(real, tmp_path)
    pair = [
        unroll(several.inner, several.start, several.loop, several.outer, back=Back(across=a)) for a in (True, False)
    ]
    assert torch.equal(pair[0].leaves[0][-1], pair[1].leaves[0][-1])
    assert not torch.allclose(pair[0].leaves[1], pair[1].leaves[1], rtol=1e-2)


def test_tesla_equals_its_published_form(real, tmp_path):
    """-rate v' dg_i/dx with v = 2 (theta_N - theta*), every step at weights that are held (Cui et al., 2023, equation 9)."""
    one = Trained(real, tmp_path)
    found = unroll(one.inner, one.start, one.loop, one.outer, back=Back(across=False))
    path = descend(one.inner, one.start, one.loop)
    slope = one.outer(path[-1])[1]
    expected = torch.zeros_like(one.loop.x_SE)
    for step, rows in enumerate(one.loop.rows_of):
        grads = one.inner.gradients(
            {n: w.requires_grad_(True) for n, w in path[step].items()}, one.loop, rows, again=True
        )
        product = sum(
            (-one.loop.rates_T2[step, one.inner.group_of(name)].detach() * grad * slope[name]).sum()
            for name, grad in zip(one.inner.trained, grads, strict=True)
        )
        expected += torch.autograd.grad(product, one.loop.x_SE)[0]
    assert torch.allclose(found.leaves[1], expected, rtol=1e-9, atol=1e-12)


def test_truncation_leaves_the_first_steps_out(real, tmp_path):
    one = Trained(real, tmp_path)
    cut = unroll(one.inner, one.start, one.loop, one.outer, back=Back(last=1))
    exact = unroll(one.inner, one.start, one.loop, one.outer)
    assert torch.equal(cut.leaves[0][-1], exact.leaves[0][-1])
    assert not cut.leaves[0][:-1].any()
    later = replace(one.loop, rates_T2=one.loop.rates_T2[-1:], rows_of=one.loop.rows_of[-1:])
    alone = unroll(one.inner, descend(one.inner, one.start, one.loop)[-2], later, one.outer)
    assert torch.allclose(cut.leaves[1], alone.leaves[1], rtol=1e-12)


def test_the_head_alone_is_the_body_at_rate_zero(real, tmp_path):
    one = Trained(real, tmp_path)
    still = replace(one.loop, rates_T2=(one.loop.rates_T2 * torch.tensor([0.0, 1.0])).detach().requires_grad_(True))
    names = [name for name in one.inner.trained if one.inner.group_of(name)]

    def outer(weights: Weights) -> tuple[float, Weights]:
        loss, slope = one.outer({name: weights[name] for name in names})
        return loss, {name: slope.get(name, torch.zeros_like(weights[name])) for name in weights}

    whole = unroll(one.inner, one.start, still, outer)
    weight_CD, bias_C = (one.start[name] for name in names)
    module = one.inner.module

    def read(x_SE: torch.Tensor) -> torch.Tensor:
        seen = {}
        head = dict(module.named_modules())[names[0].rpartition(".")[0]]
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.update(h=inputs[0]))
        one.inner.loss(one.start, replace(still, x_SE=x_SE), np.arange(len(one.encoded)))
        hook.remove()
        return seen["h"]

    alone = unroll_head(
        read,
        (weight_CD, bias_C),
        still,
        lambda weight, bias: ((weight - one.goal[names[0]]) ** 2).sum() + ((bias - one.goal[names[1]]) ** 2).sum(),
    )
    assert alone.loss == pytest.approx(whole.loss, rel=1e-6)
    assert torch.allclose(alone.leaves[0][:, 1], whole.leaves[0][:, 1], rtol=1e-5)
    for place in (1, 2):
        assert torch.allclose(alone.leaves[place], whole.leaves[place], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("packs", [True, False])
def test_the_loss_on_real_texts_and_its_gradient_are_those_of_the_plain_module(real, tmp_path, monkeypatch, packs):
    one = Trained(real, tmp_path)
    if not packs:
        monkeypatch.setattr("tdbench.bench.training.prepared.can_pack", lambda _: False)
    cost, tokens, rows = CostMeter(), one.source.tokenise(real), np.array([3, 0, 5])
    weights = {name: weight.float() for name, weight in one.goal.items()}
    with cost.phase("test"):
        loss, slope = RealLoss(one.source.new_module(), tokens, real.labels_N, "cpu", cost)(weights, rows)
    module = one.source.new_module().eval()
    leaves = {name: weight.requires_grad_(True) for name, weight in weights.items()}
    scores = torch.func.functional_call(module, leaves, (), tokens.collate(rows, "cpu"))
    expected = torch.nn.functional.cross_entropy(scores, torch.from_numpy(real.labels_N[rows]))
    grads = torch.autograd.grad(expected, list(leaves.values()))
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert set(slope) == set(weights)
    for (name, _), grad in zip(leaves.items(), grads, strict=True):
        assert torch.allclose(slope[name], grad, rtol=1e-3, atol=1e-6), name
