"""The torch modules of the built-in learners, and how their weights and tokenizers are loaded.

Shapes: B batch, L tokens, D features, C classes, F filters.
"""

from __future__ import annotations

import copy
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.budget import WORD_PATTERN
from tdbench.bench.errors import PrerequisiteError
from tdbench.bench.models.resolve import resolve, weights_sha256
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.packing import Packed

WORD_TABLE_SIZE = 20_000
WORD_TABLE_WIDTH = 128


class Float32Linear(nn.Linear):
    """A classification head in float32 at least, whatever computes the features: bfloat16 scores tie."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Returns scores in float32, or in float64 where features are."""
        wide = torch.promote_types(input.dtype, torch.float32)
        with torch.autocast(input.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.to(wide)
            return nn.functional.linear(input.to(wide), self.weight.to(wide), bias)


class MeanPooled(nn.Module):
    """A transformer's last layer averaged over the real tokens: (B, L) -> (B, D)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.config: Any = backbone.config

    def forward(
        self, input_ids: torch.Tensor | Packed, attention_mask: torch.Tensor | None = None, **batch: torch.Tensor
    ) -> torch.Tensor:
        """Returns (B, D) features."""
        if isinstance(input_ids, Packed):
            return self.backbone.mean(input_ids)  # type: ignore[operator, no-any-return]
        assert attention_mask is not None
        hidden_BLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **batch).last_hidden_state
        if attention_mask.ndim == 4:  # additive, over pairs of tokens: the last token sees all real ones
            attention_mask = (attention_mask[:, 0, -1] == 0).to(hidden_BLD.dtype)
        mask_BL1 = attention_mask.unsqueeze(-1).to(hidden_BLD.dtype)
        return (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)


class MeanPooledClassifier(MeanPooled):
    """Masked mean pooling, dropout, and a linear head drawn from N(0, 0.02)."""

    def __init__(self, backbone: nn.Module, n_classes: int, dropout: float) -> None:
        super().__init__(backbone)
        self.dropout = nn.Dropout(dropout)
        self.head = Float32Linear(self.config.hidden_size, n_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, input_ids: torch.Tensor | Packed, attention_mask: torch.Tensor | None = None, **batch: torch.Tensor
    ) -> torch.Tensor:
        """Returns (B, C) logits."""
        return self.head(self.dropout(super().forward(input_ids, attention_mask, **batch)))


class NativeClassifier(nn.Module):
    """A transformers model with its own classification head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.config: Any = model.config
        heads = [
            part for part in model.modules() if type(part) is nn.Linear and part.out_features == self.config.num_labels
        ]
        if heads:
            heads[-1].__class__ = Float32Linear

    def forward(self, **batch: torch.Tensor) -> torch.Tensor:
        """Returns (B, C) logits."""
        return self.model(**batch).logits


class TextCNN(nn.Module):
    """Convolutions of several widths over word vectors, max over time (Kim, 2014)."""

    def __init__(self, table_VD: torch.Tensor, n_classes: int, widths: tuple[int, ...], filters: int, dropout: float):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table_VD.clone(), freeze=False)
        self.widths = widths
        self.convolutions = nn.ModuleList(nn.Conv1d(table_VD.shape[1], filters, w) for w in widths)
        self.dropout = nn.Dropout(dropout)
        self.head = Float32Linear(filters * len(widths), n_classes)

    def get_input_embeddings(self) -> nn.Module:
        """Returns the word table, as transformers models do."""
        return self.table

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """Returns (B, C) logits."""
        words_BDL = (self.table(input_ids) * attention_mask.unsqueeze(-1)).transpose(1, 2)
        # Short texts are padded with zero vectors to the widest filter.
        words_BDL = nn.functional.pad(words_BDL, (0, max(0, max(self.widths) - words_BDL.shape[2])))
        lengths_B1 = attention_mask.sum(1, keepdim=True)
        pooled = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            features_BFL = torch.relu(convolution(words_BDL))
            # Windows that reach into the padding of longer neighbours do not count, or a text's score would depend on its batch.
            starts_L = torch.arange(features_BFL.shape[2], device=lengths_B1.device)
            inside_BL = starts_L < (lengths_B1 - width + 1).clamp(min=1)
            pooled.append((features_BFL * inside_BL.unsqueeze(1)).amax(dim=2))
        return self.head(self.dropout(torch.cat(pooled, dim=1)))


class BiLSTM(nn.Module):
    """A bidirectional LSTM over word vectors, max over the real tokens."""

    float32_only = True

    def __init__(self, table_VD: torch.Tensor, n_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table_VD.clone(), freeze=False)
        self.lstm = nn.LSTM(table_VD.shape[1], width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = Float32Linear(2 * width, n_classes)

    def get_input_embeddings(self) -> nn.Module:
        """Returns the word table, as transformers models do."""
        return self.table

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        """Returns (B, C) logits; padding reaches neither direction."""
        words_BLD = self.dropout(self.table(input_ids))
        lengths_B = attention_mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(words_BLD, lengths_B, batch_first=True, enforce_sorted=False)
        hidden_BLD = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        real_BL1 = attention_mask[:, : hidden_BLD.shape[1]].unsqueeze(-1).bool()
        pooled_BD = hidden_BLD.masked_fill(~real_BL1, -torch.inf).amax(dim=1)
        return self.head(self.dropout(torch.nan_to_num(pooled_BD, neginf=0.0)))


class Tokenizer:
    """A transformers tokenizer that yields `Encoded`; loaded from a local folder, never from the network.

    Args:
        folder: The tokenizer's files.
        suffix: Text behind every text, never cut off.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        from transformers import AutoTokenizer

        self.inner: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.pad_id: int = next(i for i in (self.inner.pad_token_id, self.inner.eos_token_id, 0) if i is not None)
        self.identity = str(folder)
        self.suffix: tuple[int, ...] = (
            tuple(self.inner(suffix, add_special_tokens=False)["input_ids"]) if suffix else ()
        )
        # A tokenizer without a special token between the texts of a pair (GPT-2's) would run them together.
        self.separates = self.inner.num_special_tokens_to_add(pair=True) > self.inner.num_special_tokens_to_add()

    def without_suffix(self) -> Tokenizer:
        """Returns the same tokenizer without a suffix."""
        plain = copy.copy(self)
        plain.suffix = ()
        return plain

    def __call__(self, fields: dict[str, list[str]], max_length: int) -> Encoded:
        """Tokenises one field, or two as a pair; longer texts are cut at `max_length` tokens."""
        columns = list(fields.values())
        if len(columns) == 2 and not self.separates:
            columns = [["\n".join(parts) for parts in zip(*columns, strict=True)]]
        made = self.inner(*columns, truncation=True, max_length=max_length - len(self.suffix))
        arrays = [np.asarray([*row, *self.suffix], dtype=np.int64) for row in made["input_ids"]]
        if not arrays or min(len(row) for row in arrays) == 0:  # decoders add no special token to an empty text
            arrays = [row if len(row) else np.array([self.pad_id]) for row in arrays]
        types = None
        if len(columns) == 2 and "token_type_ids" in made:
            types = [np.asarray(row, dtype=np.int64) for row in made["token_type_ids"]]
        return Encoded(arrays, self.pad_id, types)


class WordTable:
    """Words of the training texts themselves, most frequent first; used where no pretrained vocabulary is to be had."""

    def __init__(self, texts: list[str]) -> None:
        counts = Counter(word for text in texts for word in WORD_PATTERN.findall(text.lower()))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[: WORD_TABLE_SIZE - 2]
        self._ids = {word: i + 2 for i, word in enumerate(ranked)}  # 0 pads, 1 is any other word

    def __len__(self) -> int:
        return len(self._ids) + 2

    def __call__(self, fields: dict[str, list[str]], max_length: int) -> Encoded:
        """Tokenises into words; fields of a pair follow each other."""
        rows = [
            [self._ids.get(word, 1) for part in parts for word in WORD_PATTERN.findall(part.lower())][:max_length]
            or [1]
            for parts in zip(*fields.values(), strict=True)
        ]
        return Encoded([np.asarray(row, dtype=np.int64) for row in rows], pad_id=0)

    def vectors(self) -> torch.Tensor:
        """Draws (V, D) word vectors from torch's generator; the padding vector is zero."""
        table_VD = torch.randn(len(self), WORD_TABLE_WIDTH) * 0.1
        table_VD[0] = 0
        return table_VD


def silence() -> None:
    """Keeps transformers' own progress bars out of the suite's."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


@cache
def tokenizer_for(name: str) -> Tokenizer:
    """Returns a model's tokenizer, loaded once a process."""
    return Tokenizer(resolve(name))


@cache
def _pristine_backbone(folder: Path, _hash: str) -> nn.Module:
    from transformers import AutoModel

    silence()
    return AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, attn_implementation="sdpa")


def load_backbone(name: str) -> nn.Module:
    """Returns a fresh copy of a model's transformer; the file is read once a process."""
    folder = resolve(name)
    return copy.deepcopy(_pristine_backbone(folder, weights_sha256(folder)))


def load_classifier(name: str, n_classes: int) -> nn.Module:
    """Returns a transformers model with a new classification head.

    Raises:
        PrerequisiteError: transformers knows no classification head for the model.
    """
    from transformers import AutoModelForSequenceClassification

    silence()
    folder = resolve(name)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=n_classes, dtype=torch.float32, local_files_only=True, ignore_mismatched_sizes=True
        )
    except ValueError as error:
        raise PrerequisiteError(f"{folder} cannot be loaded as a classifier: {str(error).splitlines()[0]}") from None
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer_for(name).pad_id
    return model


@cache
def word_vectors(name: str) -> torch.Tensor:
    """Reads the (V, D) word-piece embedding matrix of a BERT-like model."""
    from safetensors import safe_open

    for path in sorted(resolve(name).glob("*.safetensors")):
        with safe_open(path, "pt") as stream:
            for key in stream.keys():  # noqa: SIM118 - not a dict
                if key.endswith("word_embeddings.weight"):
                    return stream.get_tensor(key).float()
    raise PrerequisiteError(f"model '{name}' has no tensor '*word_embeddings.weight'; use a BERT-like model.")
