"""Training of diffusion models: gradients by row, what is trained, public training and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tdbench.bench.models.public_rows import PublicRows
from tdbench.bench.privacy.row_checks import check_rows
from tdbench.bench.privacy.training import TrainingOptions
from tdbench.methods.dp_diffusion.alphabet import Alphabet
from tdbench.methods.dp_diffusion.gaussian import GaussianDiffusion, damaged
from tdbench.methods.dp_diffusion.generator import PublicTraining, trained_publicly
from tdbench.methods.dp_diffusion.schedule import NoiseSchedule
from tests.unit import row_models
from tests.unit.diffusion_models import (
    LATENT,
    LENGTH,
    MAKERS,
    ROWS,
    SHAPE,
    gaussian,
    masked,
    moved,
    public_texts,
    small_alphabet,
)
from tests.unit.tiny_models import context


@pytest.fixture(scope="module")
def public() -> PublicRows:
    return public_texts()


@pytest.fixture(scope="module")
def alphabet() -> Alphabet:
    return small_alphabet()


# Rows -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["classes", "norms", "all"])
@pytest.mark.parametrize("name", MAKERS)
def test_clipped_sums_are_those_of_a_loop_over_rows(public, alphabet, name, space):
    model = moved(MAKERS[name](public, alphabet, draws=3))
    model.trains(space)
    model.denoiser.double().train()
    batch = model.draw(model.encode(ROWS.take(np.arange(7))), torch.Generator().manual_seed(0))
    batch = {key: one.double() if one.is_floating_point() else one for key, one in batch.items()}
    expected = row_models.clipped_by_loop(model, batch, 0.05)
    found = row_models.clipped(model, batch, 0.05, False)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert float(found.norm()) > 0


@pytest.mark.parametrize("name", MAKERS)
def test_rows_know_nothing_of_each_other(public, alphabet, name):
    model = moved(MAKERS[name](public, alphabet))
    model.trains("all")
    check_rows(model, replace_labels(public.rows.take(np.arange(6))), TrainingOptions(0.1))


def test_damage_of_a_text_knows_nothing_of_others(public, alphabet):
    model = MAKERS["dp_genie"](public, alphabet).in_public()
    rows = replace_labels(public.rows.take(np.arange(40)))
    check_rows(model, rows.take(np.arange(6)), TrainingOptions(0.1))
    batch = model.draw(model.encode(rows), torch.Generator().manual_seed(0))
    prompted_B = (batch["damaged"] == model._prompts_CP[batch["labels"]]).all(1)
    assert 8 < int(prompted_B.sum()) < 32
    assert (batch["damaged"][~prompted_B] == -1).any(1).float().mean() > 0.4  # 0.9^12 of them stay whole
    private = MAKERS["dp_genie"](public, alphabet)
    assert "damaged" not in private.draw(private.encode(rows), torch.Generator().manual_seed(0))


def replace_labels(rows: Any) -> Any:
    return replace(rows, labels_N=np.arange(len(rows)) % 2)


def test_times_of_a_row_lie_in_even_strata(public, alphabet):
    times_BK = masked(public, alphabet, draws=4).times(200, torch.Generator().manual_seed(0))
    assert (((times_BK * 4).long()) == torch.arange(4)).all()
    assert float(times_BK.var(0).max()) == pytest.approx(1 / 16 / 12, rel=0.25)


def test_spaces_name_what_is_trained(public, alphabet):
    counts = []
    for space in ("classes", "norms", "all"):
        model = masked(public, alphabet)
        model.trains(space)
        counts.append(sum(w.numel() for w in model.denoiser.parameters() if w.requires_grad))
    assert counts[0] == 2 * (SHAPE.width + LATENT)
    assert counts[0] < counts[1] < counts[2] == sum(w.numel() for w in masked(public, alphabet).denoiser.parameters())


def test_damage_hides_about_three_tenths_in_spans():
    ids_BL = torch.arange(1, 41).expand(2_000, 40)
    hidden_BL = damaged(ids_BL, torch.Generator().manual_seed(0)) == -1
    assert 0.22 < float(hidden_BL.float().mean()) < 0.3
    alone_BL = hidden_BL[:, 1:-1] & ~hidden_BL[:, :-2] & ~hidden_BL[:, 2:]
    assert not alone_BL[:, 2:-2].any()


# Public training ------------------------------------------------------------------------------------------------------------------


def mean_loss(model: Any, rows: Any) -> float:
    batch = model.draw(model.encode(rows), torch.Generator().manual_seed(5))
    with torch.no_grad():
        return float(model.losses({name: one.to(model.device) for name, one in batch.items()}).mean())


def test_measured_losses_make_no_stairs(public, alphabet, monkeypatch):
    model = GaussianDiffusion(alphabet, public.source, SHAPE, 2, 3, steps=2000)
    monkeypatch.setattr(model, "_estimate", lambda _s, _l, x, steps, _p: x / (1 + steps[..., None, None] / 400))
    kept_TL = model.schedule.adapted(model.in_public().losses_by_step(public.rows)).kept_TL
    assert len(torch.unique((kept_TL[:, 0] * 1e3).round())) > 500
    assert float(kept_TL.diff(dim=0).abs().max()) < 0.1
    assert model.draws == 3


@pytest.mark.parametrize("name", MAKERS)
def test_public_training_lowers_the_loss_and_learns_nothing_of_classes(public, alphabet, name, tmp_path):
    model = MAKERS[name](public, alphabet)
    before, ctx = mean_loss(model, public.rows), context()
    training = PublicTraining(steps=60, batch=32, lr=3e-3)
    trained_publicly(model, public, training, cache=tmp_path, cost=ctx.cost, tick=lambda _: None)
    after = mean_loss(model, public.rows)
    assert after < 0.97 * before
    assert all((weight == 0).all() for weight in model.denoiser.class_weights())
    again = MAKERS[name](public, alphabet)
    trained_publicly(again, public, training, cache=tmp_path, cost=ctx.cost, tick=lambda _: None)
    assert mean_loss(again, public.rows) == pytest.approx(after, rel=1e-6)
    cold, hit = [phase for phase in ctx.cost.phases if phase.phase == "public training"]
    assert hit.from_cache
    assert hit.wall_s == cold.wall_s
    other = MAKERS[name](public, alphabet)
    trained_publicly(other, public, replace(training, lr=1e-4), cache=tmp_path, cost=ctx.cost, tick=lambda _: None)
    assert mean_loss(other, public.rows) != pytest.approx(after, rel=1e-4)


def test_an_adapted_schedule_is_fitted_and_kept(public, alphabet, tmp_path):
    training = PublicTraining(steps=20, batch=32, lr=3e-3)
    model = gaussian(public, alphabet, adapted=True)
    ctx = context()
    trained_publicly(model, public, training, cache=tmp_path, cost=ctx.cost, tick=lambda _: None)
    assert model.schedule.kept_TL.shape == (50, LENGTH)
    assert not torch.allclose(model.schedule.kept_TL, NoiseSchedule.square_root(50).kept_TL, atol=1e-3)
    again = gaussian(public, alphabet, adapted=True)
    trained_publicly(again, public, training, cache=tmp_path, cost=ctx.cost, tick=lambda _: None)
    assert torch.equal(again.schedule.kept_TL, model.schedule.kept_TL)
    assert torch.equal(again.vectors_UE, model.vectors_UE)
    assert len(again.sample(np.array([0, 1]), 1, 5, seed=0)) == 2
