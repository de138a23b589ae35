"""Labelled text: the form in which data reach methods and learners."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class LabelledText:
    """N texts of one or two fields with their class ids.

    Args:
        fields: Field name -> N strings; one field, or two for pair tasks.
        labels_N: Class ids, int64.
        label_names: Class names; their positions are the ids.
        row_ids_N: Position of every row in the file it was read from, int64.
    """

    fields: dict[str, list[str]]
    labels_N: NDArray[np.int64]
    label_names: tuple[str, ...]
    row_ids_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.label_names)

    def take(self, positions: ArrayLike) -> LabelledText:
        """Returns the rows at the given positions (not row ids), in that order."""
        index = np.asarray(positions, dtype=np.int64)
        fields = {name: [column[i] for i in index] for name, column in self.fields.items()}
        return LabelledText(fields, self.labels_N[index], self.label_names, self.row_ids_N[index])

    def copy(self) -> LabelledText:
        """Returns a copy that may be changed in place."""
        return self.take(np.arange(len(self)))

    def without_labels(self) -> LabelledText:
        """Returns a copy whose labels are all -1 and whose row ids say nothing, for code that must not look labels up."""
        copy = self.copy()
        copy.labels_N[:] = -1
        copy.row_ids_N[:] = np.arange(len(copy))
        return copy

    def positions_of_class(self, label: int) -> NDArray[np.int64]:
        """Returns the positions of a class's rows, ascending."""
        return np.flatnonzero(self.labels_N == label)

    def positions_of_rows(self, row_ids: ArrayLike) -> NDArray[np.int64]:
        """Returns the positions of the given row ids.

        Raises:
            DataError: A row id is not in this split.
        """
        row_ids_M = np.asarray(row_ids, dtype=np.int64)
        known = {int(row): position for position, row in enumerate(self.row_ids_N)}
        missing = [int(row) for row in row_ids_M if int(row) not in known]
        if missing:
            raise DataError(f"row {missing[0]} is not in the train split; expected ids of its {len(self)} rows.")
        return np.array([known[int(row)] for row in row_ids_M], dtype=np.int64)

    def joined(self) -> list[str]:
        """Returns one string a row; the fields of a pair are joined by a line break."""
        return ["\n".join(parts) for parts in zip(*self.fields.values(), strict=True)]

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 (16 hex digits) over all texts, labels and row ids, in order."""
        digest = hashlib.sha256("\x1d".join((*self.fields, *self.label_names)).encode())
        for column in self.fields.values():
            # The lengths tell where texts end, so that no two different columns give the same bytes.
            digest.update(np.array([len(column), *map(len, column)], dtype=np.int64).tobytes())
            digest.update("".join(column).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(self.labels_N).tobytes())
        digest.update(np.ascontiguousarray(self.row_ids_N).tobytes())
        return digest.hexdigest()[:16]


def normalised(text: str) -> str:
    """Folds case and white space, for comparing texts."""
    return " ".join(text.lower().split())
