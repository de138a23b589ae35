"""The task's language model: what a training step computes, and what its batches hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tdbench.bench.models import task_lm_training
from tdbench.bench.models.head_loss import head_loss
from tdbench.bench.models.task_lm import losses_of, mean_loss
from tdbench.bench.models.task_lm_training import TaskLMOptions, train_task_lm


@pytest.fixture
def problem():
    torch.manual_seed(0)
    h = torch.randn(700, 24)  # more than two chunks
    return h, torch.randn(90, 24) * 0.3, torch.randint(0, 90, (700,))


def gradients(loss, h, weight):
    h, weight = h.clone().requires_grad_(True), weight.clone().requires_grad_(True)
    value = loss(h, weight)
    (2 * value).backward()
    return value.detach(), h.grad, weight.grad


def test_the_head_loss_is_the_cross_entropy_with_its_gradients(problem):
    h, weight, targets = problem
    expected = gradients(
        lambda h, w: torch.nn.functional.cross_entropy(h @ w.t(), targets), h.double(), weight.double()
    )
    made = gradients(lambda h, w: head_loss(h, w, targets), h, weight)
    for got, want in zip(made, expected, strict=True):
        assert torch.allclose(got.double(), want, atol=1e-6, rtol=1e-5)


def test_in_half_precision_the_head_loss_is_nearly_the_same(problem):
    h, weight, targets = problem
    exact = gradients(lambda h, w: head_loss(h, w, targets), h, weight)
    half = gradients(lambda h, w: head_loss(h, w, targets, torch.bfloat16), h, weight)
    assert float(half[0]) == pytest.approx(float(exact[0]), rel=1e-2)
    for got, want in zip(half[1:], exact[1:], strict=True):
        assert torch.nn.functional.cosine_similarity(got.flatten(), want.flatten(), dim=0) > 0.999


def test_the_head_loss_refuses_to_be_differentiated_twice(problem):
    h, weight, targets = problem
    h = h.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(head_loss(h, weight, targets) ** 2, h, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (gradient**2).sum().backward()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    texts = [(rng.integers(5, 60, int(n)),) for n in rng.integers(3, 30, 400)]
    return texts, rng.integers(0, 2, 400)


def trained(rows, **options):
    table = torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
    defaults = {"layers": 1, "heads": 2, "steps": 4, "batch_tokens": 200}
    return train_task_lm(*rows, table, TaskLMOptions(**{**defaults, **options}), seed=3, device="cpu")


def test_the_training_loss_is_the_mean_of_the_tokens_losses(rows, monkeypatch):
    monkeypatch.setattr("tdbench.bench.models.task_lm.compute_dtype", lambda _: torch.float32)
    lm = trained(rows)
    encoded = [lm.vocabulary.encode(parts, label) for parts, label in zip(rows[0][:9], rows[1][:9], strict=True)]
    losses_BL, real_BL = losses_of(lm.model, encoded, "cpu")
    made = mean_loss(lm.model, encoded, "cpu")
    assert float(made.detach()) == pytest.approx(float((losses_BL.sum() / real_BL.sum()).detach()), rel=1e-5)


def test_training_lowers_the_perplexity_and_is_reproducible(rows):
    short, long, again = trained(rows, steps=1), trained(rows, steps=60), trained(rows, steps=60)
    assert long.perplexity < short.perplexity
    assert long.perplexity == again.perplexity


def test_batches_hold_about_the_tokens_asked_for_and_every_text_once_an_epoch():
    rng = np.random.default_rng(0)
    lengths = [int(n) for n in rng.integers(3, 60, 4_000)]
    batches = task_lm_training._shuffled(np.arange(4_000), lengths, 512, 10_000, rng)
    first_epoch = np.concatenate(batches)[:4_000]
    assert len(np.unique(first_epoch)) == 4_000
    tokens = [sum(lengths[i] for i in batch) for batch in batches]
    assert max(tokens) <= 512 + 60
    assert np.median(tokens) > 400
    assert len(batches) == 10_000
