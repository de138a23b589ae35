"""A tiny transformer with random weights over the words of the small texts: the source learner of conformance runs."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.testing.texts import KINDS, small_task
from bench.training.learners.transformer import TransformerLearner

if TYPE_CHECKING:
    from bench.training.learner import Learner

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_LENGTH = 32


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

    from bench.training.modules import silence
    from bench.training.torch_learner import fork_rng

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
