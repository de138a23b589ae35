"""Vocabulary of a small language model: its pieces, and the marks around fields. U pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Parts = tuple[NDArray[np.int64], ...]


def beginning(parts: Parts, count: int) -> Parts:
    """Returns a text's first tokens, counted over its fields; of the field that is cut, what is left of it."""
    head = []
    for part in parts:
        head.append(part[:count])
        count -= len(head[-1])
        if count <= 0:
            break
    return tuple(head)


class Vocabulary:
    """The U pieces that a train split uses, and the marks around fields.

    Args:
        texts: Token ids of every text and field.
        n_classes: Every class has a mark that texts start with.
    """

    def __init__(self, texts: list[Parts], n_classes: int) -> None:
        self.pieces_U = np.unique(np.concatenate([part for parts in texts for part in parts]))
        self._own = {int(piece): i for i, piece in enumerate(self.pieces_U)}
        self.n_pieces = len(self.pieces_U)
        self.n_classes = n_classes
        self.between, self.end = self.n_pieces + n_classes, self.n_pieces + n_classes + 1

    @classmethod
    def of_pieces(cls, pieces_U: NDArray[np.int64], n_classes: int) -> Vocabulary:
        """Takes given pieces."""
        return cls([(pieces_U,)], n_classes)

    def __len__(self) -> int:
        return self.n_pieces + self.n_classes + 2

    def of_class(self, label: int) -> int:
        """Returns the mark of a class."""
        return self.n_pieces + int(label)

    def encode(self, parts: Parts, label: int) -> list[int]:
        """Returns class mark, fields with a mark between, end mark; pieces that the train split does not use are left out."""
        return [self.of_class(label), *self.joined([self.known(part) for part in parts]), self.end]

    def known(self, part: NDArray[np.int64]) -> list[int]:
        """Maps the tokenizer's ids to the model's, without those that it does not know."""
        return [self._own[int(p)] for p in part if int(p) in self._own]

    def joined(self, fields: list[list[int]]) -> list[int]:
        """Returns the model's ids of fields with a mark between."""
        return [one for number, field in enumerate(fields) for one in [*[self.between] * (number > 0), *field]]

    def parts(self, row: Iterable[int], n_fields: int) -> Parts:
        """Returns the tokenizer's ids of a text, field by field, up to its end mark; what is behind too many marks is in the last field."""
        fields: list[list[int]] = [[] for _ in range(n_fields)]
        place = 0
        for token in row:
            if token == self.end:
                break
            if token == self.between:
                place = min(place + 1, n_fields - 1)
            else:
                fields[place].append(int(self.pieces_U[token]))
        return tuple(np.array(field, dtype=np.int64) for field in fields)

    def own(self, piece_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Maps the tokenizer's ids to the model's; every one must be known."""
        return np.array([self._own[int(p)] for p in piece_ids], dtype=np.int64)
