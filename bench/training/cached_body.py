"""Prediction by heads on a body that was not trained: what heads read of a text is computed once for all of them.

Shapes: N texts, D head inputs, C classes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from tdbench.bench.training import engine
from tdbench.bench.training.inner import linear_head

if TYPE_CHECKING:
    from tdbench.bench.record import PhaseCost
    from tdbench.bench.training.batches import Encoded
    from tdbench.bench.training.prepared import Prepared
    from tdbench.bench.training.training_set import TrainContext

_KNOWN: WeakKeyDictionary[Encoded, tuple[str, torch.Tensor, PhaseCost]] = WeakKeyDictionary()
"""For tokenised texts: the last body that read them, what it made of them, and at what cost."""


def predict_with_cached_body(ready: Prepared, encoded: Encoded, ctx: TrainContext) -> torch.Tensor:
    """Returns the (N, C) logits that `engine.predict` returns.

    Args:
        ready: A module with one linear head in float32.
        encoded: The texts. While these very texts are in memory, the next module with the same weights below its head reads nothing; it is
            charged for what the first one read.
        ctx: Cost meter and progress.
    """
    place = linear_head(ready.module)
    head = ready.module.get_submodule(place)
    body = _digest(ready, place)
    known = _KNOWN.get(encoded)
    if known is None or known[0] != body:
        ready.module.set_submodule(place, nn.Identity())
        try:
            with ctx.cost.phase("predict"):
                h_ND = engine.predict(ready, encoded, ctx.cost, ctx.tick)
        finally:
            ready.module.set_submodule(place, head)
        known = _KNOWN[encoded] = (body, h_ND, ctx.cost.phases[-1])
    else:
        ctx.cost.charge(known[2])
    with torch.inference_mode():
        return head(known[1].to(ready.device)).cpu()


def _digest(ready: Prepared, place: str) -> str:
    """Identifies a module without its head, on a device and in a compute type."""
    found = hashlib.blake2b(f"{ready.device} {ready.dtype} {ready.packs}".encode())
    for name, value in ready.module.state_dict().items():
        if not name.startswith(f"{place}."):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
