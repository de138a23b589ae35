"""A public language model that learns classes: gradients row by row, conditioning, sampling, and training through the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tdbench.bench.context import Source
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import UsageError
from tdbench.bench.models.class_lm import RowLM
from tdbench.bench.models.public_rows import public_rows
from tdbench.bench.privacy.oracle import PrivateOracle
from tdbench.bench.privacy.row_checks import check_rows
from tdbench.bench.privacy.training import TrainingOptions
from tdbench.bench.testing.private import HashedEncoder, small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tests.unit.row_models import clipped, clipped_by_loop
from tests.unit.tiny_models import context

KIND = "two classes"
ROWS = small_task(KIND).train
SPACES = ("classes", "norms", "all")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Any:
    cache: Path = tmp_path_factory.mktemp("cache")
    ctx = replace(
        context(),
        public_pool=small_pool(KIND),
        make_source=lambda: Source("tiny", tiny_learner(), MAX_LENGTH, cache),
        make_encoder=HashedEncoder,
    )
    found = public_rows(ctx, tuple(ROWS.fields), ROWS.label_names, 400)
    return ctx, ctx.task_lm(found.rows, found.source), found.source


def model(public: Any, space: Any = "norms") -> RowLM:
    _, lm, source = public
    torch.manual_seed(0)
    return RowLM(lm, source, 2, space)


def moved(rows: RowLM) -> RowLM:
    """Classes that differ, so that no gradient vanishes."""
    with torch.no_grad():
        rows.module.place.weight.normal_(0, 0.1)
        rows.module.score.weight.normal_(0, 0.1)
    return rows


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("ghost", [False, True])
def test_clipped_sums_are_those_of_a_loop_over_rows(public, space, ghost):
    rows = moved(model(public, space))
    rows.module.double().train()
    batch = rows.encode(ROWS.take(np.arange(9)))
    expected = clipped_by_loop(rows, batch, 0.5)
    assert torch.allclose(clipped(rows, batch, 0.5, ghost), expected, rtol=1e-6, atol=1e-9)


def test_a_model_with_dropout_is_refused(public):
    rows = moved(model(public))
    rows.module.inner.transformer.drop.p = 0.3
    with pytest.raises(UsageError, match="are wrong by"):
        check_rows(rows, ROWS.take(np.arange(6)), TrainingOptions(0.1))


def test_spaces_name_what_is_trained(public):
    counts = [sum(w.numel() for w in model(public, space).module.parameters() if w.requires_grad) for space in SPACES]
    assert counts[0] < counts[1] < counts[2]
    _, lm, _ = public
    assert counts[0] == 2 * (lm.model.config.n_embd + lm.model.config.vocab_size)
    frozen = dict(model(public, "all").module.named_parameters())["inner.transformer.wte.weight"]
    assert not frozen.requires_grad


def test_before_training_it_is_the_public_model(public):
    _, lm, _ = public
    rows = model(public)
    rows.module.eval()
    few = ROWS.take(np.arange(7))
    batch = rows.encode(few)
    from tdbench.bench.matching.initialisation import words_of

    expected = lm.nll(words_of(public[2], few), few.labels_N)
    assert rows.losses(batch).detach().numpy() == pytest.approx(expected, rel=2e-2)  # the public one in bfloat16


def test_scores_of_a_class_show_in_its_samples_alone(public):
    rows = model(public)
    rows.module.eval()
    piece = 5
    with torch.no_grad():
        rows.module.score.weight[1, piece] = 8.0
    lm = rows.sampler("cpu")
    texts = lm.sample(np.repeat([0, 1], 40), 1, seed=0)
    token = int(lm.vocabulary.pieces_U[piece])
    often = [
        np.mean([(part == token).mean() for (part,) in texts[start : start + 40] if len(part)]) for start in (0, 40)
    ]
    assert often[1] > 0.5 > 0.2 > often[0]


def test_decoding_token_by_token_gives_the_scores_of_whole_rows(public):
    rows = moved(model(public))
    rows.module.eval()
    batch = rows.encode(ROWS.take(np.arange(4)))
    with torch.no_grad():
        whole = rows.module.of_rows(batch["ids"][:, :6], batch["labels"])
        decoder = rows.sampler("cpu").decoder(ROWS.labels_N[:4])
        for place in range(1, 6):
            decoder.append(batch["ids"][:, place])
    assert (decoder.logits.argmax(1) == whole[:, 5].argmax(1)).float().mean() >= 0.75  # bfloat16 may turn a tie
    assert torch.corrcoef(torch.stack([decoder.logits.flatten(), whole[:, 5].flatten()]))[0, 1] > 0.99


def test_the_public_model_knows_the_commonest_tokens_only(public):
    _, lm, _ = public
    assert 50 < lm.vocabulary.n_pieces <= 400


def trained(public: Any, rows: LabelledText, epsilon: float, **options: Any) -> tuple[RowLM, PrivateOracle]:
    ctx = public[0]
    asked = PrivateOracle(rows, epsilon, 1e-4, ctx=ctx, **{"group": 1, "noise_only": False, **options})
    asked.allocate(asked.training_query("training", batch=60, epochs=5))
    made = model(public)
    asked.train("training", made, TrainingOptions(lr=0.02))
    return made, asked


def losses(made: RowLM, rows: LabelledText) -> float:
    made.module.eval()
    return float(made.losses(made.encode(rows)).detach().mean())


def test_training_through_the_oracle_learns_classes_and_is_booked(public):
    test = small_task(KIND).test
    swapped = LabelledText(test.fields, 1 - test.labels_N, test.label_names, test.row_ids_N)
    exact, asked = trained(public, ROWS, float("inf"))
    before = losses(model(public), test)
    assert losses(exact, test) < before
    assert losses(exact, test) < losses(exact, swapped)
    (query,) = asked.ledger.queries()
    assert (query.mechanism, query.rate, query.steps, query.sensitivity) == ("sampled-gaussian", 60 / 240, 20, 1.0)
    noisy, _ = trained(public, ROWS, 0.5)
    assert losses(noisy, test) > losses(exact, test)


def test_noise_alone_trains_the_same_model_whatever_the_rows(public):
    other = LabelledText(ROWS.fields, 1 - ROWS.labels_N, ROWS.label_names, ROWS.row_ids_N)
    first, second = (trained(public, rows, 2.0, noise_only=True)[0] for rows in (ROWS, other))
    assert torch.equal(first.module.score.weight, second.module.score.weight)
    assert float(first.module.score.weight.detach().abs().max()) > 0
