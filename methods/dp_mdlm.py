"""Masked diffusion that is fine-tuned under differential privacy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from tdbench.api import DiffusionConfig, DiffusionMethod, diffusion_card

if TYPE_CHECKING:
    from tdbench.api import Alphabet, DenoiserShape, Diffusion, SourceModel


class DPMDLM(DiffusionMethod):
    """MDLM (Sahoo et al., 2024), label-conditional: an encoder reads the prompt and the text with masks, and says what they hide.

    Each row is masked `draws` times in a step, at evenly spread rates; the loss is the mean over them, taken before gradients are clipped.
    """

    name = "dp_mdlm"
    card = diffusion_card(
        summary="Samples of a masked diffusion model of public texts that learnt the classes by DP-SGD.",
        paper="Sahoo et al., 2024, Simple and effective masked diffusion language models; De et al., 2022 (several draws of a row)",
    )

    class Config(DiffusionConfig):
        """Options."""

        draws: PositiveInt = 2
        """Versions of every row in a step, masked at evenly spread rates; they make its gradient steadier and cost no privacy."""

    def model(self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int) -> Diffusion:
        """Returns an encoder that is not told the time: the number of masks tells it."""
        from tdbench.api import MaskedDiffusion

        return MaskedDiffusion(alphabet, source, replace(shape, timed=False), n_classes, self.config.draws)
