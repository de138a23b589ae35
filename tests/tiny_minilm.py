"""A models folder whose MiniLM is a random encoder of the same interface: for tests that are not about what MiniLM knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tdbench.bench.data.loading import load_task
from tdbench.bench.models.resolve import MINILM
from tdbench.bench.registry import TASKS

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def write_models(folder: Path, tasks: tuple[str, ...] = ("agnews", "sst2")) -> Path:
    """Writes the model into the folder.

    Args:
        folder: What `TDBENCH_MODELS` is then set to.
        tasks: Its vocabulary is that of their stand-ins.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words: set[str] = set()
    for name in tasks:
        words |= set(
            re.findall(r"\w+|[^\w\s]", " ".join(load_task(TASKS.get(name)(), "standin", None).train.joined()).lower())
        )
    vocabulary = {word: i for i, word in enumerate([*SPECIAL.values(), *sorted(words)])}
    inner: Any = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    marks = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=inputs, **SPECIAL).save_pretrained(
        folder / MINILM
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=512, pad_token_id=0, **sizes)
        model = BertModel(config)
    model.embeddings.word_embeddings.weight.data *= 10  # texts differ by their words more than they are alike
    model.save_pretrained(folder / MINILM)
    return folder
