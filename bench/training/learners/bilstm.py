"""A bidirectional LSTM with max pooling (Conneau et al., 2017, Supervised learning of universal sentence representations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.bench.training.word_learner import WordConfig, WordLearner

if TYPE_CHECKING:
    import torch
    from torch import nn


class BiLSTMLearner(WordLearner):
    """One bidirectional LSTM layer over word vectors."""

    name = "bilstm"
    mflop_per_token = 2.5

    class Config(WordConfig):
        """Size of the recurrent layer."""

        width: int = 128
        """Hidden units per direction."""

    def network(self, table_VD: torch.Tensor, n_classes: int) -> nn.Module:
        """Builds the network on (V, D) word vectors."""
        from tdbench.bench.training.modules import BiLSTM

        return BiLSTM(table_VD, n_classes, self.config.width, self.config.dropout)
