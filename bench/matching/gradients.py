"""Gradients of the cross-entropy with respect to linear heads, in closed form.

For one text with head input h, scores W h + b, shares p and label y the gradients are (p - y) h' and (p - y) (GRADMM, section 3). Texts
are grouped (one group a class, or one a class and batch) and averaged. Matrices of the synthetic side are never formed: with B texts in a
group, products and lengths follow from the B errors and head inputs, which is what makes heads with 50,000 outputs affordable.

Shapes: K heads, G groups, N texts, C outputs, D head inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from tdbench.bench.matching.options import Distance


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classification head.

    Args:
        weight_CD: Weights.
        bias_C: Offsets.
    """

    weight_CD: torch.Tensor
    bias_C: torch.Tensor


@dataclass(frozen=True, eq=False)
class Heads:
    """K linear heads of one shape, the points at which gradients are matched.

    Args:
        weight_KCD: Weights.
        bias_KC: Offsets.
    """

    weight_KCD: torch.Tensor
    bias_KC: torch.Tensor

    @classmethod
    def of(cls, heads: list[Head]) -> Heads:
        """Stacks single heads."""
        return cls(torch.stack([h.weight_CD for h in heads]), torch.stack([h.bias_C for h in heads]))

    def errors(self, h_ND: torch.Tensor, targets_NC: torch.Tensor) -> torch.Tensor:
        """Returns the (K, N, C) gradients of every text's cross-entropy with respect to its scores."""
        scores_KNC = torch.einsum("nd,kcd->knc", h_ND, self.weight_KCD) + self.bias_KC.unsqueeze(1)
        return torch.softmax(scores_KNC, dim=-1) - targets_NC


@dataclass(frozen=True, eq=False)
class HeadGradients:
    """Mean gradients of G groups at K heads.

    Args:
        weight_KGCD: Of the weights.
        bias_KGC: Of the offsets.
    """

    weight_KGCD: torch.Tensor
    bias_KGC: torch.Tensor

    @cached_property
    def squares(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The (K, G) squared lengths of both tensors; taken once, because a target stays while what is fitted to it changes."""
        return (self.weight_KGCD**2).sum((2, 3)), (self.bias_KGC**2).sum(-1)

    def take(self, groups: torch.Tensor) -> HeadGradients:
        """Returns the given groups, in that order."""
        return HeadGradients(self.weight_KGCD[:, groups], self.bias_KGC[:, groups])


def head_gradients(
    heads: Heads, h_ND: torch.Tensor, targets_NC: torch.Tensor, groups_N: torch.Tensor, n_groups: int
) -> HeadGradients:
    """Averages the gradients of every group's texts, all groups and heads in one pass.

    Args:
        heads: K heads.
        h_ND: Head inputs.
        targets_NC: Class shares, one-hot for hard labels.
        groups_N: Group of every text, from 0.
        n_groups: G.
    """
    errors_KNC = heads.errors(h_ND, targets_NC)
    member_NG = torch.nn.functional.one_hot(groups_N, n_groups).to(h_ND.dtype)
    member_NG = member_NG / member_NG.sum(0).clamp(min=1)
    # One product a head: (G C, N) by (N, D).
    spread_KGCN = torch.einsum("knc,ng->kgcn", errors_KNC, member_NG)
    weight = (spread_KGCN.flatten(1, 2) @ h_ND).view(*spread_KGCN.shape[:3], -1)
    return HeadGradients(weight, spread_KGCN.sum(-1))


def gradient_distances(real: HeadGradients, made: HeadGradients, distance: Distance = "cosine") -> torch.Tensor:
    """Returns the (K, G) distances between gradients of the same groups and heads."""
    weight = _Products(
        (real.weight_KGCD * made.weight_KGCD).sum((2, 3)),
        real.squares[0],
        made.squares[0],
    )
    bias = _Products((real.bias_KGC * made.bias_KGC).sum(-1), real.squares[1], made.squares[1])
    return _combine(weight, bias, distance)


def every_distance(
    real: HeadGradients,
    heads: Heads,
    h_ND: torch.Tensor,
    targets_NC: torch.Tensor,
    *,
    distance: Distance = "cosine",
) -> torch.Tensor:
    """Returns the (N, G) distances, meaned over heads, between each text's own gradient and each given one."""
    errors_KNC = heads.errors(h_ND, targets_NC)
    dot_KNG = torch.einsum("kgcd,knc,nd->kng", real.weight_KGCD, errors_KNC, h_ND)
    made_KN1 = ((errors_KNC**2).sum(-1) * (h_ND**2).sum(-1)).unsqueeze(-1)
    weight = _Products(dot_KNG, real.squares[0].unsqueeze(1), made_KN1)
    bias = _Products(
        torch.einsum("kgc,knc->kng", real.bias_KGC, errors_KNC),
        real.squares[1].unsqueeze(1),
        (errors_KNC**2).sum(-1).unsqueeze(-1),
    )
    return _combine(weight, bias, distance).mean(0)


@dataclass(frozen=True, eq=False)
class _Products:
    """What all distances are made of, for one tensor: <real, synthetic>, |real|^2, |synthetic|^2, each (K, G) or (K, N, G)."""

    dot: torch.Tensor
    real: torch.Tensor
    made: torch.Tensor

    def cosine(self) -> torch.Tensor:
        return self.dot / (self.real * self.made).clamp(min=1e-30).sqrt()


def distances(
    real: HeadGradients,
    heads: Heads,
    h_ND: torch.Tensor,
    targets_NC: torch.Tensor,
    groups_N: torch.Tensor,
    *,
    distance: Distance = "cosine",
) -> torch.Tensor:
    """Returns the (K, G) distances between given gradients and the mean gradients of groups of texts.

    Args:
        real: Gradients to be matched, one for each group.
        heads: The heads that they were taken at.
        h_ND: Head inputs of the synthetic texts; may require a gradient.
        targets_NC: Their class shares.
        groups_N: Their groups.
        distance: Which distance.
    """
    return _combine(*_products(real, heads.errors(h_ND, targets_NC), h_ND, groups_N), distance)


def _combine(weight: _Products, bias: _Products, distance: Distance) -> torch.Tensor:
    if distance == "cosine":
        return 1 - (weight.cosine() + bias.cosine()) / 2
    whole = _Products(weight.dot + bias.dot, weight.real + bias.real, weight.made + bias.made)
    return 1 - whole.cosine() if distance == "whole" else whole.real - 2 * whole.dot + whole.made


def _products(
    real: HeadGradients, errors_KNC: torch.Tensor, h_ND: torch.Tensor, groups_N: torch.Tensor
) -> tuple[_Products, _Products]:
    n_groups = real.bias_KGC.shape[1]
    member_NG = torch.nn.functional.one_hot(groups_N, n_groups).to(h_ND.dtype)
    member_NG = member_NG / member_NG.sum(0).clamp(min=1)
    # <R, mean of e h'> = mean of e' R h: R h is formed for each group's own texts only.
    order_N = torch.argsort(groups_N, stable=True)
    counts = torch.bincount(groups_N, minlength=n_groups).tolist()
    dot = []
    for g, rows in enumerate(order_N.split(counts)):
        lifted_KBC = torch.einsum("kcd,bd->kbc", real.weight_KGCD[:, g], h_ND[rows])
        dot.append((lifted_KBC * errors_KNC[:, rows]).sum((1, 2)) / max(1, len(rows)))
    gram_KNN = (errors_KNC @ errors_KNC.transpose(1, 2)) * (h_ND @ h_ND.t())
    made = torch.einsum("ng,knm,mg->kg", member_NG, gram_KNN, member_NG)
    weight = _Products(torch.stack(dot, dim=1), real.squares[0], made.clamp(min=0))
    mean_KGC = torch.einsum("knc,ng->kgc", errors_KNC, member_NG)
    bias = _Products((mean_KGC * real.bias_KGC).sum(-1), real.squares[1], (mean_KGC**2).sum(-1))
    return weight, bias


def random_texts(h_ND: torch.Tensor, seed: int) -> torch.Tensor:
    """Draws head inputs that say nothing about any class: normal, with the mean and covariance of all real ones.

    Gradients taken at them are the control for gradient matching. They have the rank and length of real gradients and can be reached by
    texts, so whatever such a target gives is owed to everything but what the target says.

    Args:
        h_ND: Real head inputs.
        seed: Seed.
    """
    generator = torch.Generator().manual_seed(seed)
    mean_D = h_ND.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(h_ND.t().double()))
    root_DD = (vectors * values.clamp(min=0).sqrt()) @ vectors.t()
    drawn_ND = torch.randn(h_ND.shape, generator=generator).to(h_ND)
    return mean_D + drawn_ND @ root_DD.to(h_ND)
