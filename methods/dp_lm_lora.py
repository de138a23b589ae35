"""A pretrained language model that is fine-tuned under differential privacy, by adapters or whole, and samples from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from tdbench.api import DistilledSet, MethodCard, PrivateMethod
from tdbench.api.privacy import TrainingConfig

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, PrivateOracle
    from tdbench.api.training import RowGenerator


class DPLMLoRA(PrivateMethod):
    """Prompts say the class; DP-SGD teaches the texts behind them; K-means medoids of samples are the set."""

    name = "dp_lm_lora"
    card = MethodCard(
        summary="Samples of a pretrained language model that was fine-tuned by DP-SGD.",
        family="private",
        paper="Yue et al., 2023, Synthetic text generation with differential privacy; Ochs and Habernal, 2025",
        output="text",
        cost_class="hours",
        reads=("encoder", "public"),
        private=True,
        tags=("pretrained-generator",),
        counts_texts=True,
    )

    class Config(TrainingConfig):
        """Options; the values of Yue et al. and of LoRA's authors, with larger batches."""

        lm: str = "gpt2"
        """Causal model or encoder-decoder: gpt2, phi-1_5, or hf:<id or folder>."""
        space: Literal["lora", "all"] = "lora"
        """What is trained: adapters, where peft puts them by default (on the attention of most models), or everything but tables whose
        gradients of rows cannot be told apart."""
        rank: PositiveInt = 8
        """Rank of the adapters."""
        alpha: PositiveFloat = 16.0
        """Their scale, times the rank."""
        prompt: str = "write a {label} text:"
        """What texts of a class stand behind."""
        length: PositiveInt = 128
        """Most tokens of a text."""
        epochs: float = Field(default=10.0, gt=0)
        """Expected uses of every row, unless that takes too many steps."""
        most_steps: PositiveInt = 2_000
        """Most steps."""
        lr: float = Field(default=5e-4, gt=0)
        """Learning rate of AdamW."""
        decay: bool = False
        """Whether the rate falls to 0 afterwards."""
        physical: PositiveInt = 16
        """Rows whose gradients are held at once."""
        ghost: bool = False
        """Whether rows' norms are found without their gradients: less memory where all of a model is trained. Not for models that score
        tokens by their token table (GPT-2, BLOOM, BART, T5)."""
        top_k: NonNegativeInt = 50
        """Likeliest tokens that are sampled from; 0 for all."""
        top_p: float = Field(default=0.9, gt=0, le=1)
        """Share of the probability that is sampled from."""
        no_repeat: NonNegativeInt = 3
        """No run of so many tokens comes twice in a text, nor one of a causal model's prompt again; 0 for no such rule."""

        @property
        def idle(self) -> frozenset[str]:
            """Adapters' options without adapters."""
            return frozenset(() if self.space == "lora" else ("rank", "alpha"))

        @field_validator("prompt")
        @classmethod
        def _names_the_class(cls, value: str) -> str:
            if "{label}" not in value:
                raise ValueError(
                    "put {label} where the class is named; without it all classes would stand behind the same words"
                )
            return value

    @property
    def writes(self) -> bool:
        """It does."""
        return True

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Trains, samples, chooses."""
        from tdbench.api.privacy import train_privately
        from tdbench.api.training import RowGenerator

        assert budget.per_class is not None
        config = self.config
        model = RowGenerator(
            config.lm,
            [config.prompt.replace("{label}", name.lower()) for name in oracle.label_names],
            len(oracle.field_names),
            max_length=config.length,
            space=config.space,
            rank=config.rank,
            alpha=config.alpha,
            seed=ctx.torch_seed("adapters"),
            device=ctx.device,
        )
        train_privately(oracle, model, config, ghost=config.ghost)
        return self._chosen(model, oracle, budget.per_class, ctx)

    def _chosen(self, model: RowGenerator, oracle: PrivateOracle, per_class: int, ctx: Context) -> DistilledSet:
        """Samples, and keeps K-means medoids; where a class's samples repeat themselves too much, the first ones."""
        from tdbench.api import LabelledText
        from tdbench.api.matching import first_of_classes, medoids_of

        config, n_classes = self.config, oracle.n_classes
        labels_N = np.repeat(np.arange(n_classes), per_class * config.pool)
        texts: list[tuple[str, ...]] = []
        with ctx.cost.phase("sample"):
            for label in range(n_classes):
                texts += model.write(
                    label,
                    per_class * config.pool,
                    top_k=config.top_k,
                    top_p=config.top_p,
                    no_repeat=config.no_repeat,
                    seed=ctx.torch_seed(f"samples of class {label}"),
                )
        fields = dict(zip(oracle.field_names, map(list, zip(*texts, strict=True)), strict=True))
        made = LabelledText(fields, labels_N, oracle.label_names, np.arange(len(texts)))
        kept = first_of_classes(labels_N, per_class)
        if config.pool > 1:
            with ctx.cost.phase("select"):
                kept = medoids_of(oracle.embed(made), labels_N, per_class, ctx)
        return DistilledSet.from_texts(made.take(kept).fields, labels_N[kept])
