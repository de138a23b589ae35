"""Gaussian diffusion of token vectors (Li et al., 2022, Diffusion-LM; Gong et al., 2023; Yuan et al., 2024; Lin et al., 2023).

Shapes: B rows, K noised versions, L tokens, U tokens of text, E latent width, T steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tdbench.methods.dp_diffusion.generator import Diffusion
from tdbench.methods.dp_diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from tdbench.api import LabelledText
    from tdbench.api.matching import SourceModel
    from tdbench.api.training import Batch
    from tdbench.methods.dp_diffusion.alphabet import Alphabet
    from tdbench.methods.dp_diffusion.generator import PublicTraining
    from tdbench.methods.dp_diffusion.network import DenoiserShape

_LEVELS, _MEASURED = 50, 128
"""Noise levels, and public texts, at which losses are measured for an adapted schedule."""


class GaussianDiffusion(Diffusion):
    """Noise on token vectors; the denoiser estimates the vectors without noise, and the loss is the squared error.

    Args:
        alphabet: Tokens.
        source: Spells rows.
        shape: Size of the denoiser.
        n_classes: Number of classes.
        draws: K.
        steps: T.
        adapted: Whether the schedule is fitted to the losses on public texts, after half of the public training (SeqDiffuSeq).
        repairs: Whether public training shows half of the texts' damaged copies as the source (GENIE), and the prompt to the others.
        clamp: Whether each estimate is replaced by the nearest token's vector while texts are written.
    """

    name = "gaussian"

    def __init__(
        self,
        alphabet: Alphabet,
        source: SourceModel,
        shape: DenoiserShape,
        n_classes: int,
        draws: int,
        *,
        steps: int = 2000,
        adapted: bool = False,
        repairs: bool = False,
        clamp: bool = True,
    ) -> None:
        super().__init__(alphabet, source, shape, n_classes, draws)
        self.schedule = NoiseSchedule.square_root(steps)
        self._adapted, self._repairs, self._clamp = adapted, repairs, clamp
        # The source has one length, whether it is a prompt or a text.
        room = alphabet.length - alphabet.prompts_CP.shape[1] if repairs else 0
        self._prompts_CP = torch.nn.functional.pad(alphabet.prompts_CP, (0, room), value=alphabet.end)

    def facts(self) -> dict[str, Any]:
        """Returns what else decides the public model."""
        return {"steps": self.schedule.n_steps, "adapted": self._adapted, "repairs": self._repairs}

    def source_of(self, batch: Batch) -> torch.Tensor:
        """Returns the (B, P, E) source vectors: the classes' prompts, or damaged targets."""
        ids_BP = batch["damaged"] if "damaged" in batch else self._prompts_CP.to(self.device)[batch["labels"]]
        return self.vectors_UE[ids_BP.clamp(min=0)] * (ids_BP >= 0)[..., None]

    def _drawn(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draws noise, who sees the last estimate, and, in public training that teaches to repair, damage."""
        time_BK = batch["time"]
        if self.is_public and self._repairs:
            repairs_B1 = torch.rand(len(batch["ids"]), 1, generator=generator) < 0.5
            hurt_BL = damaged(batch["ids"], generator)
            batch = {**batch, "damaged": torch.where(repairs_B1, hurt_BL, self._prompts_CP[batch["labels"]])}
        shape = (*time_BK.shape, batch["ids"].shape[1], self.denoiser.shape.latent)
        drawn = {**batch, "noise": torch.randn(shape, generator=generator)}
        if self.denoiser.shape.self_conditioned:
            drawn["again"] = torch.rand(len(time_BK), generator=generator) < 0.5
        return drawn

    def losses(self, batch: Batch) -> torch.Tensor:
        """Returns the (B,) mean squared errors over versions, places (those behind the end included) and axes."""
        return self._errors(batch).mean((1, 2))

    def _errors(self, batch: Batch) -> torch.Tensor:
        """Returns the (B, K, L) mean squared errors over axes."""
        steps_BK = (batch["time"] * self.schedule.n_steps).long().clamp(max=self.schedule.n_steps - 1)
        x0_B1LE = self.vectors_UE[batch["ids"]][:, None]
        x_BKLE = self.schedule.noised(x0_B1LE, steps_BK, batch["noise"])
        source_BPE, previous = self.source_of(batch), None
        if "again" in batch:
            with torch.no_grad():
                first = self._estimate(source_BPE, batch["labels"], x_BKLE, steps_BK, None)
            previous = first.detach() * batch["again"][:, None, None, None]
        guess = self._estimate(source_BPE, batch["labels"], x_BKLE, steps_BK, previous)
        return (guess - x0_B1LE).square().mean(-1)  # in the vectors' own type, whatever the denoiser computes in

    def _estimate(
        self,
        source_BPE: torch.Tensor,
        labels_B: torch.Tensor,
        x_BKLE: torch.Tensor,
        steps_BK: torch.Tensor,
        previous: torch.Tensor | None,
    ) -> torch.Tensor:
        return self.denoiser(source_BPE, labels_B, x_BKLE, steps_BK / self.schedule.n_steps, previous)

    def pretrain(self, rows: LabelledText, options: PublicTraining, tick: Callable[[float], None]) -> None:
        """Trains on public texts, in two halves where the schedule is fitted in between."""
        if not self._adapted:
            super().pretrain(rows, options, tick)
            return
        first = max(1, options.steps // 2)
        super().pretrain(rows, replace(options, steps=first), tick)
        self.schedule = self.schedule.adapted(self.in_public().losses_by_step(rows))
        super().pretrain(rows, replace(options, steps=max(1, options.steps - first), seed=options.seed + 1), tick)

    @torch.no_grad()
    def losses_by_step(self, rows: LabelledText) -> torch.Tensor:
        """Returns the (T, L) mean losses on public texts, linear between the levels that are measured."""
        few = rows.take(np.arange(min(_MEASURED, len(rows))))
        generator = torch.Generator().manual_seed(0)
        batch = self.encode(few)
        levels = []
        for level in range(_LEVELS):
            drawn = self.draw(batch, generator)
            drawn["time"] = torch.full_like(drawn["time"], level / (_LEVELS - 1))
            drawn = {name: column.to(self.device) for name, column in drawn.items()}
            levels.append(self._errors(drawn).mean((0, 1)).cpu())
        found_ML = torch.stack(levels).numpy()
        steps_T = np.arange(self.schedule.n_steps) / max(1, self.schedule.n_steps - 1)
        columns = [np.interp(steps_T, np.linspace(0, 1, _LEVELS), found_M) for found_M in found_ML.T]
        return torch.from_numpy(np.stack(columns, axis=1))

    def state(self) -> dict[str, torch.Tensor]:
        """Returns weights and schedule."""
        return {**super().state(), "schedule": self.schedule.kept_TL}

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        """Takes up weights and schedule."""
        state = dict(state)
        self.schedule = NoiseSchedule(state.pop("schedule"))
        super().set_state(state)

    def write(self, labels_B: torch.Tensor, n_fields: int, steps: int, generator: torch.Generator) -> torch.Tensor:
        """Denoises from noise alone over evenly spaced steps and rounds to the nearest tokens that may stand there."""
        shape = (len(labels_B), 1, self.alphabet.length, self.denoiser.shape.latent)

        def noise() -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(self.device)

        closed_LU = self.alphabet.closed(n_fields).to(self.device)
        source_BPE, x = self.source_of({"labels": labels_B}), noise()
        previous = torch.zeros_like(x)
        taken = self.schedule.spaced(steps)
        for step, to in zip(taken, [*taken[1:], None], strict=True):
            steps_B1 = torch.full((len(labels_B), 1), step, device=self.device)
            previous = self._estimate(source_BPE, labels_B, x, steps_B1, previous).float()
            if to is not None:
                x0 = self.vectors_UE[self._nearest(previous, closed_LU)] if self._clamp else previous
                x = self.schedule.back(x, x0, step, to, noise())
        return self._nearest(previous, closed_LU)[:, 0]

    def _nearest(self, x_BKLE: torch.Tensor, closed_LU: torch.Tensor) -> torch.Tensor:
        """Returns the (B, K, L) tokens whose vectors are nearest: all have one length, so the largest product tells."""
        return (x_BKLE @ self.vectors_UE.T).masked_fill(closed_LU, -torch.inf).argmax(-1)


def damaged(ids_BL: torch.Tensor, generator: torch.Generator, share: float = 0.3, span: int = 3) -> torch.Tensor:
    """Returns ids with -1 in the place of about a share of the tokens, in spans (GENIE's continuous paragraph denoise)."""
    starts_BL = torch.rand(ids_BL.shape, generator=generator) < share / span
    hidden_BL = starts_BL.clone()
    for shift in range(1, span):
        hidden_BL[:, shift:] |= starts_BL[:, :-shift]
    return ids_BL.masked_fill(hidden_BL, -1)
