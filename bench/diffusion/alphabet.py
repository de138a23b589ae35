"""Tokens of diffusion models. N texts, L tokens, P tokens of a prompt, U tokens of text, E latent width, D width of the source's table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bench.models.task_lm import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.models.public_rows import PublicRows

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
        pieces_U = np.concatenate([*prompts, *(part for parts in public.words for part in parts)])
        self.vocabulary = Vocabulary.of_pieces(pieces_U, len(names))
        self.length, self._n_pieces = length, self.vocabulary.n_pieces
        self.n_tokens = self._n_pieces + 2
        self.between, self.end = self._n_pieces, self._n_pieces + 1
        self.vectors_UE = self._vectors(public.source.table_VE, latent)
        own = [self.vocabulary.own(prompt)[:length] for prompt in prompts]
        longest = max(map(len, own))
        self.prompts_CP = torch.tensor([[*ids, *[self.end] * (longest - len(ids))] for ids in own])
        self.log_shares_U = self._log_shares(self.encode(public.words))

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
            known = [self.vocabulary.encode((part,), 0)[1:-1] for part in parts]
            while sum(map(len, known)) + len(known) - 1 > self.length:
                max(known, key=len).pop()
            row = [one for number, part in enumerate(known) for one in [*[self.between] * (number > 0), *part]]
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
        fields: list[list[int]] = [[]]
        for token in ids_L:
            if token == self.end:
                break
            if token == self.between:
                fields.append([])
            else:
                fields[-1].append(int(self.vocabulary.pieces_U[token]))
        fields += [[] for _ in range(n_fields - len(fields))]
        joined = [*fields[: n_fields - 1], [one for field in fields[n_fields - 1 :] for one in field]]
        if not all(joined) and (whole := [one for field in joined for one in field]):
            half = (len(whole) + 1) // 2
            joined = [whole[:half], whole[half:] or whole][:n_fields]
        return tuple(np.array(field, dtype=np.int64) for field in joined)

    def _log_shares(self, ids_NL: torch.Tensor) -> torch.Tensor:
        counts_U = torch.bincount(ids_NL.flatten(), minlength=self.n_tokens).float()
        return ((counts_U + 1) / (counts_U + 1).sum()).log()
