"""Masked diffusion (Sahoo et al., 2024, MDLM): tokens are masked, the more the later; the denoiser says what stood there.

Shapes: B rows, K masked versions, L tokens, U tokens of text, E latent width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tdbench.methods.dp_diffusion.generator import Diffusion

if TYPE_CHECKING:
    from tdbench.api.training import Batch

T_MIN = 0.05
"""Least share of masks in training: the weight 1 / t of a row's loss would make its gradient's length heavy-tailed."""


class MaskedDiffusion(Diffusion):
    """MDLM with the log-linear schedule: a token is masked at time t with probability t, and the loss is weighted by 1 / t.

    The times of a row's versions are drawn apart from other rows' (MDLM spreads them over the batch, which would couple rows). A mask is
    a vector of zeros. Scores are products with the fixed token vectors, a class's own vector included.
    """

    name = "masked"

    def facts(self) -> dict[str, Any]:
        """Returns what else decides the public model."""
        return {"t_min": T_MIN}

    def _drawn(self, batch: Batch, generator: torch.Generator) -> Batch:
        time_BK = T_MIN + (1 - T_MIN) * batch["time"]
        shape = (*time_BK.shape, batch["ids"].shape[1])
        masked_BKL = torch.rand(shape, generator=generator) < time_BK[..., None]
        return {**batch, "time": time_BK, "masked": masked_BKL}

    def losses(self, batch: Batch) -> torch.Tensor:
        """Returns the (B,) continuous-time bounds per token, the mean over a row's versions."""
        masked_BKL = batch["masked"]
        ids_BKL = batch["ids"][:, None].expand(masked_BKL.shape)
        logits_SU = self._logits(batch, ids_BKL, masked_BKL, masked_BKL)
        each_S = nn.functional.cross_entropy(logits_SU.float(), ids_BKL[masked_BKL], reduction="none")
        each_BKL = torch.zeros(masked_BKL.shape, device=each_S.device).masked_scatter(masked_BKL, each_S)
        return (each_BKL / batch["time"][..., None]).mean((1, 2))

    def _logits(
        self, batch: Batch, ids_BKL: torch.Tensor, masked_BKL: torch.Tensor, wanted_BKL: torch.Tensor
    ) -> torch.Tensor:
        """Returns the (S, U) scores of what stands at S wanted places; a mask is no token and has none."""
        x_BKLE = self.vectors_UE[ids_BKL] * ~masked_BKL[..., None]
        out_SE = self.denoiser(self.source_of(batch), batch["labels"], x_BKLE)[wanted_BKL]
        table_UE = self.vectors_UE / self.denoiser.shape.latent**0.5
        return nn.functional.linear(out_SE, table_UE.to(out_SE)) + self.alphabet.log_shares_U.to(out_SE)

    def write(self, labels_B: torch.Tensor, n_fields: int, steps: int, generator: torch.Generator) -> torch.Tensor:
        """Unmasks from all masks, each token with probability (t - s) / t from time t to s."""
        shape = (len(labels_B), self.alphabet.length)
        ids_BL = torch.zeros(shape, dtype=torch.int64, device=self.device)
        closed_LU = self.alphabet.closed(n_fields).to(self.device)
        masked_BL = torch.ones(shape, dtype=torch.bool, device=self.device)
        for left in range(steps, 0, -1):
            chosen_BL = masked_BL & (torch.rand(shape, generator=generator).to(self.device) < 1 / left)
            if not chosen_BL.any():
                continue
            rows_R = chosen_BL.any(1)
            seen = ids_BL[rows_R, None], masked_BL[rows_R, None]
            logits_SU = self._logits({"labels": labels_B[rows_R]}, *seen, chosen_BL[rows_R, None]).float()
            logits_SU = logits_SU.masked_fill(closed_LU[torch.nonzero(chosen_BL)[:, 1]], -torch.inf)
            drawn = torch.multinomial(torch.softmax(logits_SU, -1).cpu(), 1, generator=generator)
            ids_BL[chosen_BL] = drawn.squeeze(1).to(self.device)
            masked_BL &= ~chosen_BL
        return ids_BL
