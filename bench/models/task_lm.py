"""Task language model: a small class-conditional decoder over word pieces, trained on the task's train split alone.

It needs no download, has seen no test text, and its cost is the method's. Shapes: B texts, L tokens, U pieces it knows, E width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tdbench.bench.models.head_loss import head_loss
from tdbench.bench.models.vocabulary import Vocabulary
from tdbench.bench.training.prepared import compute_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tdbench.bench.training.modules import Tokenizer

    Parts = tuple[NDArray[np.int64], ...]

_SAMPLE_BATCH = 512
_NUCLEUS_MAX = 512
"""A sort of the whole vocabulary in every step would take most of the time."""


class TaskLM:
    """A trained decoder.

    Args:
        vocabulary: Its pieces and marks.
        model: GPT-2 with a head tied to its token table.
        max_length: Longest text in tokens, marks included.
        device: Where it runs.
        perplexity: Per token, on rows that were held out of its training.
        tokenizer: Spells its pieces, where they are not those of the source learner.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        model: Any,
        max_length: int,
        device: str,
        *,
        perplexity: float,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.vocabulary, self.max_length, self.perplexity = vocabulary, max_length, perplexity
        self.tokenizer = tokenizer
        self.model, self._device = model.eval(), device

    def nll(self, texts: list[Parts], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns every text's mean negative log-likelihood per token, in nats, the end mark included."""
        sums_N, counts_N = self._losses(texts, labels)
        return sums_N / counts_N

    def perplexity_of(self, texts: list[Parts], labels: NDArray[np.int64]) -> float:
        """Returns the perplexity per token of all texts together, the end marks included."""
        sums_N, counts_N = self._losses(texts, labels)
        return float(np.exp(sums_N.sum() / counts_N.sum()))

    def losses(self, texts: list[Parts], labels: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the (B, L) losses, in nats, of every token of B texts, 0 on padding, and which are no padding.

        The graph leads to the model's weights where these ask for gradients, as those of `copy` do.
        """
        rows = [self._row(parts, label) for parts, label in zip(texts, labels, strict=True)]
        return losses_of(self.model, rows, self._device)

    def _row(self, parts: Parts, label: int) -> list[int]:
        """Encodes a text, cut to what the model has places for."""
        return self.vocabulary.encode(parts, label)[: self.max_length]

    def copy(self) -> TaskLM:
        """Returns a copy whose weights may be trained; this one stays as it is."""
        model = copy.deepcopy(self.model).requires_grad_(True)
        return TaskLM(self.vocabulary, model, self.max_length, self._device, perplexity=self.perplexity)

    def _losses(self, texts: list[Parts], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        rows = [self._row(parts, label) for parts, label in zip(texts, labels, strict=True)]
        return summed_losses(self.model, rows, self._device)

    @torch.no_grad()
    def expected(self, texts: list[Parts], labels: NDArray[np.int64], places: NDArray[np.int64]) -> torch.Tensor:
        """Returns the (N, V) scores of the token at one place of every text, given what stands before it.

        Args:
            texts: Token ids of N texts, field by field.
            labels: Their classes.
            places: A place in each text, counted over its fields.
        """
        rows, ends = [], []
        for parts, label, place in zip(texts, labels, places, strict=True):
            rows.append(self.vocabulary.encode(parts, label))
            sizes = np.array([len(part) for part in parts])
            field = int(np.searchsorted(np.cumsum(sizes), place, side="right"))
            before = [*parts[:field], parts[field][: place - sizes[:field].sum()]]
            ends.append(len(self.vocabulary.encode(tuple(before), label)) - 2)  # without the end mark
        width = max(map(len, rows))
        ids_NL = torch.tensor([row + [0] * (width - len(row)) for row in rows]).to(self._device)
        with _autocast(self._device):
            logits = self.model(input_ids=ids_NL, use_cache=False).logits
        return logits[torch.arange(len(rows)), torch.tensor(ends)].float()

    def decoder(self, labels: NDArray[np.int64]) -> Decoder:
        """Starts B texts, one of each given class."""
        return Decoder(self.model, [self.vocabulary.of_class(label) for label in labels], self._device)

    @torch.no_grad()
    def sample(
        self,
        labels: NDArray[np.int64],
        n_fields: int,
        seed: int,
        *,
        top_p: float = 0.95,
        begun: list[Parts] | None = None,
        temperature: float = 1.0,
    ) -> list[Parts]:
        """Draws one text for each label by nucleus sampling; a text that ends too early is continued.

        Args:
            labels: Class of every text.
            n_fields: 1, or 2 for pairs.
            seed: Seed.
            top_p: Share of the probability that is sampled from (DiLM: 0.95).
            begun: What every text begins with, its first fields up to some token; pieces that the model does not know are left out.
            temperature: Divides the scores; 0 takes the likeliest token each time.
        """
        generator = torch.Generator().manual_seed(seed % 2**63)
        known = [[self.vocabulary.known(part) for part in parts] for parts in begun or [()] * len(labels)]
        rows = [self.vocabulary.joined(fields) for fields in known]
        spans = [slice(start, start + _SAMPLE_BATCH) for start in range(0, len(labels), _SAMPLE_BATCH)]
        rule = _Rule(top_p, temperature, generator)
        return [p for span in spans for p in self._sample(labels[span], n_fields, rule, rows[span])]

    def writer(self, n_fields: int, top_p: float) -> Callable[[NDArray[np.int64], int], list[Parts]]:
        """Returns `sample` as a function of labels and seed."""
        return lambda labels, seed: self.sample(labels, n_fields, seed, top_p=top_p)

    def _sample(self, labels: NDArray[np.int64], n_fields: int, draw: _Rule, rows: list[list[int]]) -> list[Parts]:
        vocabulary, decoder, room = self.vocabulary, self.decoder(labels), self.max_length - 2
        count = len(labels)
        rows_BT = torch.full((count, room), vocabulary.end)
        fields_B = torch.ones(count, dtype=torch.int64)
        begun_B = torch.zeros(count, dtype=torch.bool)  # the present field has a piece
        open_B = torch.ones(count, dtype=torch.bool)
        for place in range(room):
            logits_BV = decoder.logits.cpu()
            logits_BV[:, vocabulary.n_pieces : vocabulary.between] = -torch.inf  # class marks open a text only
            last_B = fields_B == n_fields
            logits_BV[~begun_B | ~last_B, vocabulary.end] = -torch.inf
            logits_BV[~begun_B | last_B, vocabulary.between] = -torch.inf
            late_B = begun_B & ~last_B & (place >= room * fields_B // n_fields)
            logits_BV[late_B, : vocabulary.n_pieces] = -torch.inf  # time for the next field
            drawn_B = draw(logits_BV)
            given = [b for b, row in enumerate(rows) if place < len(row)]
            drawn_B[given] = torch.tensor([rows[b][place] for b in given], dtype=torch.int64)
            open_B &= drawn_B != vocabulary.end
            rows_BT[open_B, place] = drawn_B[open_B]
            if not open_B.any():
                break
            begun_B = drawn_B != vocabulary.between
            fields_B += drawn_B == vocabulary.between
            decoder.append(drawn_B)
        return [vocabulary.parts(row, n_fields) for row in rows_BT.tolist()]


class Decoder:
    """B texts that grow token by token; keys and values of what has been read are kept."""

    def __init__(self, model: Any, first: list[int], device: str) -> None:
        from transformers import DynamicCache

        self._model, self._device = model, device
        self._cache = DynamicCache(config=model.config)
        self.logits: torch.Tensor
        """(B, V) scores of the next token."""
        self.append(torch.tensor(first))

    @torch.no_grad()
    def append(self, tokens_B: torch.Tensor) -> None:
        """Adds one token to every text."""
        ids_B1 = tokens_B.to(self._device).unsqueeze(1)
        with _autocast(self._device):
            out = self._model(input_ids=ids_B1, past_key_values=self._cache, use_cache=True)
        self.logits = out.logits[:, -1].float()


@dataclass(frozen=True)
class _Rule:
    """Samples from the fewest tokens that hold `top_p` of the probability, at most `_NUCLEUS_MAX` of them."""

    top_p: float
    temperature: float
    generator: torch.Generator

    def __call__(self, logits_BV: torch.Tensor) -> torch.Tensor:
        if self.temperature == 0:
            return logits_BV.argmax(1)
        scores_BV = logits_BV if self.temperature == 1 else logits_BV / self.temperature
        best = torch.softmax(scores_BV, dim=1).topk(min(_NUCLEUS_MAX, scores_BV.shape[1]), dim=1)
        outside_BK = best.values.cumsum(1) - best.values >= self.top_p
        picked_B1 = torch.multinomial(best.values.masked_fill(outside_BK, 0.0), 1, generator=self.generator)
        return best.indices.gather(1, picked_B1).squeeze(1)


def batches_of(lengths: list[int], size: int) -> list[NDArray[np.int64]]:
    """Cuts texts into batches of similar length; returns positions."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + size] for i in range(0, len(order), size)]


def _autocast(device: str) -> torch.autocast:
    dtype = compute_dtype(device)
    return torch.autocast(device.split(":", maxsplit=1)[0], dtype=dtype, enabled=dtype is not torch.float32)


@torch.no_grad()
def summed_losses(model: Any, rows: list[list[int]], device: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns every row's summed loss, in nats, and its number of tokens."""
    sums_N, counts_N = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for chunk in batches_of([len(row) for row in rows], 64):
        losses_BL, real_BL = losses_of(model, [rows[i] for i in chunk], device)
        sums_N[chunk], counts_N[chunk] = losses_BL.sum(1).double().cpu().numpy(), real_BL.sum(1).cpu().numpy()
    return sums_N, counts_N


def losses_of(model: Any, rows: list[list[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the (B, L) losses of every next token, 0 on padding, and which of them are real."""
    ids_BL, real_BL = _padded(rows, device)
    with _autocast(device):
        logits_BLV = model(input_ids=ids_BL, use_cache=False).logits  # causal, padded on the right: no mask is needed
    wanted_BL = ids_BL[:, 1:].masked_fill(~real_BL[:, 1:], -100)
    losses = torch.nn.functional.cross_entropy(
        logits_BLV[:, :-1].float().flatten(0, 1), wanted_BL.flatten(), reduction="none"
    )
    return losses.view(wanted_BL.shape), real_BL[:, 1:]


def mean_loss(model: Any, rows: list[list[int]], device: str) -> torch.Tensor:
    """Returns the mean loss of every next token of all texts under a GPT-2, for training: differentiable once."""
    ids_BL, real_BL = _padded(rows, device)
    with _autocast(device):
        hidden_BLD = model.transformer(input_ids=ids_BL, use_cache=False).last_hidden_state
    weight, real_BL = model.get_output_embeddings().weight, real_BL[:, 1:]
    return head_loss(hidden_BLD[:, :-1][real_BL], weight, ids_BL[:, 1:][real_BL], compute_dtype(device))


def _padded(rows: list[list[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the (B, L) tokens of texts, padded on the right, and which are no padding."""
    width = max(map(len, rows))
    ids_BL = torch.zeros(len(rows), width, dtype=torch.int64)
    real_BL = torch.zeros(len(rows), width, dtype=torch.bool)
    for b, row in enumerate(rows):
        ids_BL[b, : len(row)] = torch.tensor(row)
        real_BL[b, : len(row)] = True
    return ids_BL.to(device), real_BL.to(device)
