"""Diffusion models of text that are fine-tuned under differential privacy: DiffuSeq, SeqDiffuSeq, GENIE and masked diffusion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from tdbench.methods.dp_diffusion.method import DiffusionConfig, DiffusionMethod, GaussianConfig, diffusion_card

if TYPE_CHECKING:
    from tdbench.api.matching import SourceModel
    from tdbench.methods.dp_diffusion.alphabet import Alphabet
    from tdbench.methods.dp_diffusion.generator import Diffusion
    from tdbench.methods.dp_diffusion.network import DenoiserShape


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
        from tdbench.methods.dp_diffusion.gaussian import GaussianDiffusion

        config = self.config
        return GaussianDiffusion(
            alphabet, source, shape, n_classes, config.draws, steps=config.steps, clamp=config.clamp
        )


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
        from tdbench.methods.dp_diffusion.gaussian import GaussianDiffusion

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
        from tdbench.methods.dp_diffusion.gaussian import GaussianDiffusion

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
        from tdbench.methods.dp_diffusion.masked import MaskedDiffusion

        return MaskedDiffusion(alphabet, source, replace(shape, timed=False), n_classes, self.config.draws)
