"""How much noise there is at which time, and the way back. T steps, L places, B rows, K versions, E latent width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class NoiseSchedule:
    """Shares of the signal that are left, for each step and place.

    Args:
        kept_TL: What is left of the signal's variance (alpha bar), falling in T; L is 1 where all places have the same.
    """

    kept_TL: torch.Tensor

    @classmethod
    def square_root(cls, steps: int) -> NoiseSchedule:
        """Returns 1 - sqrt(t / T + 1e-4) (Li et al., 2022, Diffusion-LM, appendix A)."""
        times_T = torch.arange(steps, dtype=torch.float64) / steps
        return cls((1 - (times_T + 1e-4).sqrt()).clamp(min=1e-5)[:, None].float())

    @property
    def n_steps(self) -> int:
        """Number of steps T."""
        return len(self.kept_TL)

    def kept(self, steps_BK: torch.Tensor) -> torch.Tensor:
        """Returns the (B, K, L or 1, 1) shares at given steps."""
        return self.kept_TL.to(steps_BK.device)[steps_BK][..., None]

    def noised(self, x: torch.Tensor, steps_BK: torch.Tensor, noise_BKLE: torch.Tensor) -> torch.Tensor:
        """Returns the noised versions of (B, K, L, E) vectors."""
        kept = self.kept(steps_BK)
        return kept.sqrt() * x + (1 - kept).sqrt() * noise_BKLE

    def spaced(self, count: int) -> list[int]:
        """Returns evenly spaced steps, from the noisiest to 0; the noisiest alone where one is wanted."""
        taken = np.linspace(self.n_steps - 1, 0, count).round().astype(int)
        return list(dict.fromkeys(taken.tolist()))

    def back(
        self, x_BKLE: torch.Tensor, x0_BKLE: torch.Tensor, step: int, to: int, noise_BKLE: torch.Tensor
    ) -> torch.Tensor:
        """Draws from the posterior of an earlier step, given a later one and the signal (Ho et al., 2020, equations 6 and 7).

        Args:
            x_BKLE: At the later step.
            x0_BKLE: The signal.
            step: The later step.
            to: The earlier step.
            noise_BKLE: Standard normal.
        """
        late_L1, early_L1 = (self.kept_TL[t].to(x_BKLE)[:, None] for t in (step, to))
        left_L1 = late_L1 / early_L1
        mean = (early_L1.sqrt() * (1 - left_L1) * x0_BKLE + left_L1.sqrt() * (1 - early_L1) * x_BKLE) / (1 - late_L1)
        variance_L1 = (1 - early_L1) * (1 - left_L1) / (1 - late_L1)
        return mean + variance_L1.sqrt() * noise_BKLE

    def adapted(self, losses_TL: torch.Tensor) -> NoiseSchedule:
        """Returns the schedule under which each place's loss grows by the same amount in every step (SeqDiffuSeq, section 3.3).

        Args:
            losses_TL: Mean losses at each step and place under this schedule; made to rise with the noise first.
        """
        n_steps, n_places = losses_TL.shape
        kept_TL = self.kept_TL.expand(-1, n_places).double().cpu().numpy()
        columns = []
        for place in range(n_places):
            rising_T = np.maximum.accumulate(losses_TL[:, place].double().cpu().numpy())
            rising_T = rising_T + np.arange(n_steps) * 1e-9  # so that it can be inverted
            wanted_T = np.linspace(rising_T[0], rising_T[-1], n_steps)
            columns.append(np.interp(wanted_T, rising_T, kept_TL[:, place]))
        return NoiseSchedule(torch.from_numpy(np.stack(columns, axis=1)).float())
