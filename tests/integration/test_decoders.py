"""The experiment gpt2_to_opt on tiny random decoders: distil with one, test on the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from tdbench.bench.testing.tiny import write_letters


@pytest.fixture
def decoders(tmp_path: Path) -> tuple[str, str]:
    for name in ("gpt2", "opt"):
        n_letters = write_letters(tmp_path / name)
    ends = {"vocab_size": n_letters, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=160, **ends))
    opt = OPTForCausalLM(
        OPTConfig(
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=160,
            pad_token_id=0,
            **ends,
        )
    )
    for name, model in (("gpt2", gpt2), ("opt", opt)):
        model.save_pretrained(tmp_path / name)
    return f"hf:{tmp_path / 'gpt2'}", f"hf:{tmp_path / 'opt'}"


def test_methods_distil_with_gpt2_and_models_are_trained_from_both(tdbench, decoders):
    gpt2, opt = decoders
    done = tdbench(
        "run",
        "-m",
        "task=sst2",
        "method=random,kmeans",
        "budget=dpc1",
        "suite=standard",
        "experiment=gpt2_to_opt",
        f"protocol.source={gpt2}",
        f"protocol.learners=[{gpt2},{opt}]",
        "protocol.max_length=32",
        "protocol.steps=2",
        "protocol.test_rows=40",
        "sets=1",
        "seeds=1",
        "data.kind=standin",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n_run"] == 6
    rows = {(row["method"], row["learner"]): row for row in found["rows"] if row["protocol"] == "gpt2-to-opt"}
    assert rows["kmeans", gpt2]["is_source"]
    assert not rows["kmeans", opt]["is_source"]
    assert rows["kmeans", opt]["unranked_reason"] == "custom protocol settings"


def test_the_experiment_names_what_is_missing_where_there_is_no_hub(tdbench):
    done = tdbench("plan", "task=sst2", "suite=standard", "experiment=gpt2_to_opt", "data.kind=standin")
    assert done.returncode == 3
    assert "model 'openai-community/gpt2'" in done.stderr
