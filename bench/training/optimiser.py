"""AdamW on float32 master weights, and token tables of which only the rows in use are trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from tdbench.bench.errors import PluginError

if TYPE_CHECKING:
    from tdbench.bench.training.recipe import Recipe

_COPY = torch.ops.aten._foreach_copy_


class MasterAdamW:
    """AdamW with decoupled weight decay on matrices, on float32 masters of parameters of any type; clips the gradient's norm.

    The masters of all matrices, and of all vectors, lie in one flat tensor each, so that a step is a few passes over memory. Parameters
    that get no gradient in the first step are never touched; one that gets its first gradient later is refused.

    Args:
        parameters: Updated in place.
        recipe: Weight decay, gradient norm, and learning rate.
        members: None for one model; S where every parameter holds those of S models along its first axis, which are clipped apart.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe, members: int | None = None) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._recipe, self._members = recipe, members
        self._flats: list[_Flat] = []
        self._untouched: list[nn.Parameter] = []
        self._inner: torch.optim.AdamW | None = None

    def step(self, step: int) -> None:
        """Applies and clears the gradients that the parameters hold.

        Args:
            step: Number of the step, from 0: decides the learning rate.
        """
        if self._inner is None:
            self._inner = self._build()
        self.set_rate(step)
        self.apply()

    def set_rate(self, step: int) -> None:
        """Sets the learning rate of a step (after the first)."""
        assert self._inner is not None
        for group in self._inner.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(self._recipe.lr_at(step))
            else:
                group["lr"] = self._recipe.lr_at(step)

    def apply(self) -> None:
        """Clips and applies the gradients at the current rate: launches alone, which a CUDA graph can capture."""
        assert self._inner is not None
        late = [p for p in self._untouched if p.grad is not None]
        if late:
            raise PluginError(
                f"{len(late)} parameters got no gradient in the first step and one later; the engine trains modules whose every step "
                "reaches the same parameters: remove LayerDrop and conditional branches."
            )
        norms_SF = torch.cat([flat.take_gradients() for flat in self._flats], dim=1)
        norm_S1 = torch.linalg.vector_norm(norms_SF, dim=1, keepdim=True)
        scale_S1 = (self._recipe.clip_norm / (norm_S1 + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
        for flat in self._flats:
            flat.gradient.mul_(scale_S1)
        self._inner.step()
        for flat in self._flats:
            flat.write_back()

    def _build(self) -> torch.optim.AdamW:
        stacked = self._members is not None
        ready = [p for p in self._parameters if p.grad is not None]
        self._untouched = [p for p in self._parameters if p.grad is None]
        if not ready:
            raise PluginError("no parameter got a gradient; the module's logits must depend on trainable parameters.")
        matrices = [p for p in ready if p.ndim - stacked >= 2]
        vectors = [p for p in ready if p.ndim - stacked < 2]
        groups = []
        for chosen, decay in ((matrices, self._recipe.weight_decay), (vectors, 0.0)):
            if chosen:
                self._flats.append(_Flat(chosen, self._members or 1))
                groups.append({"params": [self._flats[-1].master], "weight_decay": decay})
        on_gpu = self._flats[0].master.is_cuda
        rate = (
            torch.tensor(self._recipe.lr_at(0), device=self._flats[0].master.device)
            if on_gpu
            else self._recipe.lr_at(0)
        )
        return torch.optim.AdamW(groups, lr=rate, fused=True, capturable=on_gpu)


class _Flat:
    """Parameters of S models as one float32 (S, P) tensor."""

    def __init__(self, parameters: list[nn.Parameter], members: int) -> None:
        self._parameters = parameters
        self.master = nn.Parameter(torch.cat([p.detach().float().reshape(members, -1) for p in parameters], dim=1))
        self.gradient = torch.zeros_like(self.master)
        self.master.grad = self.gradient
        sizes = [p.numel() // members for p in parameters]
        self._weights, self._grads = (
            [part.view(p.shape) for part, p in zip(whole.split(sizes, dim=1), parameters, strict=True)]
            for whole in (self.master.detach(), self.gradient)
        )

    def take_gradients(self) -> torch.Tensor:
        """Moves the parameters' gradients into `gradient` and returns its (S, 1) norms."""
        _COPY(self._grads, [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters])
        for parameter in self._parameters:
            parameter.grad = None
        return torch.linalg.vector_norm(self.gradient, dim=1, keepdim=True)

    @torch.no_grad()
    def write_back(self) -> None:
        """Rounds the masters into the parameters."""
        _COPY(self._parameters, self._weights)


class TableRows(nn.Module):
    """A token table of which only U rows, those of the training texts, are parameters.

    AdamW changes a row that no text uses by weight decay alone, which `restored` applies in one multiplication.

    Args:
        table: The whole (V, D) table.
        used: The U token ids that the training texts hold.
        soft: (S, D) token vectors that ids from V on stand for; they are no parameters, but may want a gradient. None without.
    """

    def __init__(self, table: nn.Embedding, used: torch.Tensor, soft: torch.Tensor | None = None) -> None:
        super().__init__()
        self._table = [table]  # hidden from `parameters()`
        self.used = used
        n_soft = 0 if soft is None else len(soft)
        places = torch.full((table.num_embeddings + n_soft,), -1, dtype=torch.int64, device=used.device)
        places[used] = torch.arange(len(used), device=used.device)
        places[table.num_embeddings :] = len(used) + torch.arange(n_soft, device=used.device)
        self.register_buffer("places", places, persistent=False)
        place = -1 if table.padding_idx is None else int(places[table.padding_idx])
        self._padding = None if place == -1 else place
        self.rows = nn.Parameter(table.weight.detach()[used].clone())
        self.soft = soft

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Looks token ids up; an id outside the rows in use is an IndexError."""
        rows = self.rows if self.soft is None else torch.cat([self.rows, self.soft])
        return nn.functional.embedding(self.places[ids], rows, self._padding)  # type: ignore[index]

    @property
    def weight(self) -> torch.Tensor:
        """Refuses to hand out the whole table, whose ids these rows do not have.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "while it is trained, the token table holds only the rows that the training texts use: look ids up with "
            "table(ids), and read type and device from what comes back."
        )

    @torch.no_grad()
    def restored(self, decay_factor: float) -> nn.Embedding:
        """Returns the whole table after training.

        Args:
            decay_factor: Product over the steps of 1 - learning rate x weight decay.
        """
        table = self._table[0]
        table.weight.mul_(decay_factor)
        table.weight[self.used] = self.rows
        return table
