"""SeqDiffuSeq under differential privacy: an encoder reads the prompt, a decoder the noised text and its own last estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from tdbench.api import DiffusionMethod, GaussianConfig, diffusion_card

if TYPE_CHECKING:
    from tdbench.api import Alphabet, DenoiserShape, Diffusion, SourceModel


class DPSeqDiffuSeq(DiffusionMethod):
    """SeqDiffuSeq (Yuan et al., 2024): encoder and decoder, self-conditioning, a noise schedule of its own for every place.

    Published, the schedule is fitted to the losses of private rows, which no accountant knows of; here to those of public texts.
    """

    name = "dp_seqdiffuseq"
    card = diffusion_card(
        summary="Samples of SeqDiffuSeq on public texts that learnt the classes by DP-SGD.",
        paper="Yuan et al., 2024, SeqDiffuSeq; Ochs and Habernal, 2025, Private synthetic text generation with diffusion models",
    )

    class Config(GaussianConfig):
        """Options."""

        encoder_layers: PositiveInt = 1
        """Transformer blocks that read the prompt."""
        self_conditioned: bool = True
        """Whether half of the rows in training, and every step of writing but the first, are shown the last estimate."""
        schedule: Literal["adapted", "sqrt"] = "adapted"
        """`adapted`: fitted on public texts after half of the public training; `sqrt`: fixed."""

    def model(self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int) -> Diffusion:
        """Returns an encoder and a decoder."""
        from tdbench.api import GaussianDiffusion

        config = self.config
        shape = replace(shape, encoder_layers=config.encoder_layers, self_conditioned=config.self_conditioned)
        return GaussianDiffusion(
            alphabet,
            source,
            shape,
            n_classes,
            config.draws,
            steps=config.steps,
            adapted=config.schedule == "adapted",
            clamp=config.clamp,
        )
