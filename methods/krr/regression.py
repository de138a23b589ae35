"""Kernel ridge regression on a few points, as the inner problem of meta-model matching: solved in closed form, with a linear kernel.

The error that it leaves on the real texts needs only their moments, however many there are. With several encoders the error is the sum of
theirs. Shapes: P encoders, N real texts, M points, K options, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

EPSILON = 1e-8
"""Keeps the normal equations of labels solvable where two points are the same; in units of their mean diagonal."""


@dataclass(frozen=True, eq=False)
class RealMoments:
    """What one encoder's features of the real texts are reduced to.

    Args:
        second_DD: Mean of h h'.
        cross_DC: Mean of h t', t the centred one-hot class.
        total: Mean of |t|^2.
    """

    second_DD: Array
    cross_DC: Array
    total: float

    @classmethod
    def of(cls, features_ND: NDArray[np.floating], targets_NC: Array) -> RealMoments:
        """Reduces features and centred targets."""
        features = features_ND.astype(np.float64)
        n_rows = len(features)
        total = float((targets_NC**2).sum() / n_rows)
        return cls(features.T @ features / n_rows, features.T @ targets_NC / n_rows, total)

    def error(self, weights_DC: Array) -> float:
        """Returns the mean squared error of a linear map, summed over classes."""
        fit = float(((self.second_DD @ weights_DC) * weights_DC).sum())
        return fit - 2 * float((weights_DC * self.cross_DC).sum()) + self.total


def centred(labels_N: NDArray[np.int64], n_classes: int) -> Array:
    """Returns (N, C) one-hot classes less 1/C."""
    return np.eye(n_classes)[labels_N] - 1 / n_classes


def ridge_weights(points_MD: Array, targets_MC: Array, ridge: float) -> Array:
    """Returns the (D, C) weights of kernel ridge regression on M points."""
    gram_MM = points_MD @ points_MD.T + ridge * np.eye(len(points_MD))
    return points_MD.T @ np.linalg.solve(gram_MM, targets_MC)


def errors_with(
    real: RealMoments, points_MD: Array, targets_MC: Array, options_KD: Array, targets_KC: Array, *, ridge: float
) -> Array:
    """Returns the (K,) errors that the regression leaves with each option added to the points, by bordering the inverse.

    With A = X X' + ridge I of the points, adding x changes the weights by d c', d = x - X' A^-1 X x and
    c = (t - W' x) / (x' x + ridge - x' X' A^-1 X x); so all options cost one matrix product.
    """
    gram_MM = points_MD @ points_MD.T + ridge * np.eye(len(points_MD))
    weights_DC = points_MD.T @ np.linalg.solve(gram_MM, targets_MC)
    near_KM = options_KD @ points_MD.T
    solved_KM = np.linalg.solve(gram_MM, near_KM.T).T
    change_KD = options_KD - solved_KM @ points_MD
    room_K = (options_KD**2).sum(1) + ridge - (near_KM * solved_KM).sum(1)
    size_KC = (targets_KC - options_KD @ weights_DC) / room_K[:, None]
    slope_DC = real.second_DD @ weights_DC - real.cross_DC
    first_K = ((change_KD @ slope_DC) * size_KC).sum(1)
    second_K = ((change_KD @ real.second_DD) * change_KD).sum(1) * (size_KC**2).sum(1)
    return real.error(weights_DC) + 2 * first_K + second_K


def best_targets(real: list[RealMoments], points: list[Array], ridge: float) -> Array:
    """Returns the (M, C) centred targets with which the regression leaves the smallest error, over all encoders."""
    n_points = len(points[0])
    normal_MM, right_MC = np.zeros((n_points, n_points)), np.zeros((n_points, real[0].cross_DC.shape[1]))
    for moments, points_MD in zip(real, points, strict=True):
        gram_MM = points_MD @ points_MD.T + ridge * np.eye(n_points)
        map_DM = np.linalg.solve(gram_MM, points_MD).T
        normal_MM += map_DM.T @ moments.second_DD @ map_DM
        right_MC += map_DM.T @ moments.cross_DC
    normal_MM += EPSILON * np.trace(normal_MM) / n_points * np.eye(n_points)
    return np.linalg.solve(normal_MM, right_MC)


def as_shares(targets_MC: Array) -> NDArray[np.float32]:
    """Returns the class shares nearest to centred targets (the Euclidean projection on the simplex; Duchi et al., 2008, figure 1)."""
    wished_MC = targets_MC + 1 / targets_MC.shape[1]
    ranked_MC = -np.sort(-wished_MC, axis=1)
    excess_MC = (np.cumsum(ranked_MC, axis=1) - 1) / np.arange(1, ranked_MC.shape[1] + 1)
    kept_M = (ranked_MC > excess_MC).sum(1)
    shares_MC = np.maximum(wished_MC - excess_MC[np.arange(len(kept_M)), kept_M - 1][:, None], 0)
    return (shares_MC / shares_MC.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Exchange:
    """Chooses points place by place: each gives way to the option of its class that lowers the error most.

    Args:
        real: Moments of the real texts, for every encoder.
        ridge: Regularisation, in units of the squared feature length.
        n_classes: C.
    """

    real: list[RealMoments]
    ridge: float
    n_classes: int

    def error(self, options: list[Array], targets_QC: Array, chosen_M: NDArray[np.int64]) -> float:
        """Returns the error that the regression on chosen options leaves, over all encoders."""
        weights = [ridge_weights(own[chosen_M], targets_QC[chosen_M], self.ridge) for own in options]
        return sum(moments.error(own) for moments, own in zip(self.real, weights, strict=True))

    def choose(
        self,
        options: list[Array],
        labels_Q: NDArray[np.int64],
        per_class: int,
        *,
        sweeps: int,
        candidates: int | None,
        rng: np.random.Generator,
        tick: Callable[[float], None] = lambda _: None,
    ) -> NDArray[np.int64]:
        """Starts from random options and reconsiders each of them.

        Args:
            options: (Q, D) features of what may be chosen, for every encoder.
            labels_Q: Classes.
            per_class: Points of a class; all of a class that has no more.
            sweeps: Times that every point is reconsidered.
            candidates: Options that one is compared with, drawn anew every time; None for all of its class.
            rng: Draws the start, the order and candidates.
            tick: Receives the finished fraction.

        Returns:
            Positions of the M chosen options, ascending.
        """
        targets_QC = centred(labels_Q, self.n_classes)
        pools = [np.flatnonzero(labels_Q == label) for label in range(self.n_classes)]
        chosen_M = np.concatenate([rng.permutation(pool)[:per_class] for pool in pools])
        for sweep in range(sweeps):
            before = chosen_M.copy()
            for done, place in enumerate(rng.permutation(len(chosen_M))):
                pool = pools[int(labels_Q[chosen_M[place]])]
                drawn = pool if candidates is None else rng.permutation(pool)[:candidates]
                among_K = np.concatenate([chosen_M[[place]], np.setdiff1d(drawn, chosen_M)])
                others = np.delete(chosen_M, place)
                errors_K = sum(
                    errors_with(
                        real, own[others], targets_QC[others], own[among_K], targets_QC[among_K], ridge=self.ridge
                    )
                    for real, own in zip(self.real, options, strict=True)
                )
                chosen_M[place] = among_K[int(np.argmin(errors_K))]
                tick((sweep + (done + 1) / len(chosen_M)) / sweeps)
            if candidates is None and (before == chosen_M).all():
                break
        return np.sort(chosen_M)

    def shares(self, points: list[Array]) -> NDArray[np.float32]:
        """Returns the (M, C) class shares nearest to the targets with which the regression on points errs least."""
        return as_shares(best_targets(self.real, points, self.ridge))


def torch_error(real: RealMoments, ridge: float, device: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Returns the error as a differentiable function of (M, D) head inputs, of any length, and (M, C) centred targets."""
    import torch

    second_DD, cross_DC = (torch.tensor(a, dtype=torch.float32, device=device) for a in (real.second_DD, real.cross_DC))

    def error(h_MD: torch.Tensor, targets_MC: torch.Tensor) -> torch.Tensor:
        unit_MD = torch.nn.functional.normalize(h_MD, dim=1)
        gram_MM = unit_MD @ unit_MD.t() + ridge * torch.eye(len(unit_MD), device=device)
        weights_DC = unit_MD.t() @ torch.linalg.solve(gram_MM, targets_MC)
        return ((second_DD @ weights_DC) * weights_DC).sum() - 2 * (weights_DC * cross_DC).sum() + real.total

    return error
