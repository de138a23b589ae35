"""Models whose rows cannot be told apart are refused before training; sound ones pass and stay as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import UsageError
from tdbench.bench.privacy.row_checks import check_rows
from tdbench.bench.privacy.training import TrainingOptions
from tests.unit.row_models import (
    LENGTH,
    WIDTH,
    Counting,
    Tiny,
    Tokens,
    clipped,
    clipped_by_loop,
    drawn,
    model,
    rows_of,
    weights_of,
)


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
