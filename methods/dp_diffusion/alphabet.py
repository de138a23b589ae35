"""Tokens of diffusion models. N texts, L tokens, P tokens of a prompt, U tokens of text, E latent width, D width of the source's table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tdbench.api.training import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.api.privacy import PublicRows

    Parts = tuple[NDArray[np.int64], ...]


class Alphabet:
    """Tokens as a diffusion model writes them: ids that are filled up with the end mark, and a fixed vector for each.

    The vectors are the source learner's word-piece vectors, turned to their principal axes and cut, each of length sqrt(E); they are
    public and never trained. With the token table frozen, the terms of the loss that would train it have no gradient.

    Args:
        public: Its pieces are known, and those of the prompts.
        prompt: Source segment; `{label}` stands for the class.
        latent: E.
        length: L.
    """

    def __init__(self, public: PublicRows, prompt: str, latent: int, length: int) -> None:
        inner: Any = public.source.tokenizer.inner
        names = [prompt.format(label=name) for name in public.rows.label_names]
        prompts = [np.array(inner(name, add_special_tokens=False)["input_ids"], dtype=np.int64) for name in names]
        pieces = np.concatenate([*prompts, *(part for parts in public.words for part in parts)])
        self.vocabulary = Vocabulary.of_pieces(pieces, 0)  # classes have prompts, no marks
        self.length, self.end, self.between = length, self.vocabulary.end, self.vocabulary.between
        self.vectors_UE = self._vectors(public.source.table_VE, latent)
        own = [self.vocabulary.known(prompt)[:length] for prompt in prompts]
        longest = max(map(len, own))
        self.prompts_CP = torch.tensor([[*ids, *[self.end] * (longest - len(ids))] for ids in own])
        self.log_shares_U = self._log_shares(self.encode(public.words))

    @property
    def n_tokens(self) -> int:
        """Number of tokens U, marks included."""
        return len(self.vocabulary)

    def _vectors(self, table_VE: torch.Tensor, latent: int) -> torch.Tensor:
        own_UD = table_VE.cpu().float()[torch.from_numpy(self.vocabulary.pieces_U)]
        centred_UD = own_UD - own_UD.mean(0)
        axes_DD = torch.linalg.svd(centred_UD, full_matrices=False).Vh
        vectors_UE = centred_UD @ axes_DD[:latent].T
        if vectors_UE.shape[1] < latent:
            vectors_UE = nn.functional.pad(vectors_UE, (0, latent - vectors_UE.shape[1]))
        marks_2E = torch.randn(2, latent, generator=torch.Generator().manual_seed(0))
        return nn.functional.normalize(torch.cat([vectors_UE, marks_2E]), dim=1) * latent**0.5

    def encode(self, words: list[Parts]) -> torch.Tensor:
        """Returns (N, L) ids; pieces that public texts do not use are left out, then the longest field is cut until all fits."""
        ids_NL = torch.full((len(words), self.length), self.end)
        for n, parts in enumerate(words):
            fields = [self.vocabulary.known(part) for part in parts]
            while sum(map(len, fields)) + len(fields) - 1 > self.length:
                max(fields, key=len).pop()
            row = self.vocabulary.joined(fields)
            ids_NL[n, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return ids_NL

    def closed(self, n_fields: int) -> torch.Tensor:
        """Returns which tokens may not stand where, (L, U): no text ends or is cut before its first word, one field is never cut."""
        closed_LU = torch.zeros(self.length, self.n_tokens, dtype=torch.bool)
        closed_LU[0, [self.between, self.end]] = True
        closed_LU[:, self.between] |= n_fields == 1
        return closed_LU

    def parts(self, ids_L: list[int], n_fields: int) -> Parts:
        """Returns a text's word-piece ids, field by field, up to its end; a pair that lacks a field is cut in the middle."""
        parts = self.vocabulary.parts(ids_L, n_fields)
        if all(map(len, parts)) or not sum(map(len, parts)):
            return parts
        whole = np.concatenate(parts)
        half = (len(whole) + 1) // 2
        return whole[:half], whole[half:] if len(whole) > 1 else whole

    def _log_shares(self, ids_NL: torch.Tensor) -> torch.Tensor:
        counts_U = torch.bincount(ids_NL.flatten(), minlength=self.n_tokens).float()
        return ((counts_U + 1) / (counts_U + 1).sum()).log()
