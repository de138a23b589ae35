"""Tiny models with random weights for conformance runs: a source learner over the words of the small texts, a generator over letters."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdbench.bench.testing.texts import KINDS, small_task
from tdbench.bench.training.learners.transformer import TransformerLearner

if TYPE_CHECKING:
    from tdbench.bench.training.learner import Learner

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_LENGTH = 32
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Live as long as the process."""


@cache
def tiny_learner() -> Learner:
    """Builds the model once a process, in a folder that is deleted at its end."""
    folder = tempfile.TemporaryDirectory(prefix="tdbench-tiny-")
    words = sorted(
        {word for kind in KINDS for text in small_task(kind).train.joined() for word in text.lower().split()}
    )
    _write(Path(folder.name), words)
    learner = TransformerLearner(TransformerLearner.Config(model=folder.name, pooling="mean"))
    learner.folder = folder  # type: ignore[attr-defined] - lives as long as the learner
    return learner


def _write(folder: Path, words: list[str]) -> None:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from tdbench.bench.training.modules import silence
    from tdbench.bench.training.torch_learner import fork_rng

    silence()

    vocabulary = {word: i for i, word in enumerate([*_SPECIAL, *words])}
    inner: Any = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=inputs, **names).save_pretrained(folder)
    with fork_rng("cpu"):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=MAX_LENGTH,
            pad_token_id=0,
        )
        BertModel(config).save_pretrained(folder)


@cache
def tiny_generator() -> str:
    """Builds a GPT-2 over letters once a process, in a folder that is deleted at its end; returns it as `hf:<folder>`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from tdbench.bench.training.torch_learner import fork_rng

    folder = tempfile.TemporaryDirectory(prefix="tdbench-tiny-")
    _FOLDERS.append(folder)
    n_letters = write_letters(Path(folder.name))
    with fork_rng("cpu"):
        import torch

        torch.manual_seed(0)
        ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        config = GPT2Config(vocab_size=n_letters, n_embd=16, n_layer=1, n_head=2, n_positions=512, **ends)
        GPT2LMHeadModel(config).save_pretrained(folder.name)
    return f"hf:{folder.name}"


def write_letters(folder: Path) -> int:
    """Writes the files of a tokenizer of single letters into a folder, and returns how many it knows; 0 ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from tdbench.bench.training.modules import silence

    silence()
    end = "<|end|>"
    letters = {letter: i for i, letter in enumerate([end, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    inner: Any = Tokenizer(models.BPE(letters, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=end).save_pretrained(folder)
    return len(letters)
