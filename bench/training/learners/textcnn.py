"""TextCNN (Kim, 2014, Convolutional neural networks for sentence classification)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.bench.training.word_learner import WordConfig, WordLearner

if TYPE_CHECKING:
    import torch
    from torch import nn


class TextCNNLearner(WordLearner):
    """Convolutions over word vectors, max over time."""

    name = "textcnn"
    mflop_per_token = 0.9

    class Config(WordConfig):
        """Kim's published sizes."""

        widths: tuple[int, ...] = (3, 4, 5)
        filters: int = 100

    def network(self, table_VD: torch.Tensor, n_classes: int) -> nn.Module:
        """Builds the network on (V, D) word vectors."""
        from tdbench.bench.training.modules import TextCNN

        return TextCNN(table_VD, n_classes, self.config.widths, self.config.filters, self.config.dropout)
