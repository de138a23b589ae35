"""Cross-entropy of a large vocabulary without its scores ever being whole.

Scores and their gradients are formed for a few hundred tokens at a time, and what the backward pass needs is ready when the loss is
(as Hsu et al., 2024, do in Liger Kernel). Shapes: N tokens, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_CHUNK = 256


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h_ND: torch.Tensor, weight_VD: torch.Tensor, targets_N: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        h, weight = h_ND.detach().to(dtype), weight_VD.detach().to(dtype)
        d_h = torch.empty_like(h_ND)
        d_weight = torch.zeros_like(weight_VD)
        total = torch.zeros((), device=h_ND.device)
        for start in range(0, len(h), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scores = (h[rows] @ weight.t()).float()
            shares = scores.sub_(scores.logsumexp(1, keepdim=True))
            wanted_N1 = targets_N[rows].unsqueeze(1)
            total -= shares.gather(1, wanted_N1).sum()
            errors = shares.exp_().scatter_add_(1, wanted_N1, -torch.ones_like(wanted_N1, dtype=shares.dtype))
            errors = errors.mul_(1 / len(h)).to(dtype)
            d_h[rows] = errors @ weight
            d_weight += errors.t() @ h[rows]
        ctx.save_for_backward(d_h, d_weight)
        return total / len(h)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        d_h, d_weight = ctx.saved_tensors
        return d_h * grads[0], d_weight * grads[0], None, None


def head_loss(
    h_ND: torch.Tensor, weight_VD: torch.Tensor, targets_N: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Returns the mean cross-entropy, in nats, of tokens under a linear head without offsets; differentiable once.

    Args:
        h_ND: Inputs of the head.
        weight_VD: Its weights.
        targets_N: The tokens.
        dtype: Type of the matrix products; loss and shares are in float32.
    """
    return _HeadLoss.apply(h_ND, weight_VD, targets_N, dtype)  # type: ignore[no-any-return]
