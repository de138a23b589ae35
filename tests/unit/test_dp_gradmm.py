"""Released gradients against loops and autograd, and what is chosen and fitted to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tdbench.bench.budget import Budget
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.privacy.oracle import PrivateOracle, Query
from tdbench.bench.privacy.private_method import Release, release_from
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.private import HashedEncoder, small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tdbench.methods.dp_gradmm import Released, greedy

KIND = "four classes"
ROWS = small_task(KIND).train
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 25))
CENTER = RNG.standard_normal(24) / 10


def context(folder: Path = Path("unused"), seed: int = 0) -> Context:
    source = Source("tiny", tiny_learner(), MAX_LENGTH, folder)
    return Context(
        seed, "cpu", CostMeter(), folder, HashedEncoder, make_source=lambda: source, public_pool=small_pool(KIND)
    )


def asked(rows: Any = ROWS, epsilon: float = np.inf, clip: float = 1.0, **options: Any) -> np.ndarray:
    settings = {"group": 1, "noise_only": False, **options}
    oracle = PrivateOracle(rows, epsilon, 1e-5, ctx=context(), **settings)
    oracle.allocate(Query("gradients"))
    return oracle.head_gradients("gradients", WEIGHT, CENTER, clip)


@pytest.mark.parametrize("clip", [0.3, 1e9])
def test_without_noise_they_are_sums_of_clipped_gradients_that_autograd_finds(clip):
    features = torch.from_numpy(HashedEncoder().embed(ROWS, CostMeter()).astype(np.float64))
    expected = np.zeros((4, 4, 25))
    for feature, label in zip(features, ROWS.labels_N, strict=True):
        weight = torch.from_numpy(WEIGHT).requires_grad_(True)
        scores = weight @ torch.cat([feature - torch.from_numpy(CENTER), torch.ones(1, dtype=torch.float64)])
        torch.nn.functional.cross_entropy(scores, torch.tensor(label)).backward()
        assert weight.grad is not None
        expected[label] += weight.grad.numpy() * min(1.0, clip / float(weight.grad.norm()))
    assert asked(clip=clip) == pytest.approx(expected, abs=1e-6)


def test_one_row_changes_them_by_the_clipping_norm_at_most():
    whole = asked(clip=0.3)
    changes = [
        np.linalg.norm(whole - asked(ROWS.take(np.delete(np.arange(len(ROWS)), out)), clip=0.3)) for out in range(9)
    ]
    assert max(changes) == pytest.approx(0.3, rel=1e-4)
    noise = asked(epsilon=1.0, clip=0.3, noise_only=True)
    assert asked(epsilon=1.0, clip=0.3) - noise == pytest.approx(whole, abs=1e-6)


def test_the_greedy_choice_is_that_of_a_search_over_every_candidate():
    inputs = np.column_stack([RNG.standard_normal((40, 6)), np.ones(40)])
    released = Released(RNG.standard_normal((3, 2, 7)), RNG.standard_normal((3, 2, 2, 7)))

    def gradients(i: int, label: int) -> np.ndarray:
        scores = released.heads_KCE @ inputs[i]
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        return np.einsum("kc,d->kcd", shares - np.eye(2)[label], inputs[i, :-1])

    expected: list[list[int]] = [[], []]
    for _ in range(4):
        for label in range(2):
            scores = {}
            for i in set(range(40)) - set(expected[0]) - set(expected[1]):
                sums = sum((gradients(j, label) for j in [*expected[label], i]), np.zeros((3, 2, 6)))
                goals = released.gradients_KCCE[:, label, :, :-1]
                dots = (sums * goals).sum((1, 2))
                lengths = np.linalg.norm(sums, axis=(1, 2)) * np.linalg.norm(goals, axis=(1, 2))
                scores[i] = (dots / lengths).mean()
            expected[label].append(max(scores, key=lambda i: scores[i]))
    assert greedy(released, inputs, 4).tolist() == [*expected[0], *expected[1]]


def release(folder: Path, rows: Any = ROWS, **options: Any) -> tuple[Release, Context]:
    plugin, ctx = METHODS.get("dp_gradmm"), context(folder)
    with ctx.cost.phase("x"):
        found = release_from(plugin(plugin.Config(tokens=400, **options)), rows, Budget("dpc", per_class=2), ctx)
    return found, ctx


def test_the_first_heads_gradients_follow_from_class_sums(tmp_path, monkeypatch):
    kept: list[Released] = []
    monkeypatch.setattr(
        "tdbench.methods.dp_gradmm.greedy", lambda made, inputs, count: kept.append(made) or greedy(made, inputs, count)
    )
    release(tmp_path, epsilon="inf", heads=3, clip=1e9)
    (made,) = kept
    assert not made.heads_KCE[0].any()
    features = HashedEncoder().embed(ROWS, CostMeter()).astype(np.float64)
    inputs = np.column_stack([features - features.mean(0), np.ones(len(ROWS))])
    for k, head in enumerate(made.heads_KCE):
        scores = inputs @ head.T
        shares = np.exp(scores - scores.max(1, keepdims=True))
        errors = shares / shares.sum(1, keepdims=True) - np.eye(4)[ROWS.labels_N]
        for label in range(4):
            own = ROWS.labels_N == label
            assert made.gradients_KCCE[k, label] == pytest.approx(errors[own].T @ inputs[own], abs=1e-3)
    steps = 10.0 * made.gradients_KCCE.sum(1) / len(ROWS)
    assert made.heads_KCE[1:] == pytest.approx(made.heads_KCE[:-1] - steps[:-1])


@pytest.mark.parametrize("heads", [1, 3])
def test_the_books_hold_one_question_for_the_sums_and_one_for_each_further_head(tmp_path, heads):
    found, _ = release(tmp_path, heads=heads, epsilon=2.0)
    asked = {query.name: query.steps for query in found.statement.queries}
    assert asked == {"class sums": 1, **({"head gradients": heads - 1} if heads > 1 else {})}
    assert found.statement.epsilon_spent == pytest.approx(2.0, rel=1e-3)
    texts = found.made.fields["text"]
    assert len(set(texts)) == 8
    assert set(texts) <= set(small_pool(KIND).texts)


def test_admm_brings_vectors_nearer_to_the_released_gradients(tmp_path):
    found, ctx = release(tmp_path, epsilon="inf", outer=2, inner=20)
    assert ctx.diagnostics["match_vectors"] < ctx.diagnostics["match_start"]
    assert len(found.made.fields["text"]) == 8
    plugin = METHODS.get("dp_gradmm")
    assert plugin(plugin.Config(outer=1)).writes
    assert not plugin().writes
    assert [plugin(plugin.Config(outer=n)).uses_task_lm for n in (0, 1)] == [False, True]


def test_rows_reach_the_fit_through_the_oracle_alone(tmp_path):
    other = replace(ROWS, labels_N=(ROWS.labels_N + 1) % 4)
    made = [release(tmp_path, rows, oracle="noise-only", outer=1, inner=5) for rows in (ROWS, other)]
    assert made[0][0].made.fields == made[1][0].made.fields
    assert {k: v for k, v in made[0][1].diagnostics.items() if v == v} == {
        k: v for k, v in made[1][1].diagnostics.items() if v == v
    }
