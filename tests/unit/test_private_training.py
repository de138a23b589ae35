"""DP-SGD against loops over rows: clipped sums, noise, samples; and models whose rows cannot be told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bench.errors import UsageError
from bench.privacy.training import RowModel, TrainingOptions, check_rows, clipped_sums, hooks_for, train_rows

WIDTH, WORDS, LENGTH = 8, 20, 6


class Tiny(nn.Module):
    """A word table, places, one attention layer, layer norm and a head that shares the table."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.mix, self.norm, self.head = nn.Linear(WIDTH, 3 * WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS)

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        places_BL = torch.arange(ids_BL.shape[1]).repeat(len(ids_BL), 1)
        x = self.words(ids_BL) + self.places(places_BL)
        q, k, v = self.mix(x).chunk(3, -1)
        return self.head(self.norm(x + torch.softmax(q @ k.transpose(1, 2) / WIDTH**0.5, -1) @ v))


class Tokens(RowModel):
    """Predicts each token from the whole text, with noise on some of them."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def encode(self, rows: Any) -> dict[str, torch.Tensor]:
        return rows

    def draw(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        hidden = torch.rand(batch["ids"].shape, generator=generator) < 0.4
        return {**batch, "shown": batch["ids"].masked_fill(hidden, 0)}

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits_BLV = self.module(batch["shown"])
        each = nn.functional.cross_entropy(logits_BLV.flatten(0, 1), batch["ids"].flatten(), reduction="none")
        return each.view(batch["ids"].shape).mean(1)


def model(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tokens:
    torch.manual_seed(seed)
    return Tokens(Tiny().to(dtype))


def data(n_rows: int = 40, seed: int = 0) -> dict[str, torch.Tensor]:
    return {"ids": torch.randint(1, WORDS, (n_rows, LENGTH), generator=torch.Generator().manual_seed(seed))}


def drawn(learner: Tokens, n_rows: int = 12) -> dict[str, torch.Tensor]:
    return learner.draw(data(n_rows), torch.Generator().manual_seed(1))


def weights_of(learner: RowModel) -> list[nn.Parameter]:
    return [weight for weight in learner.module.parameters() if weight.requires_grad]


def clipped_by_loop(learner: Tokens, batch: dict[str, torch.Tensor], clip: float) -> torch.Tensor:
    total = 0.0
    for row in range(len(batch["ids"])):
        loss = learner.losses({name: column[row : row + 1] for name, column in batch.items()}).sum()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights_of(learner))])
        total = total + flat * min(1.0, clip / (float(flat.norm()) + 1e-6))
    assert isinstance(total, torch.Tensor)
    return total


def clipped(learner: Tokens, batch: dict[str, torch.Tensor], clip: float, ghost: bool) -> torch.Tensor:
    learner.module.train()
    hooks = hooks_for(learner.module, clip, ghost)
    options = TrainingOptions(lr=0.1, clip=clip, ghost=ghost)
    sums = clipped_sums(learner, batch, weights_of(learner), hooks, options)
    hooks.cleanup()
    for weight in weights_of(learner):
        weight.grad = weight.grad_sample = None
    return torch.cat([grad.flatten() for grad in sums if grad is not None])


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
        train_rows(learner, data(), options, n_rows=40, noise=1.0, rate=0.3, steps=4, seed=5)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    # Chance is drawn row by row in the order of the sample, so it does not depend on the cuts either.
    assert torch.allclose(trained[0], trained[1], atol=1e-8)
    assert torch.allclose(trained[1], trained[2], atol=1e-8)


def test_ghost_clipping_trains_as_per_row_gradients_do():
    trained = []
    for ghost in (False, True):
        learner = model()
        train_rows(
            learner,
            data(),
            TrainingOptions(1e-2, clip=0.1, ghost=ghost),
            n_rows=40,
            noise=0.5,
            rate=0.3,
            steps=3,
            seed=2,
        )
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert torch.allclose(*trained, atol=1e-8)


class Bare(RowModel):
    """One weight vector whose gradient for a row is the row."""

    def __init__(self, width: int = 400) -> None:
        self.module = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.module.weight)

    def encode(self, rows: Any) -> dict[str, torch.Tensor]:
        return rows

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.module(batch["x"]).squeeze(1)


def steps_of(monkeypatch: pytest.MonkeyPatch, learner: Bare, x: torch.Tensor, **settings: Any) -> list[torch.Tensor]:
    """Returns the gradient of every step, times the expected number of rows: the noisy sums."""
    seen: list[torch.Tensor] = []

    def step(self: Any) -> None:
        seen.append(next(learner.module.parameters()).grad.clone() * settings["rate"] * len(x))

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train_rows(
        learner, {"x": x}, TrainingOptions(lr=0.1, clip=settings.pop("clip", 1.0)), n_rows=len(x), seed=3, **settings
    )
    return seen


def test_the_noise_has_the_spread_of_the_clipping_norm_times_the_multiplier(monkeypatch):
    found = steps_of(monkeypatch, Bare(), torch.zeros(50, 400), noise=1.7, rate=0.2, steps=30, clip=0.5)
    assert stats.kstest(torch.cat(found).flatten().numpy(), stats.norm(scale=1.7 * 0.5).cdf).pvalue > 0.01


def test_samples_are_poisson_and_rows_are_clipped(monkeypatch):
    x = torch.eye(400)[:300] * 5.0  # every row shows in a place of its own
    found = torch.stack(steps_of(monkeypatch, Bare(), x, noise=1e-9, rate=0.1, steps=400)).squeeze(1)[:, :300]
    assert set(np.round(found.unique().numpy(), 4).tolist()) == {0.0, 1.0}
    sizes = found.sum(1).numpy()
    assert sizes.mean() == pytest.approx(30, abs=4 * np.sqrt(27 / 400))
    # The variance of a binomial, not of samples of one size; its estimate has a relative error of sqrt(2 / 400).
    assert sizes.var(ddof=1) == pytest.approx(27, rel=4 * np.sqrt(2 / 400))
    rows = found.mean(0).numpy()
    assert np.abs(rows - 0.1).max() < 5 * np.sqrt(0.09 / 400)


def test_an_empty_sample_is_a_step_of_noise(monkeypatch):
    found = steps_of(monkeypatch, Bare(), torch.ones(3, 400), noise=1.0, rate=0.01, steps=20)
    assert len(found) == 20
    assert all(float(one.std()) > 0.5 for one in found)


def test_training_without_rows_is_training_on_noise():
    trained = []
    for _ in range(2):
        learner = model()
        train_rows(learner, None, TrainingOptions(1e-2), n_rows=40, noise=1.0, rate=0.3, steps=3, seed=2)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert torch.equal(*trained)
    assert not torch.equal(trained[0], torch.cat([weight.detach().flatten() for weight in weights_of(model())]))


def test_without_noise_training_is_ordinary_and_learns():
    learner, rows = model(dtype=torch.float32), data()
    batch = drawn(learner, 40)
    before = float(learner.losses(batch).detach().mean())
    train_rows(learner, rows, TrainingOptions(lr=3e-3, clip=1e-6), n_rows=40, noise=0.0, rate=0.5, steps=60, seed=1)
    assert float(learner.losses(batch).detach().mean()) < 0.8 * before


class Shared(Tiny):
    """Places looked up once for the whole batch, as several published models do."""

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        x = self.words(ids_BL) + self.places(torch.arange(ids_BL.shape[1])[None])
        return self.head(self.norm(x))


class Coupled(Tokens):
    """Weighs every row's loss by the mean loss of the batch."""

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        losses_B = super().losses(batch)
        return losses_B * losses_B.detach().mean()


def test_a_sound_model_passes_the_check_and_keeps_its_weights():
    learner = model(dtype=torch.float32)
    before = [weight.detach().clone() for weight in weights_of(learner)]
    check_rows(learner, data(8), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(learner), strict=True))
    assert not hasattr(learner.module.words.weight, "grad_sample") or learner.module.words.weight.grad_sample is None


def test_models_whose_rows_cannot_be_told_apart_are_refused():
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=r"gradients of 1 rows, the batch has 8|'places.weight' are wrong"):
        check_rows(Tokens(Shared()), data(8), seed=0)
    with pytest.raises(UsageError, match="in a batch they are not what each row gives by itself"):
        check_rows(Coupled(Tiny()), data(8), seed=0)
    normed = Tiny()
    normed.norm = nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(WIDTH), nn.Unflatten(0, (-1, LENGTH)))
    with pytest.raises((UsageError, ValueError)):
        check_rows(Tokens(normed), data(8), seed=0)
