"""Base class of private methods that train a generator of texts: a public start, DP-SGD, samples, and the choice among them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from tdbench.bench.card import MethodConfig
from tdbench.bench.privacy.private_method import PrivateConfig, PrivateMethod

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.matching.samples import Writer
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.privacy.oracle import PrivateOracle
    from tdbench.bench.privacy.training import RowModel

QUESTION = "training"


class TrainingConfig(PrivateConfig):
    """Options of private training, and of the choice among samples."""

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
    """Decay of a moving average of the weights over steps; 0 for none."""
    clip: float = Field(default=1.0, gt=0)
    """L2 norm that a row's gradient is clipped to."""
    physical: PositiveInt = 64
    """Rows whose gradients are held at once."""
    pool: PositiveInt = 4
    """Samples for each text wanted; K-means medoids of them are kept."""


class TrainedConfig(TrainingConfig):
    """Options of models that start from public texts."""

    tokens: PositiveInt = 4_000
    """Tokens that the model knows: the commonest of the public texts."""
    space: Literal["classes", "norms", "all"] = "classes"
    """What is trained on private rows: what is learnt of classes by heart; the layer norms too; everything but the token table."""


def train_privately(oracle: PrivateOracle, model: RowModel, config: TrainingConfig, ghost: bool = False) -> None:
    """Plans the whole budget for training and trains a model, in place; leaves it as it is where the budget is 0.

    Args:
        oracle: Trains on the private rows.
        model: A public model, with what is to be trained unfrozen.
        config: How.
        ghost: Find the norms of rows' gradients without the gradients.
    """
    from tdbench.bench.privacy.training import TrainingOptions

    if oracle.zero_budget:
        return
    epochs = min(config.epochs, config.most_steps * min(1.0, config.batch / oracle.n_rows))
    oracle.allocate(oracle.training_query(QUESTION, config.batch, epochs))
    options = TrainingOptions(
        lr=config.lr,
        clip=config.clip,
        physical=config.physical,
        ghost=ghost,
        warmup=config.warmup,
        decay=config.decay,
        average=config.average,
    )
    oracle.train(QUESTION, model, options)


class TrainedMethod(PrivateMethod):
    """Trains a public generator on private rows by DP-SGD; K-means medoids of its samples are the set.

    Samples and their choice follow from the trained model alone: they cost nothing more.
    """

    Config: ClassVar[type[MethodConfig]] = TrainedConfig

    @property
    def writes(self) -> bool:
        """All of them do."""
        return True

    @abstractmethod
    def start(self, oracle: PrivateOracle, ctx: Context) -> tuple[RowModel, SourceModel]:
        """Returns the public model, with what is to be trained unfrozen, and the source learner, which spells texts."""

    @abstractmethod
    def writer(self, model: RowModel, n_fields: int, ctx: Context) -> Writer:
        """Returns what writes texts."""

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Trains, samples, chooses."""
        from tdbench.bench.distilled import DistilledSet
        from tdbench.bench.matching.samples import sample_medoids

        assert budget.per_class is not None
        config: TrainedConfig = self.config
        model, source = self.start(oracle, ctx)
        train_privately(oracle, model, config)
        made = sample_medoids(
            self.writer(model, len(oracle.field_names), ctx),
            source,
            oracle.field_names,
            oracle.n_classes,
            per_class=budget.per_class,
            pool=config.pool,
            ctx=ctx,
        )
        return DistilledSet.from_texts(*made)
