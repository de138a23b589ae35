"""Variations of texts by language models that nothing private has touched: masked edits, and continuations of a text's beginning.

Shapes: B texts, L tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.models.resolve import pretrained_name, resolve
from tdbench.bench.models.row_generator import end_of, load_generator, opening
from tdbench.bench.models.vocabulary import beginning
from tdbench.bench.training.modules import Tokenizer, silence
from tdbench.bench.training.torch_learner import fork_rng

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.task_lm import TaskLM

    Text = tuple[str, ...]

_BATCH = 64
_MOST_NEW = 64
_FILLS = 8
"""Passes in which masks are filled, a share in each, so that later words know earlier ones."""


class Varies(Protocol):
    """What makes variations."""

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Returns one variation of each text, field by field; the text itself where it finds none."""
        ...


class MaskedEdits:
    """Masks a share of a text's tokens and fills them by a masked language model (Xie et al., 2024, Aug-PE: half of them).

    Args:
        name: `hf:<id or folder>` of a masked language model.
        frac: Share of tokens that are masked; one at least.
        top_k: Likeliest tokens that are sampled from.
        device: Where it runs.

    Raises:
        PrerequisiteError: It is nowhere to be had, or no masked language model.
    """

    def __init__(self, name: str, frac: float, top_k: int, device: str) -> None:
        from transformers import AutoModelForMaskedLM

        silence()
        folder = resolve(pretrained_name(name))
        self._inner: Any = Tokenizer(folder).inner
        if self._inner.mask_token_id is None:
            raise PrerequisiteError(f"'{name}' has no mask token; give a masked language model by method.lm.")
        try:
            model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except ValueError as error:
            raise PrerequisiteError(f"'{name}' is no masked language model: {str(error).splitlines()[0]}") from None
        self._model = model.eval().requires_grad_(False).to(device)
        self._frac, self._top_k, self._device = frac, top_k, device

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Edits every field."""
        flat = [part for parts in texts for part in parts]
        generator = torch.Generator().manual_seed(seed % 2**63)
        made: list[str] = []
        for start in range(0, len(flat), _BATCH):
            made += self._edited(flat[start : start + _BATCH], generator)
        return _by_text(made, texts)

    @torch.no_grad()
    def _edited(self, texts: list[str], generator: torch.Generator) -> list[str]:
        limit = min(512, self._inner.model_max_length)
        batch = self._inner(
            texts, padding=True, truncation=True, max_length=limit, return_special_tokens_mask=True, return_tensors="pt"
        )
        ids_BL, fixed_BL = batch["input_ids"], batch["special_tokens_mask"].bool()
        chance_BL = torch.rand(ids_BL.shape, generator=generator).masked_fill(fixed_BL, 2.0)
        hidden_BL = chance_BL < self._frac
        first_B = chance_BL.argmin(1)  # of every text one token at least, where it has any
        rows_B = torch.arange(len(texts))
        hidden_BL[rows_B, first_B] |= ~fixed_BL[rows_B, first_B]
        ids_BL = ids_BL.masked_fill(hidden_BL, self._inner.mask_token_id)
        banned = [i for i in self._inner.all_special_ids if i is not None]
        for left in range(_FILLS, 0, -1):
            now_BL = hidden_BL & (torch.rand(ids_BL.shape, generator=generator) < 1 / left)
            if not now_BL.any():
                continue
            shown = {"input_ids": ids_BL.to(self._device), "attention_mask": batch["attention_mask"].to(self._device)}
            logits_SV = self._model(**shown).logits.float().cpu()[now_BL]
            logits_SV[:, banned] = -torch.inf
            best = logits_SV.topk(min(self._top_k, logits_SV.shape[1]), dim=1)
            drawn_S1 = torch.multinomial(torch.softmax(best.values, 1), 1, generator=generator)
            ids_BL[now_BL] = best.indices.gather(1, drawn_S1).squeeze(1)
            hidden_BL &= ~now_BL
        made = [" ".join(text.split()) for text in self._inner.batch_decode(ids_BL, skip_special_tokens=True)]
        return [new or old for new, old in zip(made, texts, strict=True)]


class Continuations:
    """Keeps the beginning of a text and lets a causal language model write on.

    Args:
        name: `gpt2`, `phi-1_5` or `hf:<id or folder>`.
        frac: Share of a text's words that are written anew.
        top_p: Share of the probability that is sampled from.
        device: Where it runs.
    """

    def __init__(self, name: str, frac: float, top_p: float, device: str) -> None:
        folder = resolve(pretrained_name(name))
        self._inner: Any = Tokenizer(folder).inner
        self._model = load_generator(folder).eval().requires_grad_(False).to(device)
        if self._model.config.is_encoder_decoder:
            raise UsageError(
                f"'{name}' is an encoder-decoder, which writes on from no text; give a causal model by method.lm."
            )
        self._frac, self._top_p, self._device = frac, top_p, device

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Continues every field up to its old length."""
        flat = [part for parts in texts for part in parts]
        with fork_rng(self._device):
            torch.manual_seed(seed % 2**63)
            return _by_text([self._continued(text) for text in flat], texts)

    @torch.no_grad()
    def _continued(self, text: str) -> str:
        from transformers import GenerationConfig

        ids, end = opening(self._inner, text), end_of(self._inner, self._model)
        if not ids:
            return text
        start = max(1, round(len(ids) * (1 - self._frac)))
        rule = GenerationConfig(
            do_sample=True,
            top_p=self._top_p,
            top_k=0,
            max_new_tokens=min(_MOST_NEW, max(1, len(ids) - start)),
            eos_token_id=end,
            pad_token_id=end,
        )
        begun = torch.tensor([ids[:start]], device=self._device)
        out = self._model.generate(input_ids=begun, attention_mask=torch.ones_like(begun), generation_config=rule)
        return " ".join(self._inner.decode(out[0].tolist(), skip_special_tokens=True).split()) or text


class PublicContinuations:
    """The same with the suite's decoder of public texts.

    Args:
        lm: The decoder.
        source: Spells texts.
        frac: Share of a text's tokens that are written anew.
        top_p: Share of the probability that is sampled from.
    """

    def __init__(self, lm: TaskLM, source: SourceModel, frac: float, top_p: float) -> None:
        self._lm, self._source, self._frac, self._top_p = lm, source, frac, top_p

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Keeps the beginning of a text, over its fields, and writes the rest."""
        from tdbench.bench.data.text import LabelledText
        from tdbench.bench.matching.initialisation import text_of, words_of

        names = [f"field {n}" for n in range(len(texts[0]))]
        fields = dict(zip(names, map(list, zip(*texts, strict=True)), strict=True))
        no_class = np.zeros(len(texts), dtype=np.int64)
        words = words_of(self._source, LabelledText(fields, no_class, (), np.arange(len(texts))))
        begun = [beginning(parts, round(sum(map(len, parts)) * (1 - self._frac))) for parts in words]
        made = self._lm.sample(no_class, len(names), seed, top_p=self._top_p, begun=begun)
        return list(zip(*text_of(self._source, names, made).values(), strict=True))


def _by_text(fields: list[str], texts: Sequence[Text]) -> list[Text]:
    """Puts fields together again as they stood in texts."""
    left = iter(fields)
    return [tuple(next(left) for _ in parts) for parts in texts]
