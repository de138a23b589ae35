"""A language model that is fine-tuned under differential privacy, and samples from it (Yue et al., 2023; Kurakin et al., 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from bench.api import MethodCard, PrivateConfig, PrivateMethod

if TYPE_CHECKING:
    from bench.api import Budget, Context, DistilledSet, PrivateOracle

QUESTION = "training"


class DPLM(PrivateMethod):
    """Trains the suite's small decoder on public texts, then what classes are by DP-SGD; K-means medoids of its samples are the set.

    Samples and their choice follow from the trained model alone: they cost nothing more.
    """

    name = "dp_lm"
    card = MethodCard(
        summary="Samples of a language model of public texts that learnt the classes by DP-SGD.",
        family="private",
        paper="Yue et al., 2023, Synthetic text generation with differential privacy; Kurakin et al., 2023 (few weights)",
        output="text",
        cost_class="minutes",
        reads=("encoder", "source", "lm", "public"),
        private=True,
        tags=("public-pool",),
        counts_texts=True,
    )

    class Config(PrivateConfig):
        """Options."""

        space: Literal["classes", "norms", "all"] = "norms"
        """What is trained on private rows: vectors and scores of the classes; the layer norms too; all but the token table."""
        batch: PositiveInt = 512
        """Expected rows of a step."""
        epochs: float = Field(default=4.0, gt=0)
        """Expected uses of every row."""
        lr: float = Field(default=5e-3, gt=0)
        """Learning rate of AdamW."""
        clip: float = Field(default=1.0, gt=0)
        """L2 norm that a row's gradient is clipped to."""
        tokens: PositiveInt = 6_000
        """Tokens that the model knows: the commonest of the public texts."""
        pool: PositiveInt = 20
        """Samples for each text wanted."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from."""

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Trains, samples, chooses."""
        from bench.api import DistilledSet, RowLM, TrainingOptions, public_lm, sample_medoids

        assert budget.per_class is not None
        config = self.config
        lm, source = public_lm(ctx, oracle.field_names, oracle.label_names, config.tokens)
        rows = RowLM(lm, source, oracle.n_classes, config.space)
        if not oracle.is_silent:
            oracle.plan(oracle.training_plan(QUESTION, config.batch, config.epochs))
            oracle.train(QUESTION, rows, TrainingOptions(lr=config.lr, clip=config.clip))
        made = sample_medoids(
            rows.sampler(ctx.device).writer(len(oracle.field_names), config.top_p),
            source,
            oracle.field_names,
            oracle.n_classes,
            per_class=budget.per_class,
            pool=config.pool,
            ctx=ctx,
        )
        return DistilledSet.from_texts(*made)
