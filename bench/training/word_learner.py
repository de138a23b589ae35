"""What the learners on word vectors share: MiniLM's word pieces and embeddings, or words of the training set itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from tdbench.bench.training.learner import LearnerConfig
from tdbench.bench.training.torch_learner import TorchLearner
from tdbench.bench.training.training_set import TrainingSet

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tdbench.bench.training.batches import Tokenize


class WordConfig(LearnerConfig):
    """Where the word vectors come from."""

    vectors: str = "all-MiniLM-L6-v2"
    """Model whose word pieces and embedding matrix are the initialisation; `none` for random vectors."""
    dropout: float = 0.5


class WordLearner(TorchLearner):
    """A learner whose input is a table of word vectors."""

    Config = WordConfig

    def _has_vectors(self) -> bool:
        from tdbench.bench.models.resolve import available

        return self.config.vectors != "none" and available(self.config.vectors) is None

    def identity(self) -> dict[str, Any]:
        """Adds the hash of the word vectors, or says that they are random."""
        from tdbench.bench.models.resolve import model_sha256, resolve

        model = model_sha256(resolve(self.config.vectors)) if self._has_vectors() else "random word table"
        return {**super().identity(), "vectors": model}

    def pretrained(self) -> str | None:
        """Names the model that the word vectors come from."""
        return self.config.vectors if self._has_vectors() else None

    def tokenizer(self, train: TrainingSet) -> Tokenize:
        """Returns MiniLM's tokenizer, or one made of the training set's words."""
        from tdbench.bench.training.modules import WordTable, tokenizer_for

        self._table = None if self._has_vectors() else WordTable(train.text.joined())
        return tokenizer_for(self.config.vectors) if self._table is None else self._table

    def module(self, n_classes: int, notes: list[str]) -> nn.Module:
        """Builds the network on top of the word vectors."""
        from tdbench.bench.training.modules import word_vectors

        if self._table is not None:
            notes.append("word vectors trained from scratch (no pretrained table)")
            return self.network(self._table.vectors(), n_classes)
        notes.append(f"word vectors initialised from {self.config.vectors}")
        return self.network(word_vectors(self.config.vectors), n_classes)

    @abstractmethod
    def network(self, table_VD: torch.Tensor, n_classes: int) -> nn.Module:
        """Builds the module on (V, D) word vectors."""
