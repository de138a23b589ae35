"""The denoising transformer. B rows, K noised versions of each, L target tokens, P source tokens, W width, E latent width, C classes.

The K versions of a row are a dimension of their own behind the batch, so that what opacus takes for a row's gradient is the sum over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class DenoiserShape:
    """Size of a denoiser.

    Args:
        layers: Blocks.
        width: Width W.
        heads: Attention heads.
        latent: Width E of token vectors.
        length: Most tokens of a text, and of a source.
        encoder_layers: Blocks that read the source by themselves, for the others to attend to; 0: one sequence of source and target.
        timed: Whether it is told how much noise there is.
        self_conditioned: Whether it is shown its last estimate.
    """

    layers: int
    width: int
    heads: int
    latent: int
    length: int
    encoder_layers: int = 0
    timed: bool = True
    self_conditioned: bool = False


class Attention(nn.Module):
    """Multi-head attention of (..., L, W) to (..., M, W), from linear layers alone, whose gradients opacus knows by row."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Returns (..., L, W)."""
        q, k, v = self._split(self.query(x)), self._split(self.key(memory)), self._split(self.value(memory))
        k, v = k.expand(*q.shape[:-2], *k.shape[-2:]), v.expand(*q.shape[:-2], *v.shape[-2:])
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(-3, -2).flatten(-2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self._heads, -1)).transpose(-3, -2)


class Block(nn.Module):
    """Pre-norm transformer block; with `crossed`, it attends to a memory too."""

    def __init__(self, width: int, heads: int, crossed: bool = False) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(width), Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if crossed else None
        self.cross = Attention(width, heads) if crossed else None
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        """Returns (..., L, W)."""
        normed = self.norm(x)
        x = x + self.mix(normed, normed)
        if self.cross is not None and self.cross_norm is not None:
            assert memory is not None
            x = x + self.cross(self.cross_norm(x), memory)
        return x + self.feed(self.feed_norm(x))


class Denoiser(nn.Module):
    """Estimates a target from a noised version of it, a source segment, and the class.

    What it knows of classes by name is the source; what it learns of them by heart is a vector for each at every place and one that is
    added to what comes out, both 0 at first.

    Args:
        shape: Size.
        n_classes: Number of classes C.
    """

    def __init__(self, shape: DenoiserShape, n_classes: int) -> None:
        super().__init__()
        width = shape.width
        self.shape = shape
        self.enter = nn.Linear(shape.latent, width)
        self.again = nn.Linear(shape.latent, width, bias=False) if shape.self_conditioned else None
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) if shape.timed else None
        self.place, self.source_place = nn.Embedding(shape.length, width), nn.Embedding(shape.length, width)
        crossed = shape.encoder_layers > 0
        self.encoder = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.encoder_layers))
        self.blocks = nn.ModuleList(Block(width, shape.heads, crossed) for _ in range(shape.layers))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, shape.latent)
        self.of_class, self.shift = nn.Embedding(n_classes, width), nn.Embedding(n_classes, shape.latent)
        for table in (self.place, self.source_place):
            nn.init.normal_(table.weight, std=0.02)
        for table in (self.of_class, self.shift):
            nn.init.zeros_(table.weight)

    def class_weights(self) -> list[torch.Tensor]:
        """Returns what it learns of classes by heart."""
        return [self.of_class.weight, self.shift.weight]

    def norm_weights(self) -> list[torch.Tensor]:
        """Returns the scales and offsets of its layer norms."""
        found: list[torch.Tensor] = []
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                found += [module.weight, module.bias]
        return found

    def forward(
        self,
        source_BPE: torch.Tensor,
        labels_B: torch.Tensor,
        x_BKLE: torch.Tensor,
        time_BK: torch.Tensor | None = None,
        previous_BKLE: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the (B, K, L, E) estimates.

        Args:
            source_BPE: Vectors of the source segment, without noise.
            labels_B: Classes.
            x_BKLE: Noised versions.
            time_BK: How much noise, 0 to 1; None where it is not told.
            previous_BKLE: Earlier estimates, or None for none.
        """
        n_versions = x_BKLE.shape[1]
        extra_B1W = self.of_class(labels_B)[:, None]
        source_BPW = self.enter(source_BPE) + self._places(self.source_place, source_BPE) + extra_B1W
        h = self.enter(x_BKLE) + self._places(self.place, x_BKLE) + extra_B1W[:, None]
        if self.again is not None and previous_BKLE is not None:
            h = h + self.again(previous_BKLE)
        if self.time is not None:
            assert time_BK is not None
            h = h + self.time(sinusoids(time_BK, self.shape.width).to(self.place.weight))[:, :, None]
        memory, n_source = None, 0
        if self.encoder:
            for block in self.encoder:
                source_BPW = block(source_BPW)
            memory = source_BPW[:, None]
        else:
            n_source = source_BPW.shape[1]
            h = torch.cat([source_BPW[:, None].expand(-1, n_versions, -1, -1), h], dim=2)
        for block in self.blocks:
            h = block(h, memory)
        return self.leave(self.norm(h[:, :, n_source:])) + self.shift(labels_B)[:, None, None]

    @staticmethod
    def _places(table: nn.Embedding, x: torch.Tensor) -> torch.Tensor:
        """Looks places up for each row by itself, so that their gradients can be told apart."""
        places_L = torch.arange(x.shape[-2], device=x.device)
        return table(places_L.expand(x.shape[:-1]).contiguous())


def sinusoids(time: torch.Tensor, width: int) -> torch.Tensor:
    """Returns (..., W) sines and cosines of numbers from 0 to 1, as transformers use for places (Vaswani et al., 2017)."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angles = 1_000 * time[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
