"""DiffuSeq under differential privacy: one encoder reads the prompt, which is never noised, and the noised text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import DiffusionMethod, GaussianConfig, diffusion_card

if TYPE_CHECKING:
    from tdbench.api import Alphabet, DenoiserShape, Diffusion, SourceModel


class DPDiffuSeq(DiffusionMethod):
    """DiffuSeq (Gong et al., 2023) as Ochs and Habernal (2025) train it privately: partial noising, an encoder alone.

    What the published private code lets through is left out: gradients of the place table that mix rows, times drawn by the losses of
    private rows, averages over physical batches.
    """

    name = "dp_diffuseq"
    card = diffusion_card(
        summary="Samples of DiffuSeq on public texts that learnt the classes by DP-SGD.",
        paper="Gong et al., 2023, DiffuSeq; Ochs and Habernal, 2025, Private synthetic text generation with diffusion models",
    )

    class Config(GaussianConfig):
        """Options."""

    def model(self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int) -> Diffusion:
        """Returns one encoder over prompt and text."""
        from tdbench.api import GaussianDiffusion

        config = self.config
        return GaussianDiffusion(
            alphabet, source, shape, n_classes, config.draws, steps=config.steps, clamp=config.clamp
        )
