"""DP-SGD against loops over rows: clipped sums, noise, samples, rows without a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tdbench.bench.data.text import LabelledText
from tdbench.bench.privacy.accounting import Mechanism
from tdbench.bench.privacy.training import RowModel, TrainingOptions, train_rows
from tests.unit.row_models import (
    LENGTH,
    WORDS,
    Counting,
    Tokens,
    clipped,
    clipped_by_loop,
    drawn,
    model,
    rows_of,
    train,
    weights_of,
)


@pytest.mark.parametrize("ghost", [False, True])
@pytest.mark.parametrize("clip", [0.05, 0.3, 100.0])
def test_clipped_sums_are_those_of_a_loop_over_rows(clip, ghost):
    learner = model()
    batch = drawn(learner)
    assert torch.allclose(
        clipped(learner, batch, clip, ghost), clipped_by_loop(learner, batch, clip), atol=1e-9, rtol=1e-6
    )


@pytest.mark.parametrize("ghost", [False, True])
def test_one_row_changes_no_clipped_sum_by_more_than_the_clipping_norm(ghost):
    learner, clip = model(), 0.1
    with torch.no_grad():
        learner.module.head.weight[3] *= 300.0  # the outlier's word: its gradient is huge
    batch = drawn(learner)
    batch = {name: torch.cat([column, torch.full((1, LENGTH), 3)]) for name, column in batch.items()}
    whole = clipped(learner, batch, clip, ghost)
    for out in range(len(batch["ids"])):
        kept = torch.arange(len(batch["ids"])) != out
        rest = clipped(learner, {name: column[kept] for name, column in batch.items()}, clip, ghost)
        assert float((whole - rest).norm()) <= clip * (1 + 1e-5)


@pytest.mark.parametrize("ghost", [False, True])
def test_training_does_not_depend_on_how_samples_are_cut(ghost):
    trained = []
    for physical in (1, 7, 64):
        learner = model()
        options = TrainingOptions(lr=1e-2, clip=0.1, physical=physical, ghost=ghost)
        train(learner, rows_of(), options, 5, noise=1.0, rate=0.3, steps=4)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    # Chance is drawn row by row in the order of the sample, so it does not depend on the cuts either.
    assert torch.allclose(trained[0], trained[1], atol=1e-8)
    assert torch.allclose(trained[1], trained[2], atol=1e-8)


def test_ghost_clipping_trains_as_per_row_gradients_do():
    trained = []
    for ghost in (False, True):
        learner = model()
        train(learner, rows_of(), TrainingOptions(1e-2, clip=0.1, ghost=ghost), 2, noise=0.5, rate=0.3, steps=3)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert torch.allclose(*trained, atol=1e-8)


class Bare(RowModel):
    """One weight vector whose gradient for a row is the row; rows are looked up by number."""

    def __init__(self, x_NW: torch.Tensor) -> None:
        self.module, self.x_NW = nn.Linear(x_NW.shape[1], 1, bias=False), x_NW
        nn.init.zeros_(self.module.weight)

    def encode(self, rows: LabelledText) -> dict[str, torch.Tensor]:
        return {"x": self.x_NW[rows.row_ids_N]}

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.module(batch["x"]).squeeze(1)


def steps_of(
    monkeypatch: pytest.MonkeyPatch, x_NW: torch.Tensor, clip: float = 1.0, **settings: Any
) -> list[torch.Tensor]:
    """Returns the gradient of every step, times the expected number of rows: the noisy sums."""
    seen: list[torch.Tensor] = []

    def step(optimiser: Any) -> None:
        seen.append(optimiser.param_groups[0]["params"][0].grad.clone() * settings["rate"] * len(x_NW))

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train(Bare(x_NW), rows_of(len(x_NW)), TrainingOptions(lr=0.1, clip=clip), 3, **settings)
    return seen


def test_the_noise_has_the_spread_of_the_clipping_norm_times_the_multiplier(monkeypatch):
    found = steps_of(monkeypatch, torch.zeros(50, 400), noise=1.7, rate=0.2, steps=30, clip=0.5)
    assert stats.kstest(torch.cat(found).flatten().numpy(), stats.norm(scale=1.7 * 0.5).cdf).pvalue > 0.01


def test_samples_are_poisson_and_rows_are_clipped(monkeypatch):
    x = torch.eye(400)[:300] * 5.0  # every row shows in a place of its own
    found = torch.stack(steps_of(monkeypatch, x, noise=1e-9, rate=0.1, steps=400)).squeeze(1)[:, :300]
    assert set(np.round(found.unique().numpy(), 4).tolist()) == {0.0, 1.0}
    sizes = found.sum(1).numpy()
    assert sizes.mean() == pytest.approx(30, abs=4 * np.sqrt(27 / 400))
    # The variance of a binomial, not of samples of one size; its estimate has a relative error of sqrt(2 / 400).
    assert sizes.var(ddof=1) == pytest.approx(27, rel=4 * np.sqrt(2 / 400))
    rows = found.mean(0).numpy()
    assert np.abs(rows - 0.1).max() < 5 * np.sqrt(0.09 / 400)


def test_an_empty_sample_is_a_step_of_noise(monkeypatch):
    found = steps_of(monkeypatch, torch.ones(3, 400), noise=1.0, rate=0.01, steps=20)
    assert len(found) == 20
    assert all(float(one.std()) > 0.5 for one in found)


def test_noise_only_training_is_on_noise_whatever_the_rows():
    trained = []
    for seed in (0, 1):
        learner = model()
        train(learner, rows_of(seed=seed), TrainingOptions(1e-2), 2, noise=1.0, rate=0.3, steps=3, noise_only=True)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert torch.equal(*trained)
    assert not torch.equal(trained[0], torch.cat([weight.detach().flatten() for weight in weights_of(model())]))


def test_without_noise_training_is_ordinary_and_learns():
    learner = model(dtype=torch.float32)
    batch = drawn(learner, 40)
    before = float(learner.losses(batch).detach().mean())
    train(learner, rows_of(), TrainingOptions(lr=3e-3, clip=1e-6), 1, noise=0.0, rate=0.5, steps=120)
    assert float(learner.losses(batch).detach().mean()) < 0.8 * before


@pytest.mark.parametrize("ghost", [False, True])
def test_a_row_without_a_gradient_counts_as_zero_and_spoils_no_other(ghost):
    class Broken(Tokens):
        def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            bad_B = batch["ids"][:, 0] == WORDS - 1
            return super().losses(batch) * torch.where(bad_B, torch.inf, 1.0)

    learner = Broken(model().module)
    batch = drawn(learner)
    batch["ids"][:, 0] = 1
    expected = clipped_by_loop(learner, {name: column[:-1] for name, column in batch.items()}, 0.3)
    batch["ids"][-1, 0] = WORDS - 1
    assert torch.allclose(clipped(learner, batch, 0.3, ghost), expected, atol=1e-9)
    batch["ids"][:, 0] = WORDS - 1
    none_sound = clipped(learner, batch, 0.3, ghost) if not ghost else torch.zeros(1)
    assert float(none_sound.abs().max()) == 0.0


def test_only_trained_weights_come_back():
    class Curious(Tokens):
        def encode(self, rows: LabelledText) -> dict[str, torch.Tensor]:
            self.mean_words = np.mean([len(text.split()) for text in rows.joined()])
            return super().encode(rows)

    learner = Curious(Counting())
    learner.module.places.weight.requires_grad_(False)
    train(learner, rows_of(), TrainingOptions(0.1), 1, noise=1.0, rate=0.3, steps=2)
    assert not hasattr(learner, "mean_words")
    assert float(learner.module.seen.sum()) == 0


def test_samples_and_noise_of_two_trainings_differ():
    noise = np.random.default_rng(0)
    trained = []
    for _ in range(2):
        learner = model()
        mechanism = Mechanism("sampled-gaussian", 1.0, 0.3, 2)
        train_rows(learner, rows_of(), TrainingOptions(0.1), mechanism=mechanism, noise=noise)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert not torch.allclose(*trained)


def test_rates_rise_and_fall():
    options = TrainingOptions(lr=2.0, warmup=4, decay=True)
    assert [options.rate(step, 12) for step in (0, 3, 4, 8, 11)] == [0.5, 2.0, 2.0, 1.0, 0.25]
    assert [TrainingOptions(lr=2.0).rate(step, 12) for step in (0, 11)] == [2.0, 2.0]


def test_a_moving_average_is_over_steps_whatever_the_physical_batches():
    def after(steps: int, **options: Any) -> torch.Tensor:
        learner = model()
        train(learner, rows_of(), TrainingOptions(0.1, **options), 1, noise=0.5, rate=1.0, steps=steps)
        return torch.cat([weight.detach().flatten() for weight in weights_of(learner)])

    start = torch.cat([weight.detach().flatten() for weight in weights_of(model())])
    expected = start
    for steps in (1, 2):  # the same noise: the second run goes through the first one's step
        expected = 0.75 * expected + 0.25 * after(steps)
    for physical in (64, 7):
        assert torch.allclose(after(2, average=0.75, physical=physical), expected, atol=1e-9)
