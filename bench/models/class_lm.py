"""Language model of public texts that learns what the classes of private rows are. B rows, L tokens, C classes, V tokens, E width.

The public model has seen every text under a class mark drawn at random, so it knows texts and no classes. What is trained on private rows
is small, because noise grows with the number of weights: a vector for each class at every place, scores for each class on every token,
and, if asked for, the layer norms, or everything but the token table.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from tdbench.bench.models.task_lm import TaskLM
from tdbench.bench.privacy.training import Batch, RowModel
from tdbench.bench.training.dropout import CheapDropout

if TYPE_CHECKING:
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.source import SourceModel

Space = Literal["classes", "norms", "all"]


class ClassConditioned(nn.Module):
    """A decoder with a vector and a row of scores for each class; behind a task language model's ids, whose first one names the class.

    Args:
        inner: GPT-2.
        n_pieces: Ids below it are tokens of text; the classes' marks follow.
        n_classes: Number of classes.
    """

    def __init__(self, inner: Any, n_pieces: int, n_classes: int) -> None:
        super().__init__()
        self.inner, self.config, self._n_pieces = inner, inner.config, n_pieces
        self.place = nn.Embedding(n_classes, inner.config.n_embd)
        self.score = nn.Embedding(n_classes, inner.config.vocab_size)
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.score.weight)

    def of_rows(self, ids_BL: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Returns the (B, L, V) scores of next tokens; every row has places of its own, so that its gradient can be told apart."""
        places_BL = torch.arange(ids_BL.shape[1], device=ids_BL.device).repeat(len(ids_BL), 1)
        x_BLE = self.inner.transformer.wte(ids_BL) + self.place(labels_B)[:, None]
        hidden = self.inner.transformer(inputs_embeds=x_BLE, position_ids=places_BL, use_cache=False)
        return self.inner.lm_head(hidden.last_hidden_state) + self.score(labels_B)[:, None]

    def forward(self, input_ids: torch.Tensor, past_key_values: Any = None, use_cache: bool = False) -> SimpleNamespace:
        """Returns `logits` (B, L, V), as a task language model's decoder asks for them, token by token."""
        if past_key_values is None or past_key_values.get_seq_length() == 0:
            labels_B = input_ids[:, 0] - self._n_pieces
        else:
            labels_B = past_key_values.labels_B
        x_BLE = self.inner.transformer.wte(input_ids) + self.place(labels_B)[:, None]
        out = self.inner.transformer(inputs_embeds=x_BLE, past_key_values=past_key_values, use_cache=use_cache)
        if past_key_values is not None:
            past_key_values.labels_B = labels_B
        logits = self.inner.lm_head(out.last_hidden_state) + self.score(labels_B)[:, None]
        return SimpleNamespace(logits=logits, past_key_values=out.past_key_values)


class RowLM(RowModel):
    """Trains classes into a public language model; a row's loss is the mean over its own tokens.

    Args:
        lm: The public model; stays as it is.
        source: Spells rows.
        n_classes: Number of classes.
        space: What is trained.
    """

    def __init__(self, lm: TaskLM, source: SourceModel, n_classes: int, space: Space) -> None:
        self._lm, self._source = lm, source
        inner = copy.deepcopy(lm.model).requires_grad_(False)
        for module in inner.modules():
            if isinstance(module, nn.Dropout | CheapDropout):
                module.p = 0.0
        self.module = ClassConditioned(inner, lm.vocabulary.n_pieces, n_classes)
        if space != "classes":
            for name, weight in inner.named_parameters():
                is_norm = ".ln_" in name or "ln_f" in name
                weight.requires_grad_(is_norm or (space == "all" and ".h." in name))

    def encode(self, rows: LabelledText) -> Batch:
        """Returns `ids` (N, L), `real` (N, L) and `labels` (N,); tokens that public texts do not use are left out."""
        from tdbench.bench.matching.initialisation import words_of

        length, words = self._lm.max_length, words_of(self._source, rows)
        ids_NL = torch.zeros(len(rows), length, dtype=torch.int64)
        real_NL = torch.zeros(len(rows), length, dtype=torch.bool)
        for n, (parts, label) in enumerate(zip(words, rows.labels_N, strict=True)):
            row = self._lm.vocabulary.encode(parts, int(label))[:length]
            ids_NL[n, : len(row)], real_NL[n, : len(row)] = torch.tensor(row), True
        return {"ids": ids_NL, "real": real_NL, "labels": torch.tensor(rows.labels_N)}

    def losses(self, batch: Batch) -> torch.Tensor:
        """Returns the (B,) mean losses of next tokens."""
        longest = max(2, int(batch["real"].sum(1).max()))  # what is cut off is padding alone
        ids_BL, real_BL = batch["ids"][:, :longest], batch["real"][:, 1:longest].float()
        logits_BLV = self.module.of_rows(ids_BL, batch["labels"])[:, :-1]  # type: ignore[operator] - a Module's attribute
        each_BL = nn.functional.cross_entropy(logits_BLV.transpose(1, 2), ids_BL[:, 1:], reduction="none")
        return (each_BL * real_BL).sum(1) / real_BL.sum(1).clamp(min=1)

    def sampler(self, device: str) -> TaskLM:
        """Returns the model as one to sample from."""
        return TaskLM(self._lm.vocabulary, self.module, self._lm.max_length, device, perplexity=float("nan"))
