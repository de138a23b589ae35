"""Random two-layer encoders of three architectures, texts for them, and their scores; and what a method is handed without files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter
from tdbench.bench.testing.private import HashedEncoder
from tdbench.bench.training.batches import Encoded

if TYPE_CHECKING:
    from torch import nn

    from tdbench.bench.training.prepared import Prepared


class TinyModels:
    """Makes random two-layer encoders, texts for them, and their scores."""

    pad_ids = {"bert": 0, "roberta": 1, "distilbert": 0}

    def build(self, architecture: str, head: str, dropout: float = 0.0) -> nn.Module:
        """Returns a module with head `mean` or `native`, or `features` for none; no weight, bias or gain is trivial."""
        import torch
        from transformers import AutoModel, AutoModelForSequenceClassification

        from tdbench.bench.training.modules import MeanPooled, MeanPooledClassifier, NativeClassifier

        config = self._config(architecture, dropout)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module: nn.Module
            if head == "native":
                module = NativeClassifier(AutoModelForSequenceClassification.from_config(config))
            elif head == "mean":
                module = MeanPooledClassifier(AutoModel.from_config(config), 3, dropout)
            else:
                module = MeanPooled(AutoModel.from_config(config))
            for weight in module.parameters():
                weight.data += 0.15 * torch.randn_like(weight)
        return module

    def _config(self, architecture: str, dropout: float) -> Any:
        from transformers import BertConfig, DistilBertConfig, RobertaConfig

        size: dict[str, Any] = {"vocab_size": 60, "max_position_embeddings": 80, "num_labels": 3}
        size["pad_token_id"] = self.pad_ids[architecture]
        if architecture == "distilbert":
            size.update(dim=32, hidden_dim=64, n_layers=2, n_heads=4)
            return DistilBertConfig(dropout=dropout, attention_dropout=dropout, seq_classif_dropout=dropout, **size)
        size.update(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, type_vocab_size=2)
        kind = {"bert": BertConfig, "roberta": RobertaConfig}[architecture]
        return kind(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, **size)

    def texts(
        self, architecture: str, lengths: list[int], pairs: bool = False, seed: int = 0, top: int = 60
    ) -> Encoded:
        """Returns random token ids below `top`; of a pair, the second half is the second segment."""
        rng = np.random.default_rng(seed)
        ids = [rng.integers(2, top, size=n) for n in lengths]
        types = [(np.arange(n) >= n // 2).astype(np.int64) for n in lengths] if pairs else None
        return Encoded(ids, self.pad_ids[architecture], types)

    def prepare(self, module: nn.Module, dtype: str = "float32", packed: bool = True) -> Prepared:
        """Gets a copy of the module ready."""
        import torch

        from tdbench.bench.training.prepared import Prepared

        return Prepared(copy.deepcopy(module), "cpu", getattr(torch, dtype), packed=packed)

    def padded(self, module: nn.Module, texts: Encoded) -> Any:
        """Returns what a module that pads makes of all texts."""
        return module(**texts.collate(np.arange(len(texts)), "cpu"))

    def packed(self, ready: Prepared, texts: Encoded) -> Any:
        """Returns what a prepared module makes of all texts."""
        return ready.module(**ready.inputs(texts, np.arange(len(texts))))

    def gap(self, made: Any, expected: Any) -> float:
        """Returns the largest difference, relative to the largest expected value where that exceeds 1."""
        return float(((made - expected).abs().max() / expected.abs().max().clamp(min=1)).detach())


def context(seed: int = 0, encoder: Any = HashedEncoder) -> Context:
    """Returns what a private method is handed: an encoder that sees each row by itself, and no files."""
    return Context(seed, "cpu", CostMeter(), Path("unused"), encoder)
