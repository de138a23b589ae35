"""DP-SGD against loops over rows: clipped sums, noise, samples; and models whose rows cannot be told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bench.data.text import LabelledText
from bench.errors import UsageError
from bench.privacy.accounting import Mechanism
from bench.privacy.row_checks import check_rows
from bench.privacy.training import RowModel, TrainingOptions, clipped_sums, hooks_for, train_rows

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

    def encode(self, rows: LabelledText) -> dict[str, torch.Tensor]:
        return {"ids": torch.tensor([[int(word) for word in text.split()] for text in rows.fields["text"]])}

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


def rows_of(n_rows: int = 40, seed: int = 0) -> LabelledText:
    """Texts that are numbers of words."""
    ids_NL = np.random.default_rng(seed).integers(1, WORDS, (n_rows, LENGTH))
    texts = [" ".join(map(str, row)) for row in ids_NL]
    return LabelledText({"text": texts}, np.zeros(n_rows, dtype=np.int64), ("a",), np.arange(n_rows))


def data(n_rows: int = 40, seed: int = 0) -> dict[str, torch.Tensor]:
    return Tokens(nn.Identity()).encode(rows_of(n_rows, seed))


def train(learner: RowModel, rows: LabelledText, options: TrainingOptions, seed: int, **settings: Any) -> None:
    kind = "gaussian" if settings["rate"] == 1 else "sampled-gaussian"
    mechanism = Mechanism(kind, settings["noise"], settings["rate"], settings["steps"])
    blind = settings.get("blind", False)
    train_rows(learner, rows, options, mechanism=mechanism, noise=np.random.default_rng(seed), blind=blind)


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


def test_blind_training_is_on_noise_whatever_the_rows():
    trained = []
    for seed in (0, 1):
        learner = model()
        train(learner, rows_of(seed=seed), TrainingOptions(1e-2), 2, noise=1.0, rate=0.3, steps=3, blind=True)
        trained.append(torch.cat([weight.detach().flatten() for weight in weights_of(learner)]))
    assert torch.equal(*trained)
    assert not torch.equal(trained[0], torch.cat([weight.detach().flatten() for weight in weights_of(model())]))


def test_without_noise_training_is_ordinary_and_learns():
    learner = model(dtype=torch.float32)
    batch = drawn(learner, 40)
    before = float(learner.losses(batch).detach().mean())
    train(learner, rows_of(), TrainingOptions(lr=3e-3, clip=1e-6), 1, noise=0.0, rate=0.5, steps=120)
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
    check_rows(learner, rows_of(8), TrainingOptions(0.1))
    check_rows(learner, rows_of(8), TrainingOptions(0.1, ghost=True))
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(learner), strict=True))
    assert getattr(learner.module.words.weight, "grad_sample", None) is None


class Tied(Tiny):
    """The head is the word table."""

    def __init__(self) -> None:
        super().__init__()
        self.head.weight = self.words.weight


def test_a_weight_in_two_places_has_the_sum_of_both_gradients():
    torch.manual_seed(0)
    learner = Tokens(Tied().double())
    batch = drawn(learner)
    assert torch.allclose(clipped(learner, batch, 0.3, False), clipped_by_loop(learner, batch, 0.3), atol=1e-9)
    with pytest.raises(UsageError, match="ghost clipping cannot do this model"):
        check_rows(learner, rows_of(8), TrainingOptions(0.1, ghost=True))


class Padded(Tokens):
    """Pads to the longest row of what it is given."""

    def encode(self, rows: LabelledText) -> dict[str, torch.Tensor]:
        ids_NL = super().encode(rows)["ids"]
        return {"ids": ids_NL[:, : 3 + int(ids_NL[:, 0].max()) % 3]}


class Stratified(Tokens):
    """Hides more of a row the more often its first word is in the batch."""

    def draw(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        often_B = (batch["ids"][:, :1] == batch["ids"][:, 0]).float().mean(1, keepdim=True)
        hidden = torch.rand(batch["ids"].shape, generator=generator) < often_B
        return {**batch, "shown": batch["ids"].masked_fill(hidden, 0)}


class Counting(Tiny):
    """Counts the words that it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(WORDS))

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        self.seen += torch.bincount(ids_BL.flatten(), minlength=WORDS)
        return super().forward(ids_BL)


def test_models_whose_rows_cannot_be_told_apart_are_refused():
    def refused(learner: Tokens, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            check_rows(learner, rows_of(8), TrainingOptions(0.1))

    torch.manual_seed(0)
    refused(Tokens(Shared()), r"gradients of 1 rows, the batch has 8|'places.weight' are wrong")
    refused(Coupled(Tiny()), "in a batch they are not what each row gives by itself")
    refused(Padded(Tiny()), r"encode\(rows\): 'ids' of a row depends on the rows beside it")
    refused(Stratified(Tiny()), r"draw\(batch\): 'shown' of a row depends on the rows beside it")
    refused(Tokens(Counting()), "buffer 'seen' changes when rows are read")
    normed = Tiny()
    normed.norm = nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(WIDTH), nn.Unflatten(0, (-1, LENGTH)))
    refused(Tokens(normed), "are wrong by|BatchNorm|buffer")


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
