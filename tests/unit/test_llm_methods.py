"""Methods that ask language models, from end to end on the task's own decoder, and what they ask."""

from __future__ import annotations

import numpy as np
import pytest

from tdbench.bench.budget import Budget
from tdbench.bench.canonical import seed_from
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.models.encoder import TfidfEncoder
from tdbench.bench.models.llm.access import Access, words_of_task
from tdbench.bench.models.llm.client import Spending
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import LLMSettings
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tests.unit.small_options import small

OWN = ("simprompt", "fewshot", "attrprompt", "bare", "synalign", "synthllm")


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


def context(folder, seed=0):
    return Context(
        seed_from("set", seed),
        "cpu",
        CostMeter(),
        folder,
        TfidfEncoder,
        make_source=lambda: Source("tiny", tiny_learner(), MAX_LENGTH, folder / "kept"),
        llm_access=Access(
            words_of_task(small_task("two classes").task), Spending(LLMSettings()), folder / "replies.sqlite"
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("llm")


def made_by(name, real, folder, per_class=10, seed=0, **options):
    ctx = context(folder, seed)
    with ctx.cost.phase("distil"):
        made = small(name, **options).distil(real.copy(), Budget(f"dpc{per_class}", per_class=per_class), ctx)
    return made, ctx


@pytest.mark.parametrize("name", OWN)
def test_the_default_generator_fills_every_class(name, real, folder):
    """Ten texts a class in batches of ten: what a request asks for and what it is counted on for must agree."""
    made, ctx = made_by(name, real, folder, check="none", most=8.0)
    assert np.bincount(made.labels_M).tolist() == [10, 10]
    assert len(set(next(iter(made.fields.values())))) == 20
    again, _ = made_by(name, real, folder, check="none", most=8.0)
    assert again.fields == made.fields
    other, _ = made_by(name, real, folder, seed=1, check="none", most=8.0)
    assert other.fields != made.fields
    assert 0 < ctx.diagnostics["usable_frac"] <= 1
    asked = [phase.llm for phase in ctx.cost.phases if phase.llm]
    assert sum(one.calls for one in asked) > 0
    assert {one.usd for one in asked} == {None}


def test_estimates_are_not_below_what_is_asked(real, folder):
    for name in OWN:
        options = {"llm": "fake:0", **({"base": "fake:1"} if name == "bare" else {})}
        method = small(name, **options)
        _, ctx = made_by(name, real, folder, **options)
        asked = sum(phase.llm.calls for phase in ctx.cost.phases if phase.llm)
        expected = method.estimate(real, Budget("dpc10", per_class=10)).calls
        assert 0.8 * asked <= expected <= 2.5 * asked, (name, asked, expected)


def test_idle_models_are_neither_opened_nor_part_of_an_identity():
    plugin = METHODS.get("bare")
    instruct = plugin(plugin.Config(steps="instruct", llm="fake:1"))
    assert instruct.llms == ("fake:1",)
    assert "source" not in instruct.reads
    base = plugin(plugin.Config(steps="base", check="none", base="fake:2", llm="openai:x"))
    assert base.llms == ("fake:2",)
    same = plugin.Config(steps="base", check="none", base="fake:2", llm="openai:y")
    assert base.config.model_dump() == same.model_dump()


def test_a_model_folder_is_told_by_its_content(tmp_path):
    import shutil

    from tdbench.bench.testing.tiny import tiny_generator

    folder = tiny_generator().removeprefix("hf:")
    copies = [tmp_path / place / "model" for place in ("a", "b")]
    for copy in copies:
        shutil.copytree(folder, copy)
    plugin = METHODS.get("simprompt")
    dumps = [plugin.Config(llm=f"hf:{copy}").model_dump(mode="json") for copy in copies]
    assert dumps[0] == dumps[1]
    assert str(tmp_path) not in str(dumps)


def test_concepts_are_extracted_of_the_same_texts_for_all_sets(real, folder):
    draws = [context(folder, seed).shared_rng("documents 0").permutation(60).tolist() for seed in (0, 1)]
    assert draws[0] == draws[1]
