"""Pretrained language models that are fine-tuned row by row and write texts of a class: causal ones, and encoder-decoders.

A prompt says the class; the loss is that of the text and its end alone. Shapes: N rows, B rows of a batch, L tokens, P tokens of a prompt,
C classes.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.models.resolve import pretrained_name, resolve
from tdbench.bench.privacy.training import Batch, RowModel
from tdbench.bench.training.modules import Tokenizer, silence
from tdbench.bench.training.torch_learner import fork_rng

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tdbench.bench.data.text import LabelledText

Space = Literal["lora", "all"]
_IGNORED = -100
_SAMPLE_BATCH = 64
_TRIES = 4
_SHARED = ("position", "wpe", "relative_attention_bias")
"""Parts of names of tables that an encoder-decoder looks up once for the whole batch, so that their gradients cannot be taken apart."""


class RowGenerator(RowModel):
    """A pretrained model behind prompts.

    Args:
        name: `gpt2`, `phi-1_5` or `hf:<id or folder>` of a causal model or an encoder-decoder.
        prompts: What texts of every class stand behind (causal), or are the answer to (encoder-decoder).
        n_fields: Fields of a text.
        max_length: Most tokens of a text, its end included; a causal model reads the prompt besides.
        space: `lora` trains adapters (Hu et al., 2022) where peft puts them by default: on the attention of most models; `all` the whole
            model but tables whose gradients of rows cannot be told apart.
        rank: Of the adapters.
        alpha: Their scale, times the rank.
        seed: Draws the adapters.
        device: Where it runs.

    Raises:
        PrerequisiteError: The model is nowhere to be had, or the package for adapters is missing.
        UsageError: It reads no text as long as a prompt and `max_length` tokens.
    """

    def __init__(
        self,
        name: str,
        prompts: Sequence[str],
        n_fields: int,
        *,
        max_length: int,
        space: Space,
        rank: int,
        alpha: float,
        seed: int,
        device: str,
    ) -> None:
        folder = resolve(pretrained_name(name))
        model, self._tokenizer = load_generator(folder), Tokenizer(folder)
        self._is_pair = bool(model.config.is_encoder_decoder)
        inner: Any = self._tokenizer.inner
        self._end = end_of(inner, model)
        self._prompts = [
            list(inner(prompt)["input_ids"]) if self._is_pair else opening(inner, prompt) for prompt in prompts
        ]
        if not all(self._prompts):
            raise UsageError("a prompt has no token; give method.prompt words that name the class.")
        self._max_length, self._n_fields = max_length, n_fields
        self._between = "\n" if "\n" in inner.decode(inner("a\nb", add_special_tokens=False)["input_ids"]) else " | "
        places = getattr(model.config, "max_position_embeddings", None)
        longest = max_length + (0 if self._is_pair else max(map(len, self._prompts)))
        if places is not None and longest > places:
            raise UsageError(f"'{name}' reads {places} tokens and {longest} are asked for; lower method.length.")
        self._takes_places = "position_ids" in inspect.signature(model.forward).parameters
        if space == "lora":
            self.module = _with_adapters(model, rank, alpha, seed)
        else:
            for part, weight in model.named_parameters():
                # A causal model is handed places of its own for every row; others look one table up for all of them.
                shared = any(word in part for word in _SHARED) and not self._takes_places
                weight.requires_grad_(not shared)
            self.module = model
        self.module.to(device)

    def encode(self, rows: LabelledText) -> Batch:
        """Returns `ids` and `goals` (N, L), `real` (N, L) tokens that are no padding, and for an encoder-decoder its `prompts` (N, P).

        Goals are the tokens of the text and its end; a text that is too long is cut, and has none.
        """
        pad, width = self._tokenizer.pad_id, max(map(len, self._prompts))
        texts = [self._ids(parts) for parts in zip(*rows.fields.values(), strict=True)]
        length = self._max_length + (0 if self._is_pair else width)
        made = {
            name: np.full((len(rows), length), value)
            for name, value in (("ids", pad), ("goals", _IGNORED), ("real", 0))
        }
        if self._is_pair:
            made |= {"prompts": np.full((len(rows), width), pad), "shown": np.zeros((len(rows), width), dtype=np.int64)}
        for n, (text, label) in enumerate(zip(texts, rows.labels_N, strict=True)):
            prompt = self._prompts[int(label)]
            if self._is_pair:
                made["prompts"][n, : len(prompt)], made["shown"][n, : len(prompt)] = prompt, 1
                row, start = [self._begin, *text[:-1]], 0
            else:
                row, start = [*prompt, *text], len(prompt)
            made["ids"][n, : len(row)], made["real"][n, : len(row)] = row, 1
            made["goals"][n, start : start + len(text)] = text
        return {name: torch.from_numpy(column) for name, column in made.items()}

    def losses(self, batch: Batch) -> torch.Tensor:
        """Returns the (B,) mean losses of texts' tokens and ends."""
        longest = int(batch["real"].sum(1).max())  # what is cut off is padding alone
        # Contiguous, because ghost clipping looks at ids in one row.
        ids_BL, real_BL, goals_BL = (batch[name][:, :longest].contiguous() for name in ("ids", "real", "goals"))
        if self._is_pair:
            parts = {"input_ids": batch["prompts"], "attention_mask": batch["shown"], "decoder_input_ids": ids_BL}
            logits_BLV = self.module(**parts, use_cache=False).logits
        else:
            places = {}
            if self._takes_places:  # every row has places of its own, so that its gradient can be told apart
                places["position_ids"] = torch.arange(longest, device=ids_BL.device).repeat(len(ids_BL), 1)
            logits_BLV = self.module(input_ids=ids_BL, attention_mask=real_BL, use_cache=False, **places).logits[:, :-1]
            goals_BL = goals_BL[:, 1:]
        counted_BL = (goals_BL != _IGNORED).float()
        each_BL = nn.functional.cross_entropy(
            logits_BLV.float().transpose(1, 2), goals_BL, reduction="none", ignore_index=_IGNORED
        )
        return (each_BL * counted_BL).sum(1) / counted_BL.sum(1).clamp(min=1)

    def write(
        self, label: int, count: int, *, top_k: int, top_p: float, no_repeat: int, seed: int
    ) -> list[tuple[str, ...]]:
        """Samples texts of a class, field by field. Ones that are empty, or lack a field, are drawn again a few times, and then stay so.

        Args:
            label: The class.
            count: How many.
            top_k: Likeliest tokens that are sampled from; 0 for all.
            top_p: Share of the probability that is sampled from.
            no_repeat: No run of so many tokens comes twice in a text (nor one of a causal model's prompt again); 0 for no such rule.
            seed: Seed.
        """
        made: list[tuple[str, ...]] = [("",) * self._n_fields] * count
        with fork_rng(str(self.module_device)):
            torch.manual_seed(seed % 2**63)
            for _ in range(_TRIES):
                missing = [n for n, parts in enumerate(made) if not all(parts)]
                for start in range(0, len(missing), _SAMPLE_BATCH):
                    places = missing[start : start + _SAMPLE_BATCH]
                    for n, text in zip(places, self._sampled(label, len(places), top_k, top_p, no_repeat), strict=True):
                        made[n] = self._fields(text)
        return made

    @property
    def module_device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    @property
    def _begin(self) -> int:
        """What an encoder-decoder's decoder reads first."""
        config: Any = self.module.config
        start = config.decoder_start_token_id
        return int(self._tokenizer.pad_id if start is None else start)

    def _ids(self, parts: tuple[str, ...]) -> list[int]:
        """Returns a text's token ids with its end, cut to the longest; an encoder-decoder's as its tokenizer marks whole texts.

        What looks like a special token in a row is text; the end stands nowhere but at the end.
        """
        inner: Any = self._tokenizer.inner
        text = self._between.join(" ".join(part.split()) for part in parts)
        if self._is_pair:
            made = inner(text, split_special_tokens=True)["input_ids"]
        else:
            made = inner(" " + text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*(i for i in made if i != self._end), self._end][: self._max_length]

    @torch.no_grad()
    def _sampled(self, label: int, count: int, top_k: int, top_p: float, no_repeat: int) -> list[str]:
        from transformers import GenerationConfig

        ids_BP = torch.tensor([self._prompts[label]] * count, device=self.module_device)
        options: dict[str, Any] = {"eos_token_id": self._end, "pad_token_id": self._tokenizer.pad_id}
        if self._is_pair:
            options["decoder_start_token_id"] = self._begin
        rule = GenerationConfig(
            do_sample=True,
            top_k=top_k,
            top_p=top_p,
            no_repeat_ngram_size=no_repeat,
            max_new_tokens=self._max_length,
            **options,
        )
        self.module.eval()
        out = self.module.generate(input_ids=ids_BP, attention_mask=torch.ones_like(ids_BP), generation_config=rule)  # type: ignore[operator]
        new = out[:, 1:] if self._is_pair else out[:, ids_BP.shape[1] :]
        inner: Any = self._tokenizer.inner
        return inner.batch_decode(new.tolist(), skip_special_tokens=True)

    def _fields(self, text: str) -> tuple[str, ...]:
        """Cuts a text into its fields; what is missing is empty."""
        parts = text.split(self._between.strip(" "), self._n_fields - 1) if self._n_fields > 1 else [text]
        parts = [" ".join(part.split()) for part in parts]
        return (*parts, *[""] * (self._n_fields - len(parts)))


def end_of(inner: Any, model: Any) -> int:
    """Returns the token that ends a text."""
    given: Any = model.config.eos_token_id
    given = given[0] if isinstance(given, list) and given else given
    ends = (inner.eos_token_id, given, inner.sep_token_id, inner.pad_token_id, 0)
    return next(int(i) for i in ends if i is not None)


def opening(inner: Any, text: str) -> list[int]:
    """Returns a text's ids as the tokenizer begins a text, without what ends one."""
    ids = list(inner(text)["input_ids"])
    while ids and ids[-1] in (inner.eos_token_id, inner.sep_token_id):
        ids.pop()
    return ids


def load_generator(folder: Path) -> Any:
    """Returns a causal model or an encoder-decoder, without dropout of any kind, and without rules of its own for sampling.

    Dropout would couple what a row is told to chance; rules that come with a checkpoint (temperature, forced tokens) would be added to
    those that are asked for.

    Raises:
        PrerequisiteError: The folder holds neither.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

    silence()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    for name, value in vars(config).items():
        if isinstance(value, float) and ("dropout" in name or "pdrop" in name or "layerdrop" in name):
            setattr(config, name, 0.0)
    kind = AutoModelForSeq2SeqLM if getattr(config, "is_encoder_decoder", False) else AutoModelForCausalLM
    try:
        model = kind.from_pretrained(folder, config=config, dtype=torch.float32, local_files_only=True)
    except ValueError as error:
        raise PrerequisiteError(f"{folder} holds no model that writes text: {str(error).splitlines()[0]}") from None
    model.generation_config = GenerationConfig()
    if kind is AutoModelForCausalLM and _sees_ahead(model):
        raise PrerequisiteError(
            f"the model in {folder} sees tokens before it writes them; give a causal model or an encoder-decoder."
        )
    return model


@torch.no_grad()
def _sees_ahead(model: Any) -> bool:
    """Tells whether what a model expects at a place depends on a later token."""
    first, other = (model.eval()(torch.tensor([[1, 2, last]])).logits[0, 0] for last in (3, 4))
    return not torch.allclose(first, other, rtol=1e-4, atol=1e-5)


def _with_adapters(model: Any, rank: int, alpha: float, seed: int) -> nn.Module:
    """Freezes a model and puts adapters where peft puts them by default, or on all its maps where it knows no places."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise PrerequisiteError(
            'adapters need the package peft: pip install -e ".[lm]" -c constraints.txt, or use method.space=all.'
        ) from None
    from transformers.pytorch_utils import Conv1D

    swapped = any(isinstance(part, Conv1D) for part in model.modules())
    options: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "fan_in_fan_out": swapped}
    with fork_rng("cpu"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # peft's own use
        torch.manual_seed(seed % 2**63)
        try:
            return get_peft_model(model, LoraConfig(**options))
        except ValueError:  # a kind of model whose attention has no known names
            return get_peft_model(model, LoraConfig(**options, target_modules="all-linear"))
