"""The special tokens around a text's fields: turns word ids, or token vectors, into what a learner reads.

Shapes: M texts, F fields, S vectors, D width, V tokens of a vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.distilled import SoftInputs
from tdbench.bench.training.batches import Encoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.modules import Tokenizer

    Parts = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class SpecialTokens:
    """What a tokenizer puts before, between and behind the F fields of a text.

    Args:
        gaps: F + 1 runs of token ids.
        gap_types: Segment of every gap, or None where the model has no segments.
        pad_id: Id that fills short rows.
    """

    gaps: tuple[tuple[int, ...], ...]
    gap_types: tuple[int, ...] | None
    pad_id: int

    @property
    def n_special(self) -> int:
        """Special tokens of a text."""
        return sum(map(len, self.gaps))

    @property
    def ids(self) -> list[int]:
        """All special token ids, the padding included."""
        return sorted({self.pad_id, *(token for gap in self.gaps for token in gap)})

    def around(self, texts: list[Parts], soft_SD: NDArray[np.float32] | None = None) -> Encoded:
        """Puts the special tokens around M texts.

        Args:
            texts: For every text the ids of each of its fields. With `soft_SD`, ids count its rows from the size of the token table on.
            soft_SD: Token vectors.
        """
        ids, types = [], []
        for parts in texts:
            runs = [np.array(self.gaps[0], dtype=np.int64)]
            kinds = [0]
            for field, part in enumerate(parts):
                runs += [part, np.array(self.gaps[field + 1], dtype=np.int64)]
                kinds += [field, 0 if self.gap_types is None else self.gap_types[field + 1]]
            ids.append(np.concatenate(runs))
            types.append(np.repeat(np.array(kinds, dtype=np.int64), [len(run) for run in runs]))
        return Encoded(ids, self.pad_id, types if self.gap_types is not None else None, soft_SD)

    def around_vectors(self, soft: SoftInputs, table_size: int) -> Encoded:
        """Puts the special tokens around soft inputs.

        Args:
            soft: Token vectors.
            table_size: V of the learner's token table.
        """
        texts = [tuple(part + table_size for part in parts) for parts in soft.rows]
        return self.around(texts, soft.vectors_SD)


@cache
def special_tokens_of(tokenizer: Tokenizer, n_fields: int) -> SpecialTokens:
    """Reads the special tokens off what a tokenizer makes of one-word fields."""
    inner: Any = tokenizer.inner
    if tokenizer.suffix:
        plain = special_tokens_of(tokenizer.without_suffix(), n_fields)
        return SpecialTokens((*plain.gaps[:-1], plain.gaps[-1] + tokenizer.suffix), plain.gap_types, plain.pad_id)
    if n_fields == 2 and not tokenizer.separates:
        between = tuple(inner("\n", add_special_tokens=False)["input_ids"])
        (before, behind) = special_tokens_of(tokenizer, 1).gaps
        return SpecialTokens((before, between, behind), None, tokenizer.pad_id)
    made = inner(*(["a"] * n_fields), return_special_tokens_mask=True)
    gaps: list[list[int]] = [[]]
    gap_types: list[int] = [0]
    inside = False
    types = made.get("token_type_ids") or [0] * len(made["input_ids"])
    for token, special, kind in zip(made["input_ids"], made["special_tokens_mask"], types, strict=True):
        if special:
            if inside:
                gaps.append([])
                gap_types.append(kind)
            gaps[-1].append(token)
        elif not special and not inside and len(gaps) > n_fields:
            raise AssertionError(f"{tokenizer.identity} puts special tokens inside a field")
        inside = not special
    if inside:
        gaps.append([])
        gap_types.append(types[-1])
    has_types = n_fields == 2 and "token_type_ids" in made
    return SpecialTokens(tuple(map(tuple, gaps)), tuple(gap_types) if has_types else None, tokenizer.pad_id)
