"""Counts operations analytically: torch's own counter does not see hand-written layers or fused attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

METHOD = "analytic: matrix products and attention on the tokens processed, backward = 2 x forward"
GAPS = (
    "embedding look-ups, normalisation, activations, softmax, dropout, optimiser",
    "a matrix that a forward pass uses several times counts once",
)


@dataclass(frozen=True)
class FlopCounter:
    """Operations of a forward pass, a multiply-add counting two.

    Args:
        per_token: Matrix products of one token.
        per_pair: Attention of one token to another.
    """

    per_token: float
    per_pair: float

    @classmethod
    def of(cls, module: nn.Module) -> FlopCounter:
        """Reads a module's matrices; a classification head is counted for every token, which is little."""
        elements = 0
        for name, part in module.named_modules():
            if "pooler" in name:  # runs once a text, or not at all
                continue
            if isinstance(part, nn.Linear | nn.Conv1d):
                elements += part.weight.numel()
            elif isinstance(part, nn.LSTM | nn.ParameterList) or type(part).__name__ == "Conv1D":
                elements += sum(w.numel() for w in part.parameters(recurse=False) if w.ndim == 2)
        config = getattr(module, "config", None)
        layers, width = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
        return cls(2.0 * elements, 4.0 * layers * width if layers and width else 0.0)

    def forward(self, lengths: np.ndarray) -> float:
        """Counts a forward pass over texts of these lengths, padding included where it is computed."""
        return self.per_token * float(lengths.sum()) + self.per_pair * float((lengths.astype(float) ** 2).sum())
