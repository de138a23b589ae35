"""What private diffusion methods share: options, and a model of public texts to start from."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from tdbench.api import MethodCard, MethodConfig
from tdbench.api.privacy import TrainedConfig, TrainedMethod

if TYPE_CHECKING:
    from tdbench.api import Context, PrivateOracle
    from tdbench.api.matching import SourceModel, Writer
    from tdbench.methods.dp_diffusion.alphabet import Alphabet
    from tdbench.methods.dp_diffusion.generator import Diffusion
    from tdbench.methods.dp_diffusion.network import DenoiserShape


class DiffusionConfig(TrainedConfig):
    """Options that every diffusion method has; the defaults train within minutes on two cores."""

    length: PositiveInt = 32
    """Most tokens of a text; never more than the protocol's source learner reads."""
    layers: PositiveInt = 3
    """Transformer blocks of the denoiser."""
    width: PositiveInt = 128
    """Width of the denoiser."""
    heads: PositiveInt = 4
    """Attention heads."""
    latent: PositiveInt = 128
    """Width of token vectors."""
    draws: PositiveInt = 1
    """Noised versions of every row in a step; more of them make its gradient steadier and cost no privacy."""
    prompt: str = "write a {label} text:"
    """Source segment that texts are conditioned on."""
    public_epochs: NonNegativeFloat = 16.0
    """Expected uses of every public text in public training; 0 for none."""
    public_batch: PositiveInt = 64
    """Expected texts of a step of public training."""
    public_lr: float = Field(default=1e-3, gt=0)
    """Learning rate of public training."""
    denoising: PositiveInt = 32
    """Steps in which a text is written."""


class GaussianConfig(DiffusionConfig):
    """Options of Gaussian diffusion."""

    steps: PositiveInt = 2_000
    """Steps T of the noise schedule; a text is written in `denoising` of them."""
    clamp: bool = False
    """Whether each estimate is replaced by the nearest token's vector while a text is written, as published."""


def diffusion_card(summary: str, paper: str) -> MethodCard:
    """Returns a diffusion method's card: they all read and cost the same."""
    return MethodCard(
        summary=summary,
        paper=paper,
        family="private",
        output="text",
        cost_class="minutes",
        reads=("encoder", "source", "public"),
        private=True,
        tags=("public-pool",),
        counts_texts=True,
    )


class DiffusionMethod(TrainedMethod):
    """Starts from a denoiser of public texts. Subclasses say which diffusion it is."""

    Config: ClassVar[type[MethodConfig]] = DiffusionConfig

    @abstractmethod
    def model(self, alphabet: Alphabet, source: SourceModel, shape: DenoiserShape, n_classes: int) -> Diffusion:
        """Returns the untrained model.

        Args:
            alphabet: Tokens.
            source: Spells rows.
            shape: Size, as the options say, of a single network; may be changed.
            n_classes: Number of classes.
        """

    def start(self, oracle: PrivateOracle, ctx: Context) -> tuple[Diffusion, SourceModel]:
        """Trains the model on public texts."""
        from tdbench.api.privacy import public_rows
        from tdbench.methods.dp_diffusion.alphabet import Alphabet
        from tdbench.methods.dp_diffusion.generator import PublicTraining, trained_publicly
        from tdbench.methods.dp_diffusion.network import DenoiserShape

        config: DiffusionConfig = self.config
        public = public_rows(ctx, oracle.field_names, oracle.label_names, config.tokens)
        length = min(config.length, public.source.max_length - public.source.special_tokens.n_special)
        alphabet = Alphabet(public, config.prompt, config.latent, length)
        shape = DenoiserShape(config.layers, config.width, config.heads, config.latent, length)
        model = self.model(alphabet, public.source, shape, oracle.n_classes)
        model.module.to(ctx.device)
        if config.public_epochs:
            steps = max(1, round(config.public_epochs * len(public.rows) / config.public_batch))
            training = PublicTraining(steps, config.public_batch, config.public_lr)
            cache = ctx.make_source().cache
            trained_publicly(model, public, training, cache=cache, cost=ctx.cost, tick=ctx.progress)
        model.module.eval()
        model.trains(config.space)
        return model, public.source

    def writer(self, model: Diffusion, n_fields: int, ctx: Context) -> Writer:  # type: ignore[override] # noqa: ARG002
        """Denoises."""
        return lambda labels_N, seed: model.sample(labels_N, n_fields, self.config.denoising, seed)
