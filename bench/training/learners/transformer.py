"""Fine-tuned transformers: all weights trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tdbench.api import LearnerConfig, TorchLearner, TrainingSet

if TYPE_CHECKING:
    from torch import nn

    from tdbench.bench.models.encoder import Encoder
    from tdbench.bench.training.batches import Tokenize


class TransformerLearner(TorchLearner):
    """An encoder or decoder from a folder, the Hub, or a weights package, with a new head."""

    name = "transformer"
    mflop_per_token = 21.0
    has_token_table = True

    class Config(LearnerConfig):
        """Which model, and how its tokens become one vector."""

        model: str
        """Known name, Hub id, or folder."""
        pooling: Literal["mean", "native"] = "native"
        """`mean`: masked mean and a linear head; `native`: the architecture's own classification head."""
        head_dropout: float = 0.1
        """Dropout before the head, `mean` only."""

    def available(self) -> str | None:
        """Looks for the weights."""
        from tdbench.bench.models.resolve import available

        return available(self.config.model)

    def identity(self) -> dict[str, Any]:
        """Names the model by the content of its files: where they lie is not part of the identity."""
        from tdbench.bench.models.resolve import model_sha256, resolve

        return {**super().identity(), "model": model_sha256(resolve(self.config.model))}

    def pretrained(self) -> str:
        """Names the model."""
        return self.config.model

    def encoder(self, max_length: int, device: str) -> Encoder:
        """Returns mean-pooled features of the same weights."""
        from tdbench.bench.models.encoder import TransformerEncoder

        return TransformerEncoder(self.config.model, max_length, device)

    def tokenizer(self, train: TrainingSet) -> Tokenize:  # noqa: ARG002 - pretrained
        """Returns the model's own tokenizer."""
        from tdbench.bench.training.modules import tokenizer_for

        return tokenizer_for(self.config.model)

    def module(self, n_classes: int, notes: list[str]) -> nn.Module:  # noqa: ARG002 - nothing to remark
        """Loads the weights and draws a new head."""
        from tdbench.bench.training.modules import (
            MeanPooledClassifier,
            NativeClassifier,
            load_backbone,
            load_classifier,
        )

        if self.config.pooling == "mean":
            return MeanPooledClassifier(load_backbone(self.config.model), n_classes, self.config.head_dropout)
        return NativeClassifier(load_classifier(self.config.model, n_classes))
