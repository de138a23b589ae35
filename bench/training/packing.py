"""Texts without padding: the tokens of a batch one after another, and the index arithmetic that attention needs.

Matrix products run on the T real tokens of a batch. Only attention pads, inside groups of texts of similar length. Shapes: B texts,
T tokens, G texts of a group, W its padded length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.batches import Encoded

WIDTH_STEP = 32
"""Padded lengths are multiples of this: other row lengths make torch's CPU softmax several times slower in bfloat16."""


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive texts that attend in one padded block.

    Args:
        start: First token of the group.
        stop: One past its last token.
        n_texts: G.
        width: W.
        sources: (G*W) position, counted from `start`, of the token in every cell; padding cells repeat a real token.
        cells: (stop - start) cell of every token.
        padding: Padding cells.
        bias_G1W: 0 for real tokens and -inf for padding; None where all texts have full length.
    """

    start: int
    stop: int
    n_texts: int
    width: int
    sources: torch.Tensor
    cells: torch.Tensor
    padding: torch.Tensor
    bias_G1W: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Packed:
    """A batch of B texts as T tokens, longest text first.

    Args:
        ids_T: Token ids.
        places_T: Position of every token inside its text, from 0.
        types_T: Segment ids, or None.
        starts_B: First token of every text.
        lengths_B: Tokens of every text.
        groups: Blocks of attention.
        order_B: Which of the caller's texts stands where.
    """

    ids_T: torch.Tensor
    places_T: torch.Tensor
    types_T: torch.Tensor | None
    starts_B: torch.Tensor
    lengths_B: torch.Tensor
    groups: tuple[Group, ...]
    order_B: torch.Tensor


def pack(encoded: Encoded, positions: NDArray[np.int64]) -> Packed:
    """Lays the texts at `positions` one after another, without a padding token."""
    lengths = np.array([len(encoded.ids[i]) for i in positions])
    order = np.argsort(-lengths, kind="stable")
    chosen, lengths = positions[order], lengths[order]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    types = None
    if encoded.type_ids is not None:
        types = torch.from_numpy(np.concatenate([encoded.type_ids[i] for i in chosen]))
    return Packed(
        torch.from_numpy(np.concatenate([encoded.ids[i] for i in chosen])),
        torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        types,
        torch.from_numpy(starts),
        torch.from_numpy(lengths),
        tuple(_groups(lengths)),
        torch.from_numpy(order),
    )


def _groups(lengths: NDArray[np.int64]) -> list[Group]:
    """Cuts texts, longest first, where the padded length changes."""
    widths = -(-lengths // WIDTH_STEP) * WIDTH_STEP
    ends = [*(np.flatnonzero(np.diff(widths)) + 1), len(lengths)]
    made, first, start = [], 0, 0
    for end in ends:
        made.append(_group(lengths[first:end], int(widths[first]), start))
        first, start = int(end), made[-1].stop
    return made


def _group(lengths: NDArray[np.int64], width: int, start: int) -> Group:
    places_GW = np.broadcast_to(np.arange(width), (len(lengths), width))
    real_GW = places_GW < lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    sources_GW = offsets[:, None] + np.minimum(places_GW, lengths[:, None] - 1)
    bias = None
    if not real_GW.all():
        bias = torch.from_numpy(np.where(real_GW, 0.0, -np.inf).astype(np.float32)).unsqueeze(1)
    return Group(
        start,
        start + int(lengths.sum()),
        len(lengths),
        width,
        torch.from_numpy(sources_GW.reshape(-1)),
        torch.from_numpy(np.flatnonzero(real_GW)),
        torch.from_numpy(np.flatnonzero(~real_GW)),
        bias,
    )
