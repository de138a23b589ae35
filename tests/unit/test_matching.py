"""Head gradients, distances and ADMM against literal float64 versions of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tdbench.bench.errors import UsageError
from tdbench.bench.matching.clusters import cluster, train_head, trained_heads
from tdbench.bench.matching.fit import AdmmOptions, admm
from tdbench.bench.matching.gradients import (
    Head,
    HeadGradients,
    Heads,
    distances,
    every_distance,
    head_gradients,
    random_texts,
)
from tdbench.bench.matching.problem import best_distinct

N, D, C, K, G = 17, 5, 3, 2, 4
GROUPS = np.arange(N) % G


@pytest.fixture
def problem() -> tuple[Heads, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    heads = Heads.of([Head(draw(C, D), draw(C)) for _ in range(K)])
    targets = torch.softmax(draw(N, C), dim=1)
    return heads, draw(N, D), targets, torch.from_numpy(GROUPS)


def literal_gradients(heads: Heads, h: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor) -> HeadGradients:
    """One backward pass for every head and text, then means over the groups."""
    weights, biases = [], []
    for weight, bias in zip(heads.weight_KCD, heads.bias_KC, strict=True):
        of_group: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in range(int(groups.max()) + 1)]
        for x, target, group in zip(h, targets, groups, strict=True):
            own = [weight.clone().requires_grad_(True), bias.clone().requires_grad_(True)]
            loss = -(target * torch.log_softmax(own[0] @ x + own[1], dim=0)).sum()
            first, second = torch.autograd.grad(loss, own)
            of_group[int(group)].append((first, second))
        weights.append(torch.stack([torch.stack([a for a, _ in parts]).mean(0) for parts in of_group]))
        biases.append(torch.stack([torch.stack([b for _, b in parts]).mean(0) for parts in of_group]))
    return HeadGradients(torch.stack(weights), torch.stack(biases))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.flatten() @ b.flatten()) / (a.norm() * b.norm()))


def test_mean_gradients_of_all_groups_equal_one_backward_pass_for_each_text(problem):
    heads, h, targets, groups = problem
    made, expected = head_gradients(heads, h, targets, groups, G), literal_gradients(heads, h, targets, groups)
    assert torch.allclose(made.weight_KGCD, expected.weight_KGCD, atol=1e-12)
    assert torch.allclose(made.bias_KGC, expected.bias_KGC, atol=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "whole", "l2"])
def test_distances_that_never_form_a_matrix_equal_those_that_do(problem, distance):
    heads, h, targets, groups = problem
    real = literal_gradients(heads, h.flip(0) + 1, targets, groups)
    made = literal_gradients(heads, h, targets, groups)
    got = distances(real, heads, h, targets, groups, distance=distance)
    for k in range(K):
        for g in range(G):
            pairs = [(real.weight_KGCD[k, g], made.weight_KGCD[k, g]), (real.bias_KGC[k, g], made.bias_KGC[k, g])]
            whole = [torch.cat([pair[i].flatten() for pair in pairs]) for i in range(2)]
            expected = {
                "cosine": 1 - sum(cosine(*pair) for pair in pairs) / 2,
                "whole": 1 - cosine(*whole),
                "l2": float(((whole[0] - whole[1]) ** 2).sum()),
            }[distance]
            assert float(got[k, g]) == pytest.approx(expected, abs=1e-9)


def test_the_gradient_of_a_distance_reaches_the_head_inputs(problem):
    heads, h, targets, groups = problem
    real = literal_gradients(heads, h.flip(0) + 1, targets, groups)
    h = h.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: distances(real, heads, x, targets, groups).sum(), (h,), atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "whole", "l2"])
def test_every_text_alone_is_as_far_as_in_a_group_of_its_own(problem, distance):
    heads, h, targets, groups = problem
    real = literal_gradients(heads, h + 1, targets, groups)
    made = every_distance(real, heads, h, targets, distance=distance)
    for g in range(G):
        same = real.take(torch.full((N,), g))
        expected = distances(same, heads, h, targets, torch.arange(N), distance=distance).mean(0)
        assert torch.allclose(made[:, g], expected, atol=1e-9)


def test_random_texts_have_the_real_mean_and_covariance_and_nothing_else():
    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.normal(size=(4000, D)) @ rng.normal(size=(D, D)) + 2)
    made = random_texts(real, seed=3)
    assert torch.allclose(made.mean(0), real.mean(0), atol=0.2)
    assert torch.allclose(torch.cov(made.t()), torch.cov(real.t()), rtol=0.1, atol=0.3)
    assert float(torch.corrcoef(torch.stack([made[:, 0], real[:, 0]]))[0, 1].abs()) < 0.1
    assert not torch.equal(made, random_texts(real, seed=4))


def test_heads_are_trained_for_different_numbers_of_steps_and_the_first_not_at_all():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, C, 200)
    h = torch.from_numpy(rng.normal(size=(C, D))[labels] * 3 + rng.normal(size=(200, D))).float()
    targets = torch.eye(C)[torch.from_numpy(labels)]
    heads = trained_heads(h, targets, 4, 300, np.random.default_rng(1))
    assert float(heads.bias_KC[0].abs().max()) == 0
    assert all(float(bias.abs().max()) > 0 for bias in heads.bias_KC[1:])
    trained = train_head(h, targets, 300, np.random.default_rng(1))
    accuracy = float(
        ((h @ trained.weight_CD.t() + trained.bias_C).argmax(1) == torch.from_numpy(labels)).float().mean()
    )
    assert accuracy > 0.9


def test_clusters_hold_texts_of_one_class_and_medoids_stand_in_their_own_cluster():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    h = rng.normal(size=(60, D)).astype(np.float32)
    groups = cluster(h, labels, 4, seed=5)
    assert len(groups) == 8
    assert all(set(groups.groups_N[labels == label] // 4) == {label} for label in (0, 1))
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    for g, medoid in enumerate(groups.medoids_G):
        own = np.flatnonzero(groups.groups_N == g)
        far = np.linalg.norm(unit[own] - unit[own].mean(0), axis=1)
        assert medoid == own[far.argmin()]
    with pytest.raises(UsageError, match=r"class 0 has \d+ real texts, fewer than the 50 clusters"):
        cluster(h, labels, 50, seed=5)


def test_the_cheapest_pairs_are_served_first_and_no_text_serves_twice():
    costs = np.array([[1.0, 0.5], [2.0, 0.6], [3.0, 5.0], [0.9, np.inf]])
    assert best_distinct(costs, 1).tolist() == [3, 0]
    assert best_distinct(costs, 2).tolist() == [3, 0, 2, 1]


def nonnegative(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(min=0)


@pytest.mark.parametrize(("rho", "balance"), [(0.3, "fixed"), (3.0, "fixed"), (50.0, "residual")])
def test_admm_finds_the_known_solution_of_a_convex_problem(rho, balance):
    """min 1/2 |x - a|^2 over x >= 0 is max(a, 0), whatever rho and the start."""
    a = torch.tensor([[1.0, -2.0, 0.5], [-0.3, 3.0, -1.0]], dtype=torch.float64)
    options = AdmmOptions(120, 60, 0.02, rho, balance, clip_norm=1e9)
    for start in (torch.zeros_like(a), torch.full_like(a, 4.0)):
        made, trace = admm(start, lambda x: 0.5 * ((x - a) ** 2).sum(), nonnegative, options)
        assert torch.allclose(made, nonnegative(a), atol=0.02)
        assert trace.primal[-1] < 0.02
    assert (min(trace.rho) < 50.0) == (balance == "residual" or rho < 50.0)


def test_admm_takes_the_steps_of_the_written_algorithm():
    rng = np.random.default_rng(0)
    a, start = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    rho, lr, outer, inner = 0.7, 0.05, 3, 5
    x, u, first, second, count = start.copy(), np.zeros_like(start), np.zeros_like(a), np.zeros_like(a), 0
    primal, dual, previous = [], [], None
    for _ in range(outer):
        z = np.maximum(x + u, 0)
        for _ in range(inner):
            gradient = (x - a) + rho * (x - z + u)
            gradient *= min(1.0, 1.0 / (np.linalg.norm(gradient) + 1e-6))
            count += 1
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            x = x - lr * (first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        u = u + x - z
        primal.append(np.linalg.norm(x - z))
        dual.append(rho * np.linalg.norm(z - previous) if previous is not None else rho * np.linalg.norm(z))
        previous = z
    target = torch.from_numpy(a)
    made, trace = admm(
        torch.from_numpy(start),
        lambda v: 0.5 * ((v - target) ** 2).sum(),
        nonnegative,
        AdmmOptions(outer, inner, lr, rho),
    )
    assert np.allclose(made.numpy(), x, atol=1e-5)
    assert trace.primal == pytest.approx(primal, abs=1e-5)
    assert trace.dual == pytest.approx(dual, abs=1e-5)


def test_without_ties_admm_is_adam_and_never_projects():
    def refuse(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("projected")

    start = torch.ones(2, 2)
    made, trace = admm(start, lambda x: (x**2).sum(), refuse, AdmmOptions(2, 40, 0.05, 0.0))
    assert float(made.abs().max()) < 0.2
    assert torch.equal(start, torch.ones(2, 2))
    assert trace.loss[-1] < trace.loss[0]
