"""Tokenised texts and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Encoded:
    """N tokenised texts of varying length.

    Args:
        ids: Token ids of every text, special tokens included.
        pad_id: Id that fills short rows.
        type_ids: Segment ids of every text, for pair inputs of BERT-like models, or None.
        soft_SD: Token vectors: an id of the token table's size or more names one of them, counted from that size. None without.
    """

    ids: list[NDArray[np.int64]]
    pad_id: int
    type_ids: list[NDArray[np.int64]] | None = None
    soft_SD: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths_N(self) -> NDArray[np.int64]:  # noqa: N802 - a shape suffix
        """Tokens of every text."""
        return np.array([len(row) for row in self.ids], dtype=np.int64)

    def take(self, positions: NDArray[np.int64]) -> Encoded:
        """Returns the texts at `positions`, in that order."""
        types = None if self.type_ids is None else [self.type_ids[i] for i in positions]
        return Encoded([self.ids[i] for i in positions], self.pad_id, types, self.soft_SD)

    def collate(self, positions: NDArray[np.int64], device: str) -> dict[str, torch.Tensor]:
        """Pads rows on the right to the longest of the batch.

        Returns:
            `input_ids` and `attention_mask` (B, L), and `token_type_ids` where there are segments.
        """
        import torch

        rows = [self.ids[i] for i in positions]
        width = max(1, *(len(row) for row in rows))
        ids_BL = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        mask_BL = np.zeros((len(rows), width), dtype=np.int64)
        type_BL = np.zeros((len(rows), width), dtype=np.int64)
        for row, (position, tokens) in enumerate(zip(positions, rows, strict=True)):
            ids_BL[row, : len(tokens)] = tokens
            mask_BL[row, : len(tokens)] = 1
            if self.type_ids is not None:
                type_BL[row, : len(tokens)] = self.type_ids[position]
        batch = {"input_ids": ids_BL, "attention_mask": mask_BL}
        if self.type_ids is not None:
            batch["token_type_ids"] = type_BL
        return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


Tokenize = Callable[[dict[str, list[str]], int], Encoded]
"""Tokenizer of text fields; the second argument is the largest number of tokens of a text."""


def training_batches(n_rows: int, batch_size: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yields `steps` batches of min(batch_size, n_rows) positions; every row occurs once an epoch.

    An epoch's remainder opens the next batch, so all batches have the same size.
    """
    size = min(batch_size, n_rows)
    stream = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(stream) < size:
            stream = np.concatenate([stream, rng.permutation(n_rows)])
        batch, stream = stream[:size], stream[size:]
        yield batch
