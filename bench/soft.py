"""Soft inputs: free token vectors in place of tokens, bound to one learner; and how they ask to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.errors import PluginError

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


@dataclass(frozen=True, eq=False)
class Schedule:
    """Training that was learned with a set of token vectors: T steps of plain SGD, run by the harness in place of the recipe.

    Weights are the learner's own at the start, float32, without dropout, weight decay or clipping; the token table stays as it is. Every
    seed draws a new head, unless the set brings one. Targets are the set's soft labels, which may then be any numbers.

    Args:
        rates_T2: Step sizes of the weights below the head, and of the head's, float32.
        parts: Parts that every class's texts are dealt to in turn; step t trains on all texts of part t mod `parts`.
        attention_XH: Attention that is wanted of every text, for the H heads of all layers, float32: for each of its L tokens, special
            tokens included, what the first token pays it; or L x L rows, token by token. None for no wish.
        head_CX: A head to start from, weights and in the last column offsets, float32; None for a new one with every seed.
        lora: Seed of rank-8 adapters on the query and value maps, which are trained in the place of all weights below the head; or None.
    """

    rates_T2: NDArray[np.float32]
    parts: int = 1
    attention_XH: NDArray[np.float32] | None = None
    head_CX: NDArray[np.float32] | None = None
    lora: int | None = None

    @property
    def head_only(self) -> bool:
        """Whether all weights below the head stay as they are."""
        return self.lora is None and not self.rates_T2[:, 0].any()

    def rows_of(self, labels_M: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Returns the texts of every step."""
        place_M = np.zeros(len(labels_M), dtype=np.int64)
        for label in np.unique(labels_M):
            own = np.flatnonzero(labels_M == label)
            place_M[own] = np.arange(len(own)) % self.parts
        return [np.flatnonzero(place_M == step % self.parts) for step in range(len(self.rates_T2))]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Returns everything by name, as files hold it."""
        made = {
            "rates": self.rates_T2,
            "parts": np.array([self.parts]),
            "attention": self.attention_XH,
            "head": self.head_CX,
            "lora": None if self.lora is None else np.array([self.lora]),
        }
        return {name: array for name, array in made.items() if array is not None}

    @classmethod
    def of_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Schedule | None:
        """Undoes `tensors`; None where there are none."""
        if "rates" not in tensors:
            return None
        lora = int(tensors["lora"][0]) if "lora" in tensors else None
        return cls(tensors["rates"], int(tensors["parts"][0]), tensors.get("attention"), tensors.get("head"), lora)

    def check(self, labels_M: NDArray[np.int64], n_classes: int) -> None:
        """Checks shapes and numbers.

        Raises:
            PluginError: Says what is wrong.
        """
        shapes = {
            "rates_T2": (self.rates_T2, 2, 2),
            "attention_XH": (self.attention_XH, 2, None),
            "head_CX": (self.head_CX, 2, None),
        }
        for name, (array, dimensions, width) in shapes.items():
            if array is None:
                continue
            fits = array.ndim == dimensions and array.dtype == np.float32 and (width is None or array.shape[1] == width)
            if not fits or not len(array) or not np.isfinite(array).all():
                raise PluginError(
                    f"a schedule's {name} must be 2-D finite float32; got shape {array.shape} of {array.dtype}."
                )
        if self.rates_T2.min() < 0:
            raise PluginError(f"a schedule's step sizes must not be negative; got {self.rates_T2.min():.3g}.")
        if self.attention_XH is not None and self.attention_XH.min() < 0:
            raise PluginError("a schedule's attention must not be negative; expected shares.")
        if self.head_CX is not None and len(self.head_CX) != n_classes:
            raise PluginError(f"a schedule's head has {len(self.head_CX)} classes; expected {n_classes}.")
        rows_of = self.rows_of(labels_M) if self.parts > 0 else []
        if not rows_of or any(not len(rows) for rows in rows_of):
            raise PluginError(f"a schedule with {self.parts} parts leaves a step without texts; use fewer parts.")
        if len(np.unique(np.concatenate(rows_of))) < len(labels_M):
            raise PluginError(
                f"a schedule of {len(rows_of)} steps with {self.parts} parts never trains on some texts; use fewer parts."
            )
