"""Tiny random models that write text, of every kind that is fine-tuned row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForCausalLM,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

ENDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
HIDDEN: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = ("gpt2", "bloom", "phi", "llama", "bart", "t5")


def built(kind: str, size: int) -> Any:
    places = {"max_position_embeddings": 160}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=160, **ENDS))
    if kind == "bloom":
        return BloomForCausalLM(BloomConfig(vocab_size=size, hidden_size=16, n_layer=2, n_head=2, **ENDS))
    if kind == "phi":
        return PhiForCausalLM(PhiConfig(vocab_size=size, **HIDDEN, **places, **ENDS))
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(vocab_size=size, **HIDDEN, **places, **ENDS))
    if kind == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        return T5ForConditionalGeneration(T5Config(vocab_size=size, decoder_start_token_id=0, **sizes, **ENDS))
    both = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    wide = {f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")}
    starts = {"decoder_start_token_id": 0, "forced_eos_token_id": None}
    return BartForConditionalGeneration(
        BartConfig(vocab_size=size, d_model=16, **both, **wide, **places, **ENDS, **starts)
    )


def marked(root: Path, is_pair: bool) -> Path:
    """A model whose tokenizer marks texts with a beginning and an end of their own, and whose checkpoint brings rules for sampling."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    inner = Tokenizer(
        models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "good": 4, "day": 5, "bad": 6, "|": 7}, "<unk>")
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(root)
    both = {f"{side}_{what}": 1 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    if is_pair:
        config = BartConfig(vocab_size=8, d_model=16, decoder_start_token_id=2, forced_eos_token_id=None, **both, **ids)
        made: Any = BartForConditionalGeneration(config)
    else:
        made = LlamaForCausalLM(LlamaConfig(vocab_size=8, **HIDDEN, **ids))
    made.generation_config = GenerationConfig(
        forced_bos_token_id=5, num_beams=3, temperature=0.1, do_sample=True, **ids
    )
    made.save_pretrained(root)
    return root
