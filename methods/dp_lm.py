"""A language model that is fine-tuned under differential privacy, and samples from it (Yue et al., 2023; Kurakin et al., 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from tdbench.api import MethodCard
from tdbench.api.privacy import TrainedConfig, TrainedMethod

if TYPE_CHECKING:
    from tdbench.api import Context, PrivateOracle
    from tdbench.api.matching import SourceModel, Writer
    from tdbench.api.training import RowLM


class DPLM(TrainedMethod):
    """Starts from the suite's small decoder, trained on public texts."""

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

    class Config(TrainedConfig):
        """Options."""

        space: Literal["classes", "norms", "all"] = "norms"
        """What is trained on private rows: vectors and scores of the classes; the layer norms too; all but the token table."""
        batch: PositiveInt = 512
        """Expected rows of a step."""
        epochs: float = Field(default=4.0, gt=0)
        """Expected uses of every row, unless that takes too many steps."""
        lr: float = Field(default=5e-3, gt=0)
        """Learning rate of AdamW."""
        decay: bool = False
        """Whether the rate falls to 0 afterwards."""
        tokens: PositiveInt = 6_000
        """Tokens that the model knows: the commonest of the public texts."""
        pool: PositiveInt = 20
        """Samples for each text wanted; K-means medoids of them are kept."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from."""

    def start(self, oracle: PrivateOracle, ctx: Context) -> tuple[RowLM, SourceModel]:
        """Trains the decoder on public texts."""
        from tdbench.api.privacy import public_rows
        from tdbench.api.training import RowLM

        public = public_rows(ctx, oracle.field_names, oracle.label_names, self.config.tokens)
        lm = ctx.task_lm(public.rows, public.source)
        return RowLM(lm, public.source, oracle.n_classes, self.config.space), public.source

    def writer(self, model: RowLM, n_fields: int, ctx: Context) -> Writer:  # type: ignore[override]
        """Samples token by token."""
        return model.sampler(ctx.device).writer(n_fields, self.config.top_p)
