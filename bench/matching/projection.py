"""From token vectors to words: the nearest tokens, among which a language model chooses from left to right.

GRADMM, section 4.2 ("top-k" projection). All texts are decoded together, and the decoder keeps what it has read, so a projection costs one
pass of the language model over the texts instead of one for every prefix. As published, the nearest tokens are all alike to the model; so
it rewrites even vectors that are words. A price for distance keeps these. Shapes: M texts, S vectors, E width, U pieces, T slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.task_lm import TaskLM

    Parts = tuple[NDArray[np.int64], ...]


class Projection:
    """Maps the vectors of M texts to words.

    Args:
        source: The learner whose table the vectors live in.
        lm: A language model over the same tokens.
        lengths_MF: Vectors of every text and field.
        labels_M: Classes; the model reads a text's class first.
        top_k: Nearest pieces by cosine among which the model chooses; 1 takes the nearest.
        nearness: What a cosine of 1 is worth beside the model's scores, in nats; 0 as published.
    """

    def __init__(
        self,
        source: SourceModel,
        lm: TaskLM,
        lengths_MF: NDArray[np.int64],
        labels_M: NDArray[np.int64],
        top_k: int,
        *,
        nearness: float,
    ) -> None:
        self._nearness = nearness
        self._lm, self._lengths_MF, self._labels_M = lm, lengths_MF, labels_M
        unknown = source.tokenizer.inner.unk_token_id
        allowed = np.flatnonzero(lm.vocabulary.pieces_U != (-1 if unknown is None else unknown))
        self._allowed = torch.from_numpy(allowed).to(source.device)
        self._pieces = torch.from_numpy(lm.vocabulary.pieces_U).to(source.device)
        self._table_VE = source.table_VE
        self._unit_AE = torch.nn.functional.normalize(source.table_VE[self._pieces[self._allowed]], dim=1)
        self._top_k = min(top_k, len(allowed))
        self._slots_MT = _slots(lengths_MF)

    def __call__(self, v_SE: torch.Tensor) -> torch.Tensor:
        """Returns the (S, E) vectors of the words that stand for `v_SE`."""
        return self._table_VE[self._pieces[self.choose(v_SE)]]

    def words(self, v_SE: torch.Tensor) -> list[Parts]:
        """Returns the words themselves, as the tokenizer's ids."""
        ids = self._pieces[self.choose(v_SE)].cpu().numpy()
        parts = np.split(ids, np.cumsum(self._lengths_MF.reshape(-1))[:-1])
        n_fields = self._lengths_MF.shape[1]
        return [tuple(parts[i * n_fields : (i + 1) * n_fields]) for i in range(len(self._lengths_MF))]

    @torch.no_grad()
    def choose(self, v_SE: torch.Tensor) -> torch.Tensor:
        """Returns the language model's (S,) ids of the chosen pieces."""
        cosine_SK, places_SK = self._nearest(v_SE)
        near_SK, worth_SK = self._allowed[places_SK], self._nearness * cosine_SK
        if self._top_k == 1:
            return near_SK[:, 0]
        chosen_S = near_SK[:, 0].clone()
        slots_MT = torch.from_numpy(self._slots_MT).to(v_SE.device)
        decoder = self._lm.decoder(self._labels_M)
        for place in range(slots_MT.shape[1]):
            slot_M = slots_MT[:, place]
            own = torch.nonzero(slot_M >= 0).squeeze(1)
            options_BK = near_SK[slot_M[own]]
            scores_BK = decoder.logits[own].gather(1, options_BK) + worth_SK[slot_M[own]]
            best_B1 = scores_BK.argmax(1, keepdim=True)
            chosen_S[slot_M[own]] = options_BK.gather(1, best_B1).squeeze(1)
            if place + 1 < slots_MT.shape[1]:
                token_M = torch.where(slot_M == _BETWEEN, self._lm.vocabulary.between, self._lm.vocabulary.end)
                token_M[own] = chosen_S[slot_M[own]]
                decoder.append(token_M)
        return chosen_S

    def _nearest(self, v_SE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the (S, K) cosines of the K nearest allowed pieces, nearest first, and their places among these."""
        unit_SE = torch.nn.functional.normalize(v_SE, dim=1)
        values, places = (unit_SE @ self._unit_AE.t()).topk(self._top_k, dim=1)
        return values, places


_BETWEEN, _NOTHING = -1, -2


def _slots(lengths_MF: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lays every text's vectors in reading order: position of the vector, or a mark between fields or behind the end."""
    n_texts, n_fields = lengths_MF.shape
    slots_MT = np.full((n_texts, int(lengths_MF.sum(1).max()) + n_fields - 1), _NOTHING, dtype=np.int64)
    start = 0
    for text, lengths in enumerate(lengths_MF):
        place = 0
        for field, length in enumerate(lengths):
            if field:
                slots_MT[text, place] = _BETWEEN
                place += 1
            slots_MT[text, place : place + length] = np.arange(start, start + length)
            place, start = place + int(length), start + int(length)
    return slots_MT
