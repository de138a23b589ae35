"""What private methods that train a diffusion model share: public training, DP-SGD, samples, and the choice among them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from bench.method import MethodConfig
from bench.privacy.private_method import PrivateConfig, PrivateMethod

if TYPE_CHECKING:
    from bench.budget import Budget
    from bench.context import Context
    from bench.diffusion.alphabet import Alphabet
    from bench.diffusion.generator import Diffusion
    from bench.diffusion.network import DenoiserShape
    from bench.distilled import DistilledSet
    from bench.matching.source import SourceModel
    from bench.privacy.oracle import PrivateOracle

QUESTION = "training"


class DiffusionConfig(PrivateConfig):
    """Options that every diffusion method has; the defaults train within minutes on two cores."""

    length: PositiveInt = 32
    """Most tokens of a text; never more than the protocol's source learner reads."""
    tokens: PositiveInt = 4_000
    """Tokens that it knows: the commonest of the public texts."""
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
    space: Literal["classes", "norms", "all"] = "classes"
    """What is trained on private rows: what is learnt of classes by heart; the layer norms too; everything but the token vectors."""
    batch: PositiveInt = 256
    """Expected rows of a step."""
    epochs: float = Field(default=8.0, gt=0)
    """Expected uses of every row, unless that takes too many steps."""
    most_steps: PositiveInt = 400
    """Most steps."""
    lr: float = Field(default=2e-2, gt=0)
    """Learning rate of AdamW."""
    warmup: NonNegativeInt = 0
    """Steps over which the rate rises."""
    decay: bool = True
    """Whether the rate falls to 0 afterwards."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights (0.9999 as published); 0 for none."""
    clip: float = Field(default=1.0, gt=0)
    """L2 norm that a row's gradient is clipped to."""
    physical: PositiveInt = 64
    """Rows whose gradients are held at once."""
    denoising: PositiveInt = 32
    """Steps in which a text is written."""
    pool: PositiveInt = 4
    """Samples for each text wanted; K-means medoids of them are kept."""


class GaussianConfig(DiffusionConfig):
    """Options of Gaussian diffusion."""

    steps: PositiveInt = 2_000
    """Steps T of the noise schedule; a text is written in `denoising` of them."""
    clamp: bool = False
    """Whether each estimate is replaced by the nearest token's vector while a text is written, as published."""


class DiffusionMethod(PrivateMethod):
    """Trains a denoiser on public texts, then what the classes are by DP-SGD; K-means medoids of its samples are the set.

    Samples and their choice follow from the trained model alone: they cost nothing more. Subclasses say which diffusion it is.
    """

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

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Trains, samples, chooses."""
        from bench.distilled import DistilledSet
        from bench.matching.samples import sample_medoids
        from bench.privacy.training import TrainingOptions

        assert budget.per_class is not None
        config: DiffusionConfig = self.config
        model, source = self._public_model(oracle, ctx)
        if not oracle.is_silent:
            model.trains(config.space)
            epochs = min(config.epochs, config.most_steps * min(1.0, config.batch / oracle.n_rows))
            oracle.plan(oracle.training_plan(QUESTION, config.batch, epochs))
            options = TrainingOptions(
                lr=config.lr,
                clip=config.clip,
                physical=config.physical,
                warmup=config.warmup,
                decay=config.decay,
                average=config.average,
            )
            oracle.train(QUESTION, model, options)
        n_fields = len(oracle.field_names)
        made = sample_medoids(
            lambda labels_N, seed: model.sample(labels_N, n_fields, config.denoising, seed),
            source,
            oracle.field_names,
            oracle.n_classes,
            per_class=budget.per_class,
            pool=config.pool,
            ctx=ctx,
        )
        return DistilledSet.from_texts(*made)

    def _public_model(self, oracle: PrivateOracle, ctx: Context) -> tuple[Diffusion, SourceModel]:
        from bench.diffusion.alphabet import Alphabet
        from bench.diffusion.generator import PublicTraining, trained_publicly
        from bench.diffusion.network import DenoiserShape
        from bench.models.public_rows import public_rows

        config: DiffusionConfig = self.config
        public = public_rows(ctx, oracle.field_names, oracle.label_names, config.tokens)
        length = min(config.length, public.source.max_length - public.source.frame.n_special)
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
        return model, public.source
