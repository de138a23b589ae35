"""Exact sums over private rows, to which the oracle adds noise. Shapes: N rows, C classes, D features, M candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

_CHUNK = 8_192


def feature_sums(features_ND: Floats, labels_N: Labels, n_classes: int, count_weight: float) -> Floats:
    """Returns the (C, D + 1) sums of features by class, and of a constant behind them."""
    extended = np.column_stack([features_ND, np.full(len(labels_N), count_weight)])
    return np.stack([extended[labels_N == label].sum(0) for label in range(n_classes)])


def vote_counts(
    features_ND: Floats, labels_N: Labels, candidates_MD: NDArray[np.float32], open_CM: NDArray[np.bool_]
) -> Floats:
    """Returns (C, M): how many rows of each class have each candidate for their nearest, among those that are open to the class."""
    votes_CM = np.zeros(open_CM.shape)
    for label, open_M in enumerate(open_CM):
        own, voters = np.flatnonzero(open_M), np.flatnonzero(labels_N == label)
        for start in range(0, len(voters) if len(own) else 0, _CHUNK):
            near = (features_ND[voters[start : start + _CHUNK]] @ candidates_MD[own].T).argmax(1)
            votes_CM[label, own] += np.bincount(near, minlength=len(own))
    return votes_CM


def head_gradients(inputs_NE: Floats, labels_N: Labels, weight_CE: Floats, clip: float) -> Floats:
    """Returns the (C, C, E) sums by class of the rows' gradients of the cross-entropy of a linear head, each clipped.

    A row's gradient is (p - y) x' for its input x of E numbers, shares p and class y; its length is |p - y| |x|.
    """
    n_classes = len(weight_CE)
    sums = np.zeros((n_classes, n_classes, inputs_NE.shape[1]))
    for start in range(0, len(labels_N), _CHUNK):
        x_BE, labels_B = inputs_NE[start : start + _CHUNK], labels_N[start : start + _CHUNK]
        errors_BC = softmax(x_BE @ weight_CE.T, axis=1) - np.eye(n_classes)[labels_B]
        length_B = np.linalg.norm(errors_BC, axis=1) * np.linalg.norm(x_BE, axis=1)
        errors_BC *= (clip / np.maximum(length_B, clip))[:, None]
        for label in range(n_classes):
            own_B = labels_B == label
            sums[label] += errors_BC[own_B].T @ x_BE[own_B]
    return sums
