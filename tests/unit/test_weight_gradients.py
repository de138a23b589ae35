"""Gradients of weights below the head, and matching them, against batch-1 loops and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.gradients import Head, Heads
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.matching.parameters import LORA_PLACES, LORA_RANK, WeightGradients, between
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner

GROUPS = np.array([0, 1, 0, 1, 1, 0, 0])


@pytest.fixture
def problem(tmp_path):
    real = small_task("pairs").train.take(range(len(GROUPS)))
    cost = CostMeter()
    with cost.phase("test"):
        source = SourceModel(
            tiny_learner(), real, name="tiny", max_length=MAX_LENGTH, device="cpu", cost=cost, cache=tmp_path, seed=0
        )
        generator = torch.Generator().manual_seed(0)
        heads = Heads.of(
            [Head(torch.randn(3, 24, generator=generator), torch.randn(3, generator=generator)) for _ in range(2)]
        )
        yield source, real, heads, torch.nn.functional.one_hot(torch.tensor(real.labels_N), 3).float()


def literal(source: SourceModel, real, heads: Heads, targets: torch.Tensor, lora: dict[str, torch.Tensor] | None):
    """One text at a time through a plain transformers model; adapters' gradients by the chain rule, dB = dW A'."""
    from transformers import BertModel

    model = BertModel.from_pretrained(tiny_learner().config.model, attn_implementation="eager").eval()
    encoded = source.tokenise(real)
    made = []
    for weight, bias in zip(heads.weight_KCD, heads.bias_KC, strict=True):
        w, b = weight.clone().requires_grad_(True), bias.clone().requires_grad_(True)
        sums: dict[tuple[int, str], torch.Tensor] = {}
        for i, group in enumerate(GROUPS):
            hidden = model(**encoded.collate(np.array([i]), "cpu")).last_hidden_state[0]
            loss = -(targets[i] * torch.log_softmax(w @ hidden.mean(0) + b, 0)).sum()
            names = [
                name for name, _ in model.named_parameters() if "word_embeddings" not in name and "pooler" not in name
            ]
            places = dict(model.named_parameters())
            grads = torch.autograd.grad(loss, [*(places[n] for n in names), w, b])
            for name, grad in zip([*names, "w", "b"], grads, strict=True):
                if lora is not None and name not in ("w", "b"):
                    if f"backbone.{name}" not in lora:
                        continue
                    grad = grad @ lora[f"backbone.{name}"].t()  # noqa: PLW2901
                key = (int(group), name)
                sums[key] = sums.get(key, 0) + grad / int((group == GROUPS).sum())
        made.append([{name: g for (group, name), g in sums.items() if group == wanted} for wanted in (0, 1)])
    return made


@pytest.mark.parametrize("space", ["all", "lora"])
def test_real_gradients_equal_a_loop_over_single_texts(problem, space):
    source, real, heads, targets = problem
    model = WeightGradients(source, heads, space, seed=3)
    made = model.of_texts(source.tokenise(real), targets, GROUPS, 2)
    lora = model._random if space == "lora" else None
    expected = literal(source, real, heads, targets, lora)
    names = [*model._free, "w", "b"]
    assert len(names) > 3
    if space == "lora":
        assert all(LORA_PLACES.search(name) for name in names[:-2])
        assert all(len(grad.shape) == 2 and grad.shape[1] == LORA_RANK for grad in made[0][0][:-2])
    for k in range(2):
        for g in range(2):
            for name, grad in zip(names, made[k][g], strict=True):
                want = expected[k][g][name.removeprefix("backbone.")]
                assert torch.allclose(grad, want, atol=1e-5), (k, g, name)


@pytest.mark.parametrize("space", ["all", "lora"])
@pytest.mark.parametrize("distance", ["cosine", "whole", "l2"])
def test_texts_have_no_distance_to_their_own_gradients_and_others_do(problem, space, distance):
    source, real, heads, targets = problem
    model = WeightGradients(source, heads, space, seed=3)
    goal = model.of_texts(source.tokenise(real), targets, GROUPS, 2)
    soft = vectors_of(source, words_of(source, real))
    encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
    x = torch.from_numpy(soft.vectors_SD)
    options = {"targets_MC": targets, "groups_M": GROUPS, "distance": distance}
    assert float(model.distances(goal, encoded, x, **options).detach().abs().max()) < 1e-5
    assert float(model.distances(goal, encoded, x * 1.5, **options).detach().min()) > 1e-4
    again = model.of_texts(source.tokenise(real), targets, GROUPS, 2)  # the token table is whole again
    assert all(torch.equal(a, b) for a, b in zip(goal[1][1], again[1][1], strict=True))


def test_second_derivatives_equal_finite_differences(problem):
    source, real, heads, targets = problem
    model = WeightGradients(source, heads, "all", seed=3)
    model._ready.module.double()
    model._free = {n: w.detach().double().requires_grad_(True) for n, w in model._free.items()}
    model._tops = [[t.detach().double().requires_grad_(True) for t in top] for top in model._tops]
    targets = targets.double()
    goal = model.of_texts(source.tokenise(real), targets, GROUPS, 2)
    soft = vectors_of(source, words_of(source, real))
    encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
    x = (torch.from_numpy(soft.vectors_SD).double() * 1.2).requires_grad_(True)

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        return model.distances(goal, encoded, vectors, targets_MC=targets, groups_M=GROUPS, distance="cosine").mean()

    loss(x).backward()
    assert x.grad is not None
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        way = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        difference = float((loss((x + step * way).detach()) - loss((x - step * way).detach())).detach()) / (2 * step)
        assert float((x.grad * way).sum()) == pytest.approx(difference, rel=1e-5, abs=1e-8)


def test_gradients_that_would_not_fit_into_memory_are_refused(problem, monkeypatch):
    source, real, heads, targets = problem
    model = WeightGradients(source, heads, "all", seed=3)
    monkeypatch.setattr("tdbench.bench.matching.parameters.GRADIENT_LIMIT_GB", 1e-5)
    with pytest.raises(UsageError, match=r"2 groups at 2 heads would take .* larger groups"):
        model.of_texts(source.tokenise(real), targets, GROUPS, 2)


def test_gradients_of_own_heads_that_would_not_fit_are_refused(problem, monkeypatch):
    source, *_ = problem
    monkeypatch.setattr("tdbench.bench.matching.source.GRADIENT_LIMIT_GB", 1e-7)
    with pytest.raises(UsageError, match=r"gradients of 4 groups .*method.group_size"):
        source.own_head(4)


def test_distances_between_gradients_are_those_of_their_definitions():
    generator = torch.Generator().manual_seed(0)
    a, b = (tuple(torch.randn(*s, generator=generator) for s in ((2, 3), (4,))) for _ in range(2))

    def cosine(x, y):
        return float((x.flatten() @ y.flatten()) / x.norm() / y.norm())

    assert float(between(a, b, "cosine")) == pytest.approx(
        1 - np.mean([cosine(x, y) for x, y in zip(a, b, strict=True)])
    )
    flat_a, flat_b = (torch.cat([g.flatten() for g in x]) for x in (a, b))
    assert float(between(a, b, "whole")) == pytest.approx(1 - cosine(flat_a, flat_b), rel=1e-5)
    assert float(between(a, b, "l2")) == pytest.approx(float(((flat_a - flat_b) ** 2).sum()), rel=1e-5)
