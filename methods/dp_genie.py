"""GENIE under differential privacy: an encoder reads the source, a denoiser attends to it; it has learnt to repair public texts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from tdbench.api import DiffusionMethod, GaussianConfig, diffusion_card

if TYPE_CHECKING:
    from tdbench.api import Alphabet, DenoiserShape, Diffusion, SourceModel


class DPGenie(DiffusionMethod):
    """GENIE (Lin et al., 2023) at a small size; public training on the suite's public texts takes the place of its 160 GB.

    The source of half of the texts is the text with three tenths of its tokens gone, in spans (continuous paragraph denoise); the others
    see the prompt, because what is trained privately is too little to teach what a prompt is.
    """

    name = "dp_genie"
    card = diffusion_card(
        summary="Samples of GENIE, pre-trained to repair public texts, that learnt the classes by DP-SGD.",
        paper="Lin et al., 2023, GENIE; Ochs and Habernal, 2025, Private synthetic text generation with diffusion models",
    )

    class Config(GaussianConfig):
        """Options."""

        encoder_layers: PositiveInt = 1
        """Transformer blocks that read the source."""
        pretraining: Literal["repair", "prompt"] = "repair"
        """Source in public training: for half of the texts the damaged text; else the prompt of a class drawn at random."""

    def model(self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int) -> Diffusion:
        """Returns an encoder and a denoiser that attends to it."""
        from tdbench.api import GaussianDiffusion

        config = self.config
        return GaussianDiffusion(
            alphabet,
            source,
            replace(shape, encoder_layers=config.encoder_layers),
            n_classes,
            config.draws,
            steps=config.steps,
            repairs=config.pretraining == "repair",
            clamp=config.clamp,
        )
