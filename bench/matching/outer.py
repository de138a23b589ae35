"""The loss of given weights on real texts, and its gradient for them, by the fast engine.

Shapes: N real texts, B of a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tdbench.bench.training import flops
from tdbench.bench.training.engine import predict
from tdbench.bench.training.packed_model import PackedBackbone
from tdbench.bench.training.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.training.batches import Encoded
    from tdbench.bench.training.inner import Weights


class RealLoss:
    """Cross-entropy of a learner on real texts as a function of its weights, in the device's compute type.

    Args:
        module: The learner's module, head and all; it is changed in place.
        encoded: The real texts.
        labels_N: Their classes.
        device: `cpu` or `cuda`.
        cost: Counts operations.
    """

    def __init__(
        self, module: nn.Module, encoded: Encoded, labels_N: NDArray[np.int64], device: str, cost: CostMeter
    ) -> None:
        module.eval()
        self._cost = cost
        self._ready, self._encoded = Prepared(module, device), encoded
        self._labels_N = torch.tensor(labels_N, device=device)
        self._weights = dict(self._ready.module.named_parameters())
        self._origins = origins(self._ready.module)

    def __call__(self, weights: Weights, rows: NDArray[np.int64]) -> tuple[float, Weights]:
        """Returns the mean loss of a batch and its gradient for the weights that are given."""
        self.load(weights)
        with torch.enable_grad(), self._ready.autocast():
            logits_BC = self._ready.module(**self._ready.inputs(self._encoded, rows))
            loss = nn.functional.cross_entropy(logits_BC.float(), self._labels_N[torch.from_numpy(rows)])
            loss.backward()
        forward = self._ready.flops.forward(self._ready.widths(self._encoded.lengths_N[rows]))
        self._cost.add_flops(3 * forward, flops.METHOD, flops.GAPS)
        made = {}
        for name, weight in self._weights.items():
            if weight.grad is not None:
                sources = self._origins[name]
                parts = weight.grad.float().split([len(weight) // len(sources)] * len(sources))
                made.update({source: part for source, part in zip(sources, parts, strict=True) if source in weights})
            weight.grad = None
        return float(loss.detach()), made

    def correct(self, weights: Weights, rows: NDArray[np.int64]) -> float:
        """Returns the share of some texts that is classified right."""
        self.load(weights)
        scores_BC = predict(self._ready, self._encoded.take(rows), self._cost).to(self._labels_N.device)
        return float((scores_BC.argmax(1) == self._labels_N[torch.from_numpy(rows)]).float().mean())

    @torch.no_grad()
    def load(self, weights: Weights) -> None:
        """Puts weights in; those that are not given stay."""
        for name, weight in self._weights.items():
            sources = self._origins[name]
            weight.requires_grad_(any(source in weights for source in sources))
            for source, part in zip(sources, weight.split(len(weight) // len(sources)), strict=True):
                if source in weights:
                    part.copy_(weights[source])


def origins(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Returns, for every weight of a prepared module, the names of the weights of the original module that it holds."""
    packed = {f"{name}.": part.origins for name, part in module.named_modules() if isinstance(part, PackedBackbone)}
    made = {name: (name,) for name, _ in module.named_parameters()}
    for prefix, own in packed.items():
        made |= {prefix + name: tuple(prefix + source for source in sources) for name, sources in own.items()}
    return made
