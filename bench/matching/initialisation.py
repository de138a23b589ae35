"""Where token vectors start from. Shapes: M synthetic texts, F fields, S vectors, E width of the token table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.distilled import SoftInputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.source import SourceModel


def words_of(source: SourceModel, text: LabelledText) -> list[tuple[NDArray[np.int64], ...]]:
    """Returns every text's token ids, field by field, without special tokens and cut to what the learner reads.

    Of a pair the longer field is cut first, as tokenizers do. A text without a word gets the padding token.
    """
    inner: Any = source.tokenizer.inner
    room = source.max_length - source.special_tokens.n_special
    columns = [inner(column, add_special_tokens=False)["input_ids"] for column in text.fields.values()]
    made = []
    for row in zip(*columns, strict=True):
        parts = [list(part) for part in row]
        while sum(map(len, parts)) > room:
            max(parts, key=len).pop()
        if not any(parts):
            parts[0] = [source.special_tokens.pad_id]
        made.append(tuple(np.array(part, dtype=np.int64) for part in parts))
    return made


def vectors_of(source: SourceModel, texts: list[tuple[NDArray[np.int64], ...]]) -> SoftInputs:
    """Looks token ids up in the learner's table."""
    table_VE = source.table_VE.cpu().numpy()
    ids = np.concatenate([part for parts in texts for part in parts])
    lengths = np.array([[len(part) for part in parts] for parts in texts], dtype=np.int64)
    return SoftInputs(table_VE[ids], lengths, source.name)


def nearest_words(
    source: SourceModel, soft: SoftInputs, texts: list[tuple[NDArray[np.int64], ...]] | None = None
) -> list[tuple[NDArray[np.int64], ...]]:
    """Returns the tokens that token vectors are nearest to by cosine, field by field.

    Args:
        source: The learner whose table is searched.
        soft: Token vectors.
        texts: Only tokens that these hold may be chosen; None for the whole table.
    """
    import torch

    table_VE = source.table_VE.cpu()
    known = torch.arange(len(table_VE))
    if texts is not None:
        known = torch.from_numpy(np.unique(np.concatenate([part for parts in texts for part in parts])))
    unit_VE = torch.nn.functional.normalize(table_VE[known], dim=1)
    ids = known[(torch.from_numpy(soft.vectors_SD) @ unit_VE.t()).argmax(1)].numpy()
    return [tuple(ids[part] for part in parts) for parts in soft.rows]


def random_words(
    lengths_MF: NDArray[np.int64], texts: list[tuple[NDArray[np.int64], ...]], rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], ...]]:
    """Draws M texts of given lengths, token by token, from the tokens of other texts."""
    pool = np.concatenate([part for parts in texts for part in parts])
    return [tuple(rng.choice(pool, int(length)) for length in row) for row in lengths_MF]


def text_of(source: SourceModel, names: list[str], texts: list[tuple[NDArray[np.int64], ...]]) -> dict[str, list[str]]:
    """Spells token ids out, field by field; runs of white space become one blank."""
    inner: Any = source.tokenizer.inner
    return {
        name: [
            " ".join(inner.decode(parts[field]).split()) or inner.decode([source.special_tokens.pad_id])
            for parts in texts
        ]
        for field, name in enumerate(names)
    }


def mean_vectors(table_VE: NDArray[np.float32], texts: list[NDArray[np.int64]], length: int) -> NDArray[np.float64]:
    """Returns the (L, E) mean vector of every place; a place's mean is over the texts that reach it."""
    sums, counts = np.zeros((length, table_VE.shape[1])), np.zeros((length, 1))
    for ids in texts:
        reach = min(length, len(ids))
        sums[:reach] += table_VE[ids[:reach]]
        counts[:reach] += 1
    return sums / np.maximum(counts, 1)


def resized(text: tuple[NDArray[np.int64], ...], length: int | None) -> tuple[NDArray[np.int64], ...]:
    """Returns a text of a given length, repeated or cut; a pair keeps its fields' shares. As it is where the length is None."""
    if length is None:
        return text
    whole = np.concatenate(text)
    if len(text) == 1:
        return (np.resize(whole, length),)
    shares = np.array([len(field) for field in text]) / len(whole)
    first = min(length - 1, max(1, round(float(shares[0]) * length)))
    sizes = [first, length - first]
    return tuple(np.resize(field if len(field) else whole, size) for field, size in zip(text, sizes, strict=True))
