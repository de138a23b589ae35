"""Soft inputs: free token vectors in place of tokens, bound to one learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import PluginError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SoftInputs:
    """M texts whose words are vectors of one learner's token table; the learner's own special tokens are put around them.

    Args:
        vectors_SD: All vectors, text after text, field after field, float32.
        lengths_MF: Vectors of every text and field, int64; each text has at least one.
        learner: Name of the learner whose table they are meant for.
    """

    vectors_SD: NDArray[np.float32]
    lengths_MF: NDArray[np.int64]
    learner: str

    def __len__(self) -> int:
        return len(self.lengths_MF)

    @property
    def rows(self) -> list[tuple[NDArray[np.int64], ...]]:
        """For every text and field, the positions of its vectors."""
        ends = np.cumsum(self.lengths_MF.reshape(-1))
        parts = np.split(np.arange(len(self.vectors_SD)), ends[:-1])
        n_fields = self.lengths_MF.shape[1]
        return [tuple(parts[i * n_fields : (i + 1) * n_fields]) for i in range(len(self))]

    def check(self, n_fields: int) -> None:
        """Checks shapes and numbers.

        Raises:
            PluginError: Says what is wrong.
        """
        lengths = self.lengths_MF
        if lengths.ndim != 2 or lengths.dtype.kind not in "iu" or lengths.shape[1] != n_fields:
            raise PluginError(f"soft inputs need (M, {n_fields}) integer lengths; got shape {lengths.shape}.")
        if not len(lengths) or lengths.min() < 0 or lengths.sum(axis=1).min() < 1:
            raise PluginError("a text of the soft inputs has no vector; expected at least one in every text.")
        if self.vectors_SD.ndim != 2 or self.vectors_SD.dtype != np.float32 or not np.isfinite(self.vectors_SD).all():
            raise PluginError("the vectors of soft inputs must be a 2-D float32 array of finite numbers.")
        if len(self.vectors_SD) != lengths.sum():
            raise PluginError(f"the lengths add up to {lengths.sum()} vectors; got {len(self.vectors_SD)}.")
