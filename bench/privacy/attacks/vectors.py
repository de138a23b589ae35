"""Set MIA of model-specific sets: the attacker sees token vectors. Shapes: R candidates, M released texts, L positions, E width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.privacy.released import less_references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import SoftInputs
    from tdbench.bench.privacy.released import Released

SAME = 1e-4
"""Distance, in units of a candidate's own mean square, below which vectors are the candidate's."""


class VectorAttacks:
    """Distance of each candidate's token vectors to the nearest released text's, position by position.

    Args:
        rows: The R candidates.
        vectors_of: Looks texts up in the learner's token table, which is public.
    """

    headline = "nearest"

    def __init__(self, rows: LabelledText, vectors_of: Callable[[LabelledText], SoftInputs]) -> None:
        own = vectors_of(rows)
        self._lengths_R = own.lengths_MF.sum(axis=1)
        self._positions = int(self._lengths_R.max())
        self._own_RX = _padded(own, self._positions)
        self._square_R = np.einsum("rx,rx->r", self._own_RX, self._own_RX)
        self._known: dict[int, NDArray[np.float32]] = {}

    def scores(self, targets: Sequence[Released], pairs_S: Sequence[int]) -> dict[str, NDArray[np.float64]]:
        """Runs all attacks on all targets.

        Returns:
            Attack -> (T, R) scores. `nearest`: the negative mean squared distance to the nearest released text. `nearest-shadows`: less the
            mean of those to other pairs' sets, where there are other pairs.
        """
        near_TR = np.array([-self._distances(target).min(axis=1) for target in targets], dtype=np.float64)
        found = {self.headline: near_TR}
        if len(set(pairs_S)) > 1:
            found["nearest-shadows"] = less_references(near_TR, pairs_S)
        return found

    def repeated(self, target: Released) -> NDArray[np.bool_]:
        """Returns which candidates are the nearest to some released text."""
        nearest = np.zeros(len(self._lengths_R), dtype=bool)
        nearest[self._distances(target).argmin(axis=0)] = True
        return nearest

    def n_copied(self, target: Released, among_R: NDArray[np.bool_]) -> int:
        """Counts the released texts that are the vectors of one of some candidates."""
        own_R = self._square_R / np.maximum(1, self._lengths_R)
        same_RM = self._distances(target) < SAME * own_R[:, None]
        return int(same_RM[among_R].any(axis=0).sum())

    def _distances(self, target: Released) -> NDArray[np.float32]:
        """Returns (R, M) mean squared distances; where one text ends before the other, its vectors count as zero."""
        if id(target) not in self._known:
            self._known[id(target)] = self._computed(target)
        return self._known[id(target)]

    def _computed(self, target: Released) -> NDArray[np.float32]:
        soft = target.made.soft
        assert soft is not None
        longest = np.maximum(self._lengths_R[:, None], soft.lengths_MF.sum(axis=1)[None])
        positions = max(self._positions, int(soft.lengths_MF.sum(axis=1).max()))
        made_MX = _padded(soft, positions)
        product_RM = self._own_RX @ made_MX[:, : self._own_RX.shape[1]].T
        square_RM = self._square_R[:, None] + np.einsum("mx,mx->m", made_MX, made_MX)[None] - 2 * product_RM
        return np.maximum(square_RM, 0) / np.maximum(1, longest)


def _padded(soft: SoftInputs, positions: int) -> NDArray[np.float32]:
    """Returns (M, L E) vectors, zeros behind each text's end."""
    ends = np.cumsum(soft.lengths_MF.sum(axis=1))
    padded = np.zeros((len(ends), positions, soft.vectors_SD.shape[1]), dtype=np.float32)
    for row, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        padded[row, : end - start] = soft.vectors_SD[start:end]
    return padded.reshape(len(ends), -1)
