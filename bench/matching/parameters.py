"""Gradients with respect to weights below the head: of all of them, or of low-rank adapters on the attention.

Head gradients have a closed form (`tdbench.bench.matching.gradients`); these go through the whole model, once for each group of texts, and
matching them differentiates twice. Attention is computed step by step, because the fused kernels of a CPU have no second derivative.
Shapes: K heads, G groups, N texts, S token vectors, E width of the token table, D head inputs, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.errors import UsageError
from tdbench.bench.matching.source import GRADIENT_LIMIT_GB
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.inner import LORA_PLACES, LORA_RANK, lora_matrix
from tdbench.bench.training.prepared import NarrowTable, Prepared, token_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tdbench.bench.matching.gradients import Heads
    from tdbench.bench.matching.options import Distance, Space
    from tdbench.bench.matching.source import SourceModel

Gradient = tuple[torch.Tensor, ...]
"""One tensor for every weight."""
_BATCH = 32
_NEGLIGIBLE = 1e-5


class WeightGradients:
    """Gradients of the source learner's weights, its K heads included.

    Args:
        source: The source learner.
        heads: The heads on top of it.
        space: `all` weights but the token table (token vectors bypass it), or `lora`: adapters of rank 8 on the query and value maps.
            Adapters start as a zero matrix times a random one, so at first only the zero matrix has a gradient.
        seed: Seed of the random matrices.

    Raises:
        UsageError: `lora`, and the model has no map of a known name.
    """

    def __init__(self, source: SourceModel, heads: Heads, space: Space, seed: int) -> None:
        module = source.step_by_step()
        self._ready, self._special_tokens = (
            Prepared(module, source.device, torch.float32, packed=False),
            source.special_tokens,
        )
        found = token_table(module)
        assert found is not None
        self._table: Any = found
        module.eval().requires_grad_(False)
        maps = {name: weight for name, weight in module.named_parameters() if weight is not found[2].weight}
        self._random: dict[str, torch.Tensor] = {}
        if space == "lora":
            maps = {name: weight for name, weight in maps.items() if LORA_PLACES.search(name)}
            if not maps:
                raise UsageError("the source learner has no query or value map of a known name; use method.space=all.")
            generator = torch.Generator().manual_seed(seed % 2**63)
            for name, weight in maps.items():
                self._random[name] = lora_matrix(weight, generator)
        self._fixed = maps
        self._free = {
            name: (weight.new_zeros(len(weight), LORA_RANK) if space == "lora" else weight.clone()).requires_grad_(True)
            for name, weight in maps.items()
        }
        for name in self._without_effect():
            del self._fixed[name], self._free[name]
        self._tops = [
            [weight_CD.clone().requires_grad_(True), bias_C.clone().requires_grad_(True)]
            for weight_CD, bias_C in zip(heads.weight_KCD, heads.bias_KC, strict=True)
        ]

    def _without_effect(self) -> list[str]:
        """Names the weights that no head input depends on, such as those of a pooler that is passed by."""
        tokens = self._special_tokens
        probe = tokens.around([tuple(np.array([tokens.pad_id]) for _ in tokens.gaps[1:])])
        with torch.enable_grad():
            h_1D = torch.func.functional_call(
                self._ready.module, self._weights(), (), self._ready.inputs(probe, np.arange(1))
            )
            grads = torch.autograd.grad(h_1D.sum(), list(self._free.values()), allow_unused=True)
        return [name for name, grad in zip(list(self._free), grads, strict=True) if grad is None]

    def _weights(self) -> dict[str, torch.Tensor]:
        if not self._random:
            return self._free
        return {name: weight + self._free[name] @ self._random[name] for name, weight in self._fixed.items()}

    def of_texts(
        self, encoded: Encoded, targets_NC: torch.Tensor, groups_N: NDArray[np.int64], n_groups: int
    ) -> list[list[Gradient]]:
        """Averages the gradients of every group's texts, streamed.

        Returns:
            For every head and group one tensor per weight.

        Raises:
            UsageError: They would not fit into memory.
        """
        size = sum(weight.numel() for weight in [*self._free.values(), *self._tops[0]])
        need_gb = 4e-9 * size * n_groups * len(self._tops)
        if need_gb > GRADIENT_LIMIT_GB:
            raise UsageError(
                f"the real gradients of {n_groups} groups at {len(self._tops)} heads would take {need_gb:.0f} GB, more than "
                f"{GRADIENT_LIMIT_GB:.0f}; use larger groups (method.group_size), fewer heads, or method.space=lora."
            )
        made: list[list[Gradient]] = []
        for head in range(len(self._tops)):
            of_group: list[Gradient] = []
            for group in range(n_groups):
                rows = np.flatnonzero(groups_N == group)
                parts = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
                total: list[torch.Tensor] = []
                for part in parts:
                    mean = self._gradients(encoded, part, targets_NC, [head], again=False)[0]
                    scaled = [g * (len(part) / len(rows)) for g in mean]
                    total = scaled if not total else [a + b for a, b in zip(total, scaled, strict=True)]
                of_group.append(tuple(total))
            made.append(of_group)
        return made

    def distances(
        self,
        real: list[list[Gradient]],
        encoded: Encoded,
        soft_SE: torch.Tensor,
        *,
        targets_MC: torch.Tensor,
        groups_M: NDArray[np.int64],
        distance: Distance,
    ) -> torch.Tensor:
        """Returns the (K, G) distances between given gradients and the mean gradients of groups of texts of token vectors.

        Args:
            real: Gradients to be matched, as `of_texts` returns them.
            encoded: Texts as `SpecialTokens.around_vectors` makes them.
            soft_SE: The vectors; may require a gradient.
            targets_MC: Class shares.
            groups_M: Groups.
            distance: Which distance.
        """
        special = torch.tensor(self._special_tokens.ids, device=soft_SE.device)
        parent, name, table = self._table
        narrow = NarrowTable(parent, name, table, special, soft_SE)
        narrow.rows.requires_grad_(False)
        narrow.rows.soft = soft_SE
        try:
            columns = []
            for group in range(len(real[0])):
                rows = np.flatnonzero(groups_M == group)
                made = self._gradients(encoded, rows, targets_MC, range(len(real)), again=True)
                columns.append(torch.stack([between(real[k][group], own, distance) for k, own in enumerate(made)]))
            return torch.stack(columns, dim=1)
        finally:
            narrow.widen(1.0)

    def _gradients(
        self, encoded: Encoded, rows: NDArray[np.int64], targets_NC: torch.Tensor, heads: Sequence[int], *, again: bool
    ) -> list[Gradient]:
        """Returns, for every head, the gradients of the mean loss of some texts; `again` keeps them differentiable."""
        with torch.enable_grad():
            h_BD = torch.func.functional_call(
                self._ready.module, self._weights(), (), self._ready.inputs(encoded, rows)
            )
            wanted_BC, made = targets_NC[torch.from_numpy(rows)], []
            for number, k in enumerate(heads):
                weight_CD, bias_C = self._tops[k]
                shares = torch.log_softmax(h_BD @ weight_CD.t() + bias_C, dim=1)
                loss = -(wanted_BC * shares).sum(1).mean()
                wanted = [*self._free.values(), weight_CD, bias_C]
                keep = again or number + 1 < len(heads)
                made.append(torch.autograd.grad(loss, wanted, create_graph=again, retain_graph=keep))
        return made


def between(real: Gradient, made: Gradient, distance: Distance) -> torch.Tensor:
    """Returns the distance between two gradients, tensor by tensor or as a whole (GRADMM, section 4.1).

    Tensor by tensor, those with next to no real gradient are left out: that of a key's offset is 0 but for rounding, because attention
    does not change when all its scores do.
    """
    if distance == "cosine":
        norms = [float(a.norm()) for a in real]
        pairs = [(a, b) for a, b, norm in zip(real, made, norms, strict=True) if norm > _NEGLIGIBLE * max(norms)]
        return torch.stack(
            [1 - nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in pairs]
        ).mean()
    a, b = torch.cat([g.flatten() for g in real]), torch.cat([g.flatten() for g in made])
    return 1 - nn.functional.cosine_similarity(a, b, dim=0) if distance == "whole" else ((a - b) ** 2).sum()
