"""Where gradients are matched, and against which real texts: partly trained heads, and clusters of each class.

Shapes: K heads, N real texts, G groups, C classes, D width of the head's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tdbench.bench.errors import UsageError
from tdbench.bench.matching.gradients import Head, Heads

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD_STD, HEAD_LR, HEAD_BATCH = 0.02, 3e-3, 256


def train_head(h_ND: torch.Tensor, targets_NC: torch.Tensor, steps: int, rng: np.random.Generator) -> Head:
    """Trains a fresh head on real head inputs by Adam.

    Args:
        h_ND: Real head inputs.
        targets_NC: Their class shares.
        steps: Adam steps; 0 leaves the head as drawn.
        rng: Draws the head and its batches.
    """
    return head_path(h_ND, targets_NC, [steps], rng)[0]


def head_path(h_ND: torch.Tensor, targets_NC: torch.Tensor, stops: list[int], rng: np.random.Generator) -> list[Head]:
    """Trains one fresh head by Adam and returns what it was at several moments.

    Args:
        h_ND: Real head inputs.
        targets_NC: Their class shares.
        stops: Numbers of steps, ascending; 0 is the head as drawn.
        rng: Draws the head and its batches.
    """
    drawn = rng.standard_normal((targets_NC.shape[1], h_ND.shape[1])) * HEAD_STD
    weight = torch.from_numpy(drawn).to(h_ND).requires_grad_(True)
    bias = torch.zeros(len(weight)).to(h_ND).requires_grad_(True)
    optimiser = torch.optim.Adam([weight, bias], lr=HEAD_LR)
    path = []
    for step in range(stops[-1] + 1):
        path += [Head(weight.detach().clone(), bias.detach().clone())] * stops.count(step)
        if step == stops[-1]:
            break
        rows = torch.from_numpy(rng.integers(0, len(h_ND), HEAD_BATCH)).to(h_ND.device)
        shares = torch.log_softmax(h_ND[rows] @ weight.t() + bias, dim=1)
        optimiser.zero_grad()
        (-(targets_NC[rows] * shares).sum(1).mean()).backward()
        optimiser.step()
    return path


def trained_heads(
    h_ND: torch.Tensor, targets_NC: torch.Tensor, count: int, max_steps: int, rng: np.random.Generator
) -> Heads:
    """Trains K fresh heads, each for another number of steps.

    With an untrained head every error is nearly the same, so its class gradient says little more than the mean head input; later heads
    err on the hard texts. The first head stays untrained, the others' steps are log-uniform between 1 and `max_steps`.

    Args:
        h_ND: Real head inputs.
        targets_NC: Their class shares.
        count: K.
        max_steps: Longest training.
        rng: Draws heads, steps and batches.
    """
    steps = [0, *(int(np.exp(rng.uniform(0, np.log(max_steps)))) for _ in range(count - 1))]
    return Heads.of([train_head(h_ND, targets_NC, n, rng) for n in steps])


def halves(
    groups_N: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Deals every group's texts into two random halves; groups of one text are left out.

    Returns:
        Texts of the first half, texts of the second, and the groups that have both.
    """
    order = rng.permutation(len(groups_N))
    order = order[np.argsort(groups_N[order], kind="stable")]
    sizes_G = np.bincount(groups_N)
    place_N = np.arange(len(order)) - np.repeat(np.cumsum(sizes_G) - sizes_G, sizes_G)
    large_N = sizes_G[groups_N[order]] > 1
    return order[large_N & (place_N % 2 == 0)], order[large_N & (place_N % 2 == 1)], np.flatnonzero(sizes_G > 1)


@dataclass(frozen=True, eq=False)
class Groups:
    """Real texts cut into groups of one class each, class after class.

    Args:
        groups_N: Group of every real text.
        medoids_G: Position of the real text nearest to every group's mean.
        labels_G: Class of every group.
    """

    groups_N: NDArray[np.int64]
    medoids_G: NDArray[np.int64]
    labels_G: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_G)


def cluster(h_ND: NDArray[np.float32], labels_N: NDArray[np.int64], per_class: int, seed: int) -> Groups:
    """Cuts every class into K-means clusters of its unit-length head inputs.

    Args:
        h_ND: Head inputs.
        labels_N: Classes, from 0.
        per_class: Clusters of a class.
        seed: Seed of K-means.

    Raises:
        UsageError: A class has fewer texts than clusters.
    """
    from sklearn.cluster import KMeans

    unit_ND = h_ND / np.linalg.norm(h_ND, axis=1, keepdims=True).clip(min=1e-12)
    n_classes = int(labels_N.max()) + 1
    groups_N, medoids = np.zeros(len(labels_N), dtype=np.int64), []
    for label in range(n_classes):
        own = np.flatnonzero(labels_N == label)
        if len(own) < per_class:
            raise UsageError(
                f"class {label} has {len(own)} real texts, fewer than the {per_class} clusters asked for; use a smaller budget, or more "
                "real texts."
            )
        model: Any = KMeans(per_class, n_init=1, random_state=seed % 2**32)  # pyright: ignore[reportArgumentType]
        model.fit(unit_ND[own])
        groups_N[own] = label * per_class + model.labels_
        far = model.transform(unit_ND[own])
        for g in range(per_class):  # a text stands for its own cluster, so that no two medoids are the same
            inside = np.flatnonzero(model.labels_ == g)
            if not len(inside):
                raise UsageError(
                    f"class {label} has fewer than {per_class} different texts to cluster; use a smaller budget, or more real texts."
                )
            medoids.append(own[inside[far[inside, g].argmin()]])
    return Groups(groups_N, np.array(medoids), np.repeat(np.arange(n_classes), per_class))
