"""Public training rows of text generators: texts in the pieces that most of them consist of, each under a class drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.matching.source import SourceModel

    Parts = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class PublicRows:
    """Public texts and what spells them.

    Args:
        rows: Texts, each under a class drawn at random.
        words: Their word-piece ids, field by field.
        source: The source learner, which spells them.
        fingerprint: Sha256 (16 hex digits) of texts and spelling.
    """

    rows: LabelledText
    words: list[Parts]
    source: SourceModel
    fingerprint: str


def public_rows(ctx: Context, names: tuple[str, ...], labels: tuple[str, ...], most_tokens: int) -> PublicRows:
    """Returns the public texts that consist of so many of the commonest tokens; a smaller table is learnt and sampled faster.

    Args:
        ctx: Public texts, source learner.
        names: Names of the task's text fields.
        labels: Names of its classes.
        most_tokens: Tokens.
    """
    from tdbench.bench.canonical import content_id
    from tdbench.bench.matching.initialisation import words_of

    pool = ctx.public()
    rows = pool.rows(names)
    drawn = np.random.default_rng(0).integers(0, len(labels), len(rows))
    public = LabelledText(rows.fields, drawn, labels, rows.row_ids_N)
    source = ctx.source(public)
    words = words_of(source, public)
    pieces, counts = np.unique(np.concatenate([part for parts in words for part in parts]), return_counts=True)
    common = set(pieces[np.argsort(-counts, kind="stable")[:most_tokens]].tolist())
    readable = [i for i, parts in enumerate(words) if all(common.issuperset(part.tolist()) for part in parts)]
    if len(readable) < len(labels):
        raise UsageError(
            f"{len(readable)} of {len(rows)} public texts consist of the {most_tokens:,} commonest tokens; raise method.tokens, or give "
            "the task more public texts."
        )
    taken = [words[i] for i in readable]
    spelt = content_id([pool.fingerprint, list(names), len(labels), most_tokens, source.tokens_id])
    found = public.take(readable)
    found.labels_N[: len(labels)] = np.arange(len(labels))  # every class is there
    return PublicRows(found, taken, source, spelt)
