"""Pretrained generators, fine-tuned row by row: gradients against loops, what is trained, what is counted, samples, and the method."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import (
    BertConfig,
    BertForMaskedLM,
)

from tdbench.bench.budget import Budget
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.models.row_generator import RowGenerator
from tdbench.bench.privacy.private_method import release_from
from tdbench.bench.privacy.row_checks import check_rows
from tdbench.bench.privacy.training import TrainingOptions
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.private import small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import write_letters
from tests.unit.row_models import clipped, clipped_by_loop, train, weights_of
from tests.unit.tiny_generators import KINDS, built, marked
from tests.unit.tiny_models import context

PROMPTS = ("write a bad text:", "write a splendid text:")
ROWS = LabelledText(
    {"text": ["a fine day", "dull", "what was that, and who has seen it before the end?", "no  more"]},
    np.array([1, 0, 0, 1]),
    ("bad", "splendid"),
    np.arange(4),
)
PAIRS = replace(ROWS, fields={"premise": ROWS.fields["text"], "hypothesis": ["yes", "no", "may be", "so"]})


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Tiny random models of every kind, over the letters."""
    root = tmp_path_factory.mktemp("generators")
    for kind in KINDS:
        torch.manual_seed(0)
        built(kind, write_letters(root / kind)).save_pretrained(root / kind)
    return {kind: root / kind for kind in KINDS}


def generator(folder: Path, space: str = "lora", n_fields: int = 1, length: int = 40, **more: Any) -> RowGenerator:
    options: dict[str, Any] = {"rank": 4, "alpha": 8.0, "seed": 0, "device": "cpu", **more}
    return RowGenerator(f"hf:{folder}", PROMPTS, n_fields, max_length=length, space=space, **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # of float64, which is for the test alone
@pytest.mark.parametrize("space", ["lora", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_clipped_sums_are_those_of_a_loop_over_single_rows(folders, kind, space):
    model = generator(folders[kind], space)
    check_rows(model, ROWS, TrainingOptions(lr=0.1))
    model.module.double()
    with torch.no_grad():  # adapters start at 0, where half of their gradients are
        for n, weight in enumerate(weights_of(model)):
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(n)))
    batch = model.encode(ROWS)
    for clip in (0.01, 1e6):
        found, expected = clipped(model, batch, clip, ghost=False), clipped_by_loop(model, batch, clip)
        assert float((found - expected).norm() / expected.norm()) < 1e-6
        assert float(found.norm()) <= len(ROWS) * clip * (1 + 1e-6)


@pytest.mark.parametrize(("kind", "space"), [("bloom", "lora"), ("llama", "lora"), ("phi", "all")])
def test_ghost_clipping_gives_the_same_sums(folders, kind, space):
    model = generator(folders[kind], space)
    check_rows(model, ROWS, TrainingOptions(lr=0.1, ghost=True))
    with torch.no_grad():
        for weight in weights_of(model):
            weight.add_(0.05)
    batch = model.encode(ROWS)
    found, expected = clipped(model, batch, 0.01, ghost=True), clipped(model, batch, 0.01, ghost=False)
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_over_a_texts_own_tokens_and_its_end(folders, kind):
    model = generator(folders[kind])
    inner = model._tokenizer.inner
    losses = model.losses(model.encode(ROWS)).detach()
    base = model.module.get_base_model()
    for row, (text, label) in enumerate(zip(ROWS.fields["text"], ROWS.labels_N, strict=True)):
        prompt = inner(PROMPTS[label], add_special_tokens=False)["input_ids"]
        lead = "" if kind in ("bart", "t5") else " "
        goal = [*inner(lead + " ".join(text.split()), add_special_tokens=False)["input_ids"], 0][:40]
        if kind in ("bart", "t5"):
            parts = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([[0, *goal[:-1]]])}
            logits = base(**parts).logits[0]
        else:
            logits = base(torch.tensor([[*prompt, *goal[:-1]]])).logits[0, len(prompt) - 1 :]
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(goal))
        assert float(losses[row]) == pytest.approx(float(expected.detach()), rel=1e-4)


def test_adapters_alone_are_trained_or_all_but_shared_tables(folders):
    for kind in KINDS:
        names = [n for n, w in generator(folders[kind]).module.named_parameters() if w.requires_grad]
        assert names
        assert all("lora_" in name for name in names)
    frozen = [n for n, w in generator(folders["bart"], "all").module.named_parameters() if not w.requires_grad]
    assert {name.split(".")[-2] for name in frozen} == {"embed_positions"}
    assert all(weight.requires_grad for weight in generator(folders["gpt2"], "all").module.parameters())
    first, again, other = (generator(folders["gpt2"], seed=seed) for seed in (0, 0, 1))
    drawn = [torch.cat([w.flatten() for w in weights_of(one)]) for one in (first, again, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_dropout_of_any_kind_is_off(folders):
    for kind in KINDS:
        model = generator(folders[kind])
        model.module.train()
        batch = model.encode(ROWS)
        assert torch.equal(model.losses(batch), model.losses(batch)), kind


@pytest.mark.parametrize("kind", ["gpt2", "bart"])
def test_training_teaches_what_a_class_says(folders, kind):
    model = generator(folders[kind], "all", length=12)
    texts = ["no no no", "yes yes"] * 30
    rows = LabelledText({"text": texts}, np.array([0, 1] * 30), ("bad", "splendid"), np.arange(60))
    swapped = replace(rows, labels_N=1 - rows.labels_N)

    def loss(of: LabelledText) -> float:
        return float(model.losses(model.encode(of)).detach().mean())

    before = loss(rows)
    train(model, rows, TrainingOptions(lr=1e-2, physical=64), 0, noise=0.0, rate=0.5, steps=60)
    assert loss(rows) < before / 3
    if kind == "bart":  # a random encoder tells the prompts apart more slowly
        assert loss(swapped) > loss(rows)
        return
    for label, text in enumerate(("no no no", "yes yes")):
        written = model.write(label, 12, top_k=5, top_p=0.8, no_repeat=0, seed=1)
        assert sum(parts == (text,) for parts in written) >= 10


def test_texts_of_pairs_have_their_fields_and_missing_ones_stay_empty(folders):
    model = generator(folders["gpt2"], n_fields=2)
    assert model._fields("one\ntwo\nthree") == ("one", "two three")
    assert model._fields("one") == ("one", "")
    goals = model.encode(PAIRS)["goals"]
    inner = model._tokenizer.inner
    assert inner.decode([int(i) for i in goals[1] if i > 0]) == " dull\nno"
    written = model.write(0, 5, top_k=0, top_p=1.0, no_repeat=2, seed=0)
    assert [len(parts) for parts in written] == [2] * 5
    assert written == model.write(0, 5, top_k=0, top_p=1.0, no_repeat=2, seed=0)
    assert written != model.write(0, 5, top_k=0, top_p=1.0, no_repeat=2, seed=1)


def small(root: Path) -> RowGenerator:
    return RowGenerator(
        f"hf:{root}", ("good", "bad"), 1, max_length=6, space="all", rank=1, alpha=1.0, seed=0, device="cpu"
    )


@pytest.mark.parametrize("is_pair", [False, True])
def test_texts_are_marked_as_the_tokenizer_marks_them(tmp_path, is_pair):
    model = small(marked(tmp_path, is_pair))
    rows = LabelledText({"text": ["good </s> day"]}, np.array([1]), ("good", "bad"), np.arange(1))
    batch = {name: column[0].tolist() for name, column in model.encode(rows).items()}
    text = [4, 5, 2]  # an end inside a row is left out
    if is_pair:
        assert batch["prompts"] == [1, 6, 2]
        assert batch["ids"] == [2, 1, 4, 5, 0, 0]
        assert batch["goals"] == [1, *text, -100, -100]
    else:
        assert batch["ids"] == [1, 6, *text, 0, 0, 0]
        assert batch["goals"] == [-100, -100, *text, -100, -100, -100]
    assert sum(batch["real"]) == (4 if is_pair else 5)
    assert model._between == " | "


@pytest.mark.parametrize("is_pair", [False, True])
def test_a_checkpoints_own_rules_for_sampling_do_not_apply(tmp_path, is_pair):
    model = small(marked(tmp_path, is_pair))
    calls: list[Any] = []
    kept = model.module.generate
    model.module.generate = lambda **given: calls.append(given["generation_config"]) or kept(**given)  # type: ignore[assignment, operator]
    written = model.write(0, 40, top_k=0, top_p=1.0, no_repeat=0, seed=0)
    assert len({parts[0].split()[0] for parts in written if parts[0]}) > 1  # nothing was forced to the front
    assert model.module.generation_config.num_beams in (None, 1)
    assert {(rule.top_k, rule.top_p, rule.no_repeat_ngram_size) for rule in calls} == {(0, 1.0, 0)}
    greedy = model.write(0, 12, top_k=1, top_p=1.0, no_repeat=0, seed=0)
    assert len(set(greedy)) == 1
    without = model.write(0, 40, top_k=0, top_p=1.0, no_repeat=1, seed=0)
    assert all(len(set(words)) == len(words) for words in (parts[0].split() for parts in without))
    assert any(len(set(words)) < len(words) for words in (parts[0].split() for parts in written))


def test_encoders_and_prompts_without_a_class_are_refused(tmp_path):
    names = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    marked(tmp_path, False)
    (tmp_path / "generation_config.json").unlink()
    BertForMaskedLM(BertConfig(vocab_size=8, **names)).save_pretrained(tmp_path)
    with pytest.raises(PrerequisiteError, match="sees tokens before it writes them"):
        small(tmp_path)
    config = METHODS.get("dp_lm_lora").Config
    with pytest.raises(ValidationError, match="where the class is named"):
        config(prompt="write a text:")
    assert {"rank", "alpha"} <= set(config().model_dump())
    assert not {"rank", "alpha"} & set(config(space="all").model_dump())


def test_what_cannot_be_read_or_had_is_said(folders, monkeypatch):
    with pytest.raises(UsageError, match="reads 160 tokens and 172 are asked for"):
        generator(folders["gpt2"], length=150)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PrerequisiteError, match="adapters need the package peft"):
        generator(folders["gpt2"])
    assert generator(folders["gpt2"], "all").module is not None


@pytest.mark.parametrize(("kind", "epsilon"), [("gpt2", 2.0), ("bart", 0.0), ("bart", "inf")])
def test_the_method_makes_a_set_and_keeps_the_books(folders, kind, epsilon):
    plugin = METHODS.get("dp_lm_lora")
    options = {"lm": f"hf:{folders[kind]}", "epsilon": epsilon, "length": 16, "most_steps": 3, "batch": 60, "pool": 2}
    real = small_task("two classes").train
    ctx = replace(context(), public_pool=small_pool("two classes"))
    found = release_from(plugin(plugin.Config(**options)), real, Budget("dpc", per_class=3), ctx)
    assert found.made.labels_M.tolist() == [0, 0, 0, 1, 1, 1]
    assert all(text.strip() for text in found.made.fields["sentence"])
    assert len(found.statement.queries) == (epsilon != 0)
    if epsilon == 2.0:
        (query,) = found.statement.queries
        assert (query.steps, query.rate, query.mechanism) == (3, 0.25, "sampled-gaussian")
        assert math.isclose(found.statement.epsilon_spent or 0, 2.0, rel_tol=0.01)
