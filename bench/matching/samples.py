"""Sets that are chosen among samples of a generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from tdbench.bench.matching.clusters import cluster
from tdbench.bench.matching.initialisation import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.matching.source import SourceModel


class Writer(Protocol):
    """What writes texts."""

    def __call__(self, labels_N: NDArray[np.int64], seed: int, /) -> list[tuple[NDArray[np.int64], ...]]:
        """Receives the labels of N texts and a seed, returns the token ids of the N texts, field by field."""
        ...


def sample_medoids(
    write: Writer,
    source: SourceModel,
    names: Sequence[str],
    n_classes: int,
    *,
    per_class: int,
    pool: int,
    ctx: Context,
) -> tuple[dict[str, list[str]], NDArray[np.int64]]:
    """Samples `pool` texts for each one wanted and keeps the K-means medoids of each class (DiLM, section 3.4).

    Args:
        write: Receives N labels and a seed, returns the token ids of N texts, field by field.
        source: Its head inputs are clustered.
        names: Names of the fields.
        n_classes: Number of classes.
        per_class: Texts wanted of a class.
        pool: Samples for each; 1 keeps them as they are.
        ctx: Seeds and cost meter.

    Returns:
        Fields and labels of the kept texts, class after class; where a class's samples repeat themselves so much that there are fewer
        different ones than are wanted, the first samples as they are.
    """
    with ctx.cost.phase("sample"):
        labels_N = np.repeat(np.arange(n_classes), per_class * pool)
        texts = write(labels_N, ctx.torch_seed("samples"))
    kept = first_of_classes(labels_N, per_class)
    if pool > 1:
        with ctx.cost.phase("select"):
            h_ND = source.features(source.special_tokens.around(texts)).cpu().numpy()
            kept = medoids_of(h_ND, labels_N, per_class, ctx)
    return text_of(source, list(names), [texts[i] for i in kept]), labels_N[kept]


def medoids_of(
    h_ND: NDArray[np.float32], labels_N: NDArray[np.int64], per_class: int, ctx: Context
) -> NDArray[np.int64]:
    """Returns the K-means medoids of every class's samples, class after class; the first samples where a class has too few different ones.

    Args:
        h_ND: Features of N samples.
        labels_N: Their classes, in order.
        per_class: Medoids of a class.
        ctx: Seeds.
    """
    by_class = [h_ND[labels_N == label] for label in np.unique(labels_N)]
    if any(len(np.unique(own_KD, axis=0)) < per_class for own_KD in by_class):
        return first_of_classes(labels_N, per_class)
    return cluster(h_ND, labels_N, per_class, ctx.torch_seed("clusters")).medoids_G


def first_of_classes(labels_N: NDArray[np.int64], per_class: int) -> NDArray[np.int64]:
    """Returns the positions of the first samples of every class."""
    return np.concatenate([np.flatnonzero(labels_N == label)[:per_class] for label in np.unique(labels_N)])
