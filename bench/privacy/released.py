"""Release of one run of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet


@dataclass(frozen=True, eq=False)
class Released:
    """One run's set, and what is known about a model trained on it.

    Args:
        made: The set.
        real: The rows it was made from.
        scores_QC: The model's scores of the pool's queries, (Q, C) logits or log-probabilities; None where the game does not ask for them.
    """

    made: DistilledSet
    real: LabelledText
    scores_QC: NDArray[np.float32] | None = None

    @cached_property
    def text(self) -> LabelledText:
        """The set as text."""
        return self.made.resolve(self.real)


def pairs_of(n_runs: int) -> tuple[int, ...]:
    """Returns the pair of each run: 2k and 2k + 1 have complementary members."""
    return tuple(run // 2 for run in range(n_runs))


def references_of(target: int, pairs_S: Sequence[int]) -> NDArray[np.int64]:
    """Returns the runs of other pairs than a target's: half of them saw any given candidate. The null run is in no pair."""
    pairs = np.asarray(pairs_S)
    return np.flatnonzero(pairs != pairs[target]) if target < len(pairs) else np.arange(len(pairs))


def less_references(scores_TR: NDArray[np.float64], pairs_S: Sequence[int]) -> NDArray[np.float64]:
    """Returns every target's scores less the mean of its references', which takes out what a candidate scores anyhow."""
    return np.array(
        [scores - scores_TR[references_of(target, pairs_S)].mean(axis=0) for target, scores in enumerate(scores_TR)]
    )
