"""Diffusion models of text: schedules against Gaussian conditioning, tokens, losses, samplers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tdbench.bench.models.public_rows import PublicRows
from tdbench.methods.dp_diffusion.alphabet import Alphabet
from tdbench.methods.dp_diffusion.masked import T_MIN
from tdbench.methods.dp_diffusion.schedule import NoiseSchedule
from tests.unit.diffusion_models import (
    LATENT,
    LENGTH,
    MAKERS,
    ROWS,
    gaussian,
    masked,
    moved,
    public_texts,
    small_alphabet,
)


@pytest.fixture(scope="module")
def public() -> PublicRows:
    return public_texts()


@pytest.fixture(scope="module")
def alphabet() -> Alphabet:
    return small_alphabet()


# Schedules ------------------------------------------------------------------------------------------------------------------------


def test_square_root_schedule_is_the_published_one():
    schedule = NoiseSchedule.square_root(2000)
    for step in (0, 1, 500, 1999):
        assert float(schedule.kept_TL[step, 0]) == pytest.approx(max(1e-5, 1 - (step / 2000 + 1e-4) ** 0.5), abs=1e-6)
    assert schedule.spaced(5) == [1999, 1499, 1000, 500, 0]
    assert schedule.spaced(1) == [1999]
    assert schedule.spaced(10_000) == list(range(1999, -1, -1))


def test_the_way_back_is_what_conditioning_two_gaussians_gives():
    schedule, x0, x_late = NoiseSchedule.square_root(100), 0.7, -1.3
    for late, early in ((99, 40), (40, 39), (3, 0)):
        kept_late, kept_early = float(schedule.kept_TL[late, 0]), float(schedule.kept_TL[early, 0])
        # prior of the earlier step given the signal, times the likelihood of the later step given the earlier one
        slope = (kept_late / kept_early) ** 0.5
        precision = 1 / (1 - kept_early) + slope**2 / (1 - slope**2)
        mean = (kept_early**0.5 * x0 / (1 - kept_early) + slope * x_late / (1 - slope**2)) / precision
        noise = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        drawn = schedule.back(torch.full_like(noise, x_late), torch.full_like(noise, x0), late, early, noise)
        straight = schedule.back(
            torch.full((1, 1, 1, 1), x_late), torch.full((1, 1, 1, 1), x0), late, early, 0 * noise[:1]
        )
        assert float(straight) == pytest.approx(mean, abs=1e-4)
        assert float((drawn - straight).square().mean()) == pytest.approx(1 / precision, rel=0.05)


def test_an_adapted_schedule_makes_every_places_loss_grow_evenly():
    schedule = NoiseSchedule.square_root(200)
    noise_T = 1 - schedule.kept_TL[:, 0]
    losses_TL = torch.stack([noise_T**2, noise_T**0.5], dim=1)
    adapted = schedule.adapted(losses_TL)
    assert adapted.kept_TL.shape == (200, 2)
    for place, power in ((0, 2), (1, 0.5)):
        kept_T = adapted.kept_TL[:, place]
        assert (kept_T.diff() <= 1e-6).all()
        rise_T = ((1 - kept_T) ** power).diff()[5:-5]
        assert float(rise_T.std() / rise_T.mean()) < 0.1
        assert kept_T[[0, -1]].tolist() == pytest.approx(schedule.kept_TL[[0, -1], 0].tolist(), abs=1e-5)


def test_noised_versions_have_the_schedules_moments():
    schedule = NoiseSchedule.square_root(50)
    x0, noise = (
        torch.full((1, 1, 200, 100), 2.0),
        torch.randn(1, 1, 200, 100, generator=torch.Generator().manual_seed(0)),
    )
    x = schedule.noised(x0, torch.tensor([[20]]), noise)
    kept = float(schedule.kept_TL[20, 0])
    assert float(x.mean()) == pytest.approx(2 * kept**0.5, abs=0.03)
    assert float(x.var()) == pytest.approx(1 - kept, rel=0.03)


# Tokens ---------------------------------------------------------------------------------------------------------------------------


def test_tokens_survive_encoding_field_by_field(alphabet, public):
    first, second = public.words[0][0][:4], public.words[1][0][:3]
    row = alphabet.encode([(first, second)])[0].tolist()
    assert row[4] == alphabet.between
    back = alphabet.parts(row, 2)
    assert [part.tolist() for part in back] == [first.tolist(), second.tolist()]
    assert [part.tolist() for part in alphabet.parts(row, 1)] == [[*first.tolist(), *second.tolist()]]
    assert [part.tolist() for part in alphabet.parts([3, 4, 5, alphabet.end], 2)] == [
        alphabet.vocabulary.pieces_U[one].tolist() for one in ([3, 4], [5])
    ]


def test_of_a_long_pair_the_longer_field_is_cut_and_the_mark_stays(alphabet):
    piece = alphabet.vocabulary.pieces_U[5]
    row = alphabet.encode([(np.full(40, piece), np.full(4, piece))])[0].tolist()
    assert row == [5] * (LENGTH - 5) + [alphabet.between] + [5] * 4


def test_vectors_have_one_length_and_keep_the_tables_neighbours(alphabet, public):
    lengths_U = alphabet.vectors_UE.norm(dim=1)
    assert lengths_U.tolist() == pytest.approx([LATENT**0.5] * len(lengths_U), rel=1e-5)
    pieces = torch.from_numpy(alphabet.vocabulary.pieces_U)
    table = public.source.table_VE[pieces]
    table = torch.nn.functional.normalize(table - table.mean(0), dim=1)
    ours = torch.nn.functional.normalize(alphabet.vectors_UE[: len(pieces)], dim=1)
    assert torch.corrcoef(torch.stack([(table @ table.T).flatten(), (ours @ ours.T).flatten()]))[0, 1] > 0.6


def test_prompts_name_the_classes(alphabet, public):
    inner = public.source.tokenizer.inner
    said = [inner.decode(alphabet.parts(row, 1)[0]) for row in alphabet.prompts_CP.tolist()]
    for text, name in zip(said, public.rows.label_names, strict=True):
        assert text.split()[1] == name


# Masked diffusion -----------------------------------------------------------------------------------------------------------------


def test_the_masked_loss_has_the_expectation_of_the_bound(public, alphabet, monkeypatch):
    """A denoiser that always says the same has a bound of its mean cross-entropy, whatever the masks."""
    model = masked(public, alphabet, draws=2)
    batch = model.encode(ROWS.take(np.zeros(4_000, dtype=np.int64)))
    monkeypatch.setattr(
        model, "_logits", lambda _, ids, masked, wanted: model.alphabet.log_shares_U.expand(int(wanted.sum()), -1)
    )
    drawn = model.draw(batch, torch.Generator().manual_seed(0))
    expected = -model.alphabet.log_shares_U[batch["ids"][0]].mean()
    losses_B = model.losses(drawn)
    assert float(losses_B.mean()) == pytest.approx(float(expected), abs=4 * float(losses_B.std()) / 4_000**0.5)
    assert float(drawn["time"].min()) >= T_MIN


def test_masks_hide_what_stood_there(public, alphabet):
    model = moved(masked(public, alphabet))
    batch = model.draw(model.encode(ROWS.take(np.arange(3))), torch.Generator().manual_seed(0))
    changed = {**batch, "ids": batch["ids"].clone()}
    place = int(torch.nonzero(batch["masked"][0].all(0))[0])
    changed["ids"][0, place] = (changed["ids"][0, place] + 1) % alphabet.n_tokens
    ids_BKL, masked_BKL = batch["ids"][:, None].expand(batch["masked"].shape), batch["masked"]
    others = changed["ids"][:, None].expand(batch["masked"].shape)
    with torch.no_grad():
        seen, unseen = (model._logits(batch, ids, masked_BKL, masked_BKL) for ids in (ids_BKL, others))
    assert torch.equal(seen, unseen)


def test_writing_unmasks_each_place_once_with_the_denoisers_word(public, alphabet, monkeypatch):
    model, wanted_L, asked = masked(public, alphabet), torch.arange(LENGTH) + 3, []

    def certain(batch: Any, ids: Any, masked: Any, wanted: Any) -> torch.Tensor:
        asked.append(int(wanted.sum()))
        assert (wanted & ~masked).sum() == 0  # what stands is never written again
        places_S = torch.nonzero(wanted)[:, 2]
        return torch.nn.functional.one_hot(wanted_L[places_S], alphabet.n_tokens) * 100.0

    monkeypatch.setattr(model, "_logits", certain)
    made = model.write(torch.zeros(5, dtype=torch.int64), 1, 7, torch.Generator().manual_seed(0))
    assert torch.equal(made, wanted_L.expand(5, -1))
    assert sum(asked) == 5 * LENGTH
    assert len(asked) > 4


@pytest.mark.parametrize("n_fields", [1, 2])
@pytest.mark.parametrize("mark", ["end", "between"])
@pytest.mark.parametrize("name", MAKERS)
def test_no_field_is_ever_empty(public, alphabet, name, mark, n_fields):
    model = MAKERS[name](public, alphabet)
    with torch.no_grad():
        pushed_E = alphabet.vectors_UE[getattr(alphabet, mark)]
        model.denoiser.shift.weight.copy_(50 * pushed_E.expand(2, -1))
    texts = model.sample(np.array([0, 1] * 10), n_fields, 6, seed=0)
    assert all(len(part) for parts in texts for part in parts)
    if mark == "end":
        assert {len(part) for parts in texts for part in parts} == {1}


# Gaussian diffusion ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clamp", [False, True])
def test_a_denoiser_that_knows_the_text_writes_it(public, alphabet, monkeypatch, clamp):
    model = gaussian(public, alphabet, clamp=clamp)
    wanted_BL = torch.randint(0, alphabet.n_tokens - 2, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    steps, noise = [], []

    def knows(_s: Any, _l: Any, x: Any, steps_BK: Any, _p: Any) -> torch.Tensor:
        steps.append(int(steps_BK[0, 0]))
        signal = model.vectors_UE[wanted_BL][:, None]
        noise.append(float((x - model.schedule.kept(steps_BK).sqrt() * signal).var()))
        return signal

    monkeypatch.setattr(model, "_estimate", knows)
    made = model.write(torch.zeros(4, dtype=torch.int64), 1, 10, torch.Generator().manual_seed(1))
    assert torch.equal(made, wanted_BL)
    assert steps == model.schedule.spaced(10)
    expected = [1 - float(model.schedule.kept_TL[step, 0]) for step in steps]
    assert noise == pytest.approx(expected, rel=0.15, abs=0.01)


def test_a_gaussian_loss_is_the_squared_error_of_the_vectors(public, alphabet, monkeypatch):
    model = gaussian(public, alphabet)
    batch = model.draw(model.encode(ROWS.take(np.arange(5))), torch.Generator().manual_seed(0))
    monkeypatch.setattr(model, "_estimate", lambda _s, _l, x, _t, _p: torch.zeros_like(x))
    assert model.losses(batch).tolist() == pytest.approx([1.0] * 5, rel=1e-4)  # vectors of length sqrt(E)


def test_half_of_the_rows_see_their_last_estimate(public, alphabet, monkeypatch):
    model = MAKERS["dp_seqdiffuseq"](public, alphabet)
    batch = model.draw(model.encode(ROWS.take(np.arange(100))), torch.Generator().manual_seed(0))
    seen = []
    real = model._estimate

    def watch(source: Any, labels: Any, x: Any, steps: Any, previous: Any) -> torch.Tensor:
        seen.append(previous)
        return real(source, labels, x, steps, previous)

    monkeypatch.setattr(model, "_estimate", watch)
    model.losses(batch)
    first, second = seen
    assert first is None
    shown_B = second.abs().sum((1, 2, 3)) > 0
    assert torch.equal(shown_B, batch["again"])
    assert 30 < int(shown_B.sum()) < 70
    assert not second.requires_grad


def test_the_prompt_reaches_the_estimate(public, alphabet):
    for maker in MAKERS.values():
        model = maker(public, alphabet)
        one = {
            **model.draw(model.encode(ROWS.take([0])), torch.Generator().manual_seed(0)),
            "labels": torch.tensor([0]),
        }
        with torch.no_grad():
            first, second = model.losses(one), model.losses({**one, "labels": torch.tensor([1])})
        assert float((first - second).abs()) > 1e-6
