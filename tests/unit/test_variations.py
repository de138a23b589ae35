"""Variations of texts by language models, and private evolution with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertForMaskedLM

from tdbench.bench.budget import Budget
from tdbench.bench.config import settings_for
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import LLMError, PrerequisiteError
from tdbench.bench.experiment.jobs import cell_of, method_of
from tdbench.bench.models.llm.access import Access, words_of_task
from tdbench.bench.models.llm.client import Failure, Reply, Spending
from tdbench.bench.models.llm.generate import LLMVariations
from tdbench.bench.models.public_rows import public_rows
from tdbench.bench.models.variations import Continuations, MaskedEdits, PublicContinuations
from tdbench.bench.privacy.private_method import release_from
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import LLMSettings
from tdbench.bench.testing.private import HashedEncoder, other_rows, small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_generator, tiny_learner

KIND = "two classes"
ROWS = small_task(KIND).train
TEXTS = [(text,) for text in ROWS.fields["sentence"][:8]]


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> str:
    """A tiny random masked language model over the words of the small texts."""
    folder = tmp_path_factory.mktemp("masked")
    inner: Any = tiny_learner().tokenizer(None).inner  # type: ignore[attr-defined, arg-type]
    inner.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(inner), max_position_embeddings=64, **size)).save_pretrained(folder)
    return f"hf:{folder}"


def context(tmp_path: Path, kind: str = KIND) -> Context:
    source = Source("tiny", tiny_learner(), MAX_LENGTH, tmp_path)
    return Context(
        0,
        "cpu",
        CostMeter(),
        tmp_path,
        HashedEncoder,
        make_source=lambda: source,
        public_pool=small_pool(kind),
        llm_access=Access(words_of_task(small_task(kind).task), Spending(LLMSettings()), tmp_path / "replies.sqlite"),
    )


def test_masked_edits_change_about_the_share_asked_for_and_nothing_else(masked):
    changed = {}
    for frac in (0.1, 0.5):
        made = MaskedEdits(masked, frac, 50, "cpu")(TEXTS, 0)
        pairs = [(old.lower().split(), new.split()) for (old,), (new,) in zip(TEXTS, made, strict=True)]
        assert all(len(old) == len(new) for old, new in pairs)
        assert all(old != new for old, new in pairs)
        changed[frac] = float(np.mean([a != b for old, new in pairs for a, b in zip(old, new, strict=True)]))
        assert not any("[" in new for (new,) in made)
    assert 0.02 < changed[0.1] < 0.25 < changed[0.5] < 0.75
    edits = MaskedEdits(masked, 0.5, 50, "cpu")
    assert edits(TEXTS, 3) == edits(TEXTS, 3) != edits(TEXTS, 4)


def test_a_model_without_masks_is_refused():
    with pytest.raises(PrerequisiteError, match="has no mask token"):
        MaskedEdits(tiny_generator(), 0.5, 50, "cpu")


def test_continuations_leave_empty_texts_as_they_are():
    assert Continuations(tiny_generator(), 0.5, 0.9, "cpu")([("", "more words")], 0)[0][0] == ""


def test_continuations_keep_the_beginning():
    write = Continuations(tiny_generator(), 0.5, 0.9, "cpu")
    made = write([("a plain text of words", "second field")], 0)
    assert made[0][0].startswith("a plain te")
    assert made[0][1].startswith("second")
    assert made == write([("a plain text of words", "second field")], 0)
    assert made != write([("a plain text of words", "second field")], 1)


@pytest.mark.parametrize("kind", [KIND, "pairs"])
def test_the_suites_decoder_keeps_the_beginning_too(tmp_path, kind):
    ctx, names = context(tmp_path, kind), small_task(kind).task.text_fields
    with ctx.cost.phase("x"):
        public = public_rows(ctx, names, ("a", "b"), 400)
        write = PublicContinuations(ctx.task_lm(public.rows, public.source), public.source, 0.5, 0.9)
        columns = [public.rows.fields[name] for name in names]
        texts = [text for text in zip(*columns, strict=True) if len(" ".join(text).split()) < MAX_LENGTH - 10][:6]
        made = write(texts, 0)
    assert made == write(texts, 0) != write(texts, 1)
    for old, new in zip(texts, made, strict=True):
        before, after = (" ".join(parts).lower().split() for parts in (old, new))
        kept = round(len(before) * 0.5)
        assert all(a in (b, "[unk]") for b, a in zip(before[:kept], after, strict=False))
        assert all(new)


@pytest.mark.parametrize("variation", ["lm", "masked", "asked"])
def test_private_evolution_takes_written_texts_and_learns_nothing_past_the_oracle(tmp_path, masked, variation):
    plugin = METHODS.get("dp_pe")
    models = {"lm": {}, "masked": {"lm": masked}, "asked": {"llm": "fake:1"}}
    options = {"variation": variation, "candidates": 40, **models[variation]}

    def made(rows: Any, **more: Any) -> Any:
        method = plugin(plugin.Config(**options, **more))
        assert method.writes
        ctx = context(tmp_path)
        with ctx.cost.phase("x"):
            release = release_from(method, rows, Budget("dpc", per_class=3), ctx)
        asked.append(sum(phase.llm.calls for phase in ctx.cost.phases if phase.llm))
        return release

    asked: list[int] = []

    found = made(ROWS, epsilon="inf")
    texts = found.made.fields["sentence"]
    assert len(set(texts)) == 6
    if variation == "asked":
        assert asked == [4 * 2 * 2 * 3]
    assert not set(texts) <= set(context(tmp_path).public().rows(("sentence",)).fields["sentence"])
    assert [query.steps for query in found.statement.queries] == [2]
    blind = [made(rows, oracle="noise-only", epsilon=2.0).made.fields for rows in (ROWS, other_rows(ROWS))]
    assert blind[0] == blind[1]


class Scripted:
    """A model that says what a script says, and keeps what it was asked."""

    supports_chat, reads_words = True, True

    def __init__(self, *replies: str | None) -> None:
        self.replies, self.asked = replies, []

    def complete(self, requests: Any, sampling: Any) -> list[Any]:
        self.asked = [request.messages[0].content for request in requests]
        count = {"tokens_in": 1, "tokens_out": 1, "wall_s": 0.0, "cpu_s": 0.0, "served_by": "script"}
        said = (self.replies[i % len(self.replies)] for i in range(len(requests)))
        return [Failure(reason="x") if text is None else Reply(text=text, finish="stop", **count) for text in said]


def test_asked_variations_are_read_from_replies_and_others_leave_the_text_as_it_is():
    words = words_of_task(small_task(KIND).task)
    llm: Any = Scripted(
        '{"sentence": "another one"}', None, "I'm sorry, I cannot help.", '```json\n{"sentence": "fenced"}```'
    )
    texts = [("first text",), ("second text",), ("third text",), ("fourth text",)]
    made = LLMVariations(llm, words, 0.9, notes := {})(texts, 5)
    assert made == [("another one",), ("second text",), ("third text",), ("fenced",)]
    assert notes == {"variation_usable_frac": 0.5}
    assert "first text" in llm.asked[0]
    assert words.item in llm.asked[0]


def test_a_model_that_does_not_do_what_it_is_asked_for_fails_the_set():
    llm: Any = Scripted("I'm sorry, I cannot help.", None)
    with pytest.raises(LLMError, match=r"of 4 variations 0 can be used \(2 refused, 2 no reply\)"):
        LLMVariations(llm, words_of_task(small_task(KIND).task), 0.9, {})([("some text",)] * 4, 5)


def test_an_asked_variation_names_its_model_and_estimates_its_calls():
    plugin = METHODS.get("dp_pe")
    for options, words in (
        ({"variation": "asked"}, "needs a model to ask"),
        ({"variation": "asked", "llm": "openai:m", "lm": "gpt2"}, "does not read lm"),
        ({"llm": "openai:m"}, "and no other"),
        ({"variation": "asked", "llm": "nobody"}, "no language model is called"),
    ):
        with pytest.raises(ValidationError, match=words):
            plugin.Config(**options)
    method = plugin(plugin.Config(variation="asked", llm="openai:m", rounds=3, survivors=2, variations=4))
    assert method.llms == ("openai:m",)
    assert "llm" in method.reads
    estimate = method.estimate(ROWS, Budget("dpc", per_class=3))
    assert estimate is not None
    assert estimate.calls == 2 * (2 * 2 * 3) * 4
    assert plugin().estimate(ROWS, Budget("dpc", per_class=3)) is None


def test_options_of_writing_are_part_of_an_identity_only_where_something_is_written():
    config = METHODS.get("dp_pe").Config
    assert not {"lm", "anew", "top_p", "top_k", "llm"} & set(config().model_dump())
    assert config(variation="lm").model_dump()["anew"] == 0.5
    assert config(**config(variation="lm", anew=0.3).model_dump()) == config(variation="lm", anew=0.3)
    for options, words in (({"variation": "masked"}, "needs a masked"), ({"lm": "gpt2"}, "does not read lm")):
        with pytest.raises(ValidationError, match=words):
            config(**options)
    plugin = METHODS.get("dp_pe")
    said = {}
    for words in (["method.anew=0.3"], ["method.variation=lm"], ["method.variation=lm", "method.anew=0.3"]):
        (one,) = settings_for(["task=sst2", "method=dp_pe", "budget=dpc1", *words])
        said[" ".join(words)] = cell_of(one, small_task(KIND), method_of(one), Budget("dpc1", 1)).options
    assert list(said.values()) == [{}, {"variation": "lm"}, {"variation": "lm", "anew": 0.3}]
    assert plugin().reads == ("encoder", "public")
    assert plugin(config(variation="lm")).reads == ("encoder", "public", "source", "lm")
    assert plugin(config(variation="lm")).uses_task_lm
    assert not plugin(config(variation="lm", lm="gpt2")).uses_task_lm
