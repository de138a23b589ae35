"""Tiny models that are trained row by row, and what a loop over rows makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.data.text import LabelledText
from tdbench.bench.privacy.accounting import Mechanism
from tdbench.bench.privacy.training import RowModel, TrainingOptions, clipped_sums, hooks_for, train_rows

WIDTH, WORDS, LENGTH = 8, 20, 6


class Tiny(nn.Module):
    """A word table, places, one attention layer, layer norm and a head."""

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
    noise_only = settings.get("noise_only", False)
    train_rows(learner, rows, options, mechanism=mechanism, noise=np.random.default_rng(seed), noise_only=noise_only)


def drawn(learner: Tokens, n_rows: int = 12) -> dict[str, torch.Tensor]:
    return learner.draw(data(n_rows), torch.Generator().manual_seed(1))


def weights_of(learner: RowModel) -> list[nn.Parameter]:
    return [weight for weight in learner.module.parameters() if weight.requires_grad]


def clipped_by_loop(learner: RowModel, batch: dict[str, torch.Tensor], clip: float) -> torch.Tensor:
    total = 0.0
    for row in range(len(batch["ids"])):
        loss = learner.losses({name: column[row : row + 1] for name, column in batch.items()}).sum()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights_of(learner))])
        total = total + flat * min(1.0, clip / (float(flat.norm()) + 1e-6))
    assert isinstance(total, torch.Tensor)
    return total


def clipped(learner: RowModel, batch: dict[str, torch.Tensor], clip: float, ghost: bool) -> torch.Tensor:
    learner.module.train()
    hooks = hooks_for(learner.module, clip, ghost)
    options = TrainingOptions(lr=0.1, clip=clip, ghost=ghost)
    sums = clipped_sums(learner, batch, weights_of(learner), hooks, options)
    hooks.cleanup()
    for weight in weights_of(learner):
        weight.grad = weight.grad_sample = None
    return torch.cat([grad.flatten() for grad in sums if grad is not None])


class Counting(Tiny):
    """Counts the words that it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(WORDS))

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        self.seen += torch.bincount(ids_BL.flatten(), minlength=WORDS)
        return super().forward(ids_BL)
