"""A pretrained causal model that is asked in words: as source learner and as language model; and further encoders."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tdbench.bench.config import settings_for
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.matching.encoder_ensemble import encoder_ensemble, perturbed_encoder
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.matching.problem import make_problem
from tdbench.bench.models.prompted import label_tokens, load_causal, prompted_lm
from tdbench.bench.models.resolve import pretrained_name
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import tiny_learner
from tests.unit.test_synthesis import context, distil, of

STORIES = Path(os.environ.get("TDBENCH_MODELS", "")) / "stories260k"
needs_stories = pytest.mark.skipif(
    not STORIES.is_dir(), reason="needs the small causal model stories260k under TDBENCH_MODELS"
)
LM = f"hf:{STORIES}"
PROMPT = {"form": "prompt", "lm": LM, "real_per_class": 6, "label_words": ("bad", "great"), "top_k": 8}


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


def wide_context(tmp_path: Path) -> Context:
    def no_encoder():
        raise AssertionError("the encoder is not used")

    source = Source("tiny", tiny_learner(), 200, tmp_path.parent / "kept")
    return Context(0, "cpu", CostMeter(), tmp_path, no_encoder, make_source=lambda: source)


@pytest.fixture
def exact(monkeypatch):
    """Lets sources compute in float32, so that they can be compared with plain models."""
    monkeypatch.setattr("tdbench.bench.training.prepared.compute_dtype", lambda _: torch.float32)


@needs_stories
def test_the_head_reads_the_state_behind_the_template(exact, real, tmp_path):
    ctx, few = wide_context(tmp_path), real.take(range(5))
    with ctx.cost.phase("x"):
        source = ctx.asked(few, LM, " It was ")
        made = source.features(source.tokenise(few))
        inner = source.tokenizer.inner
        assert source.tokenizer.suffix == tuple(inner(" It was ", add_special_tokens=False)["input_ids"])
        model = load_causal(LM)
        head = source.own_head(1)
        for text, got in zip(few.fields["sentence"], made, strict=True):
            ids = [*inner(text)["input_ids"], *source.tokenizer.suffix]
            with torch.no_grad():
                out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            assert torch.allclose(got, out.hidden_states[-1][0, -1], atol=1e-4)
            scores = got @ head.weight_KCD[0].t() + head.bias_KC[0]
            assert torch.allclose(scores, out.logits[0, -1], atol=1e-3)
        words = words_of(source, few)
        again = source.features(source.special_tokens.around(words))
        assert torch.allclose(again, made, atol=1e-4)
        soft = vectors_of(source, words)
        by_vectors = source.features(source.special_tokens.around_vectors(soft, len(source.table_VE)))
        assert torch.allclose(by_vectors, made, atol=1e-4)


@needs_stories
def test_in_half_precision_the_state_is_nearly_the_same(real, tmp_path, monkeypatch):
    made = {}
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("tdbench.bench.training.prepared.compute_dtype", lambda _, dtype=dtype: dtype)
        ctx = wide_context(tmp_path)
        with ctx.cost.phase("x"):
            source = ctx.asked(real, LM, " It was ")
            made[dtype] = source.features(source.tokenise(real))
            soft = vectors_of(source, words_of(source, real))
            by_vectors = source.features(source.special_tokens.around_vectors(soft, len(source.table_VE)))
        assert made[dtype].dtype is torch.float32
        assert torch.nn.functional.cosine_similarity(by_vectors, made[dtype]).min() > 0.999
    near = torch.nn.functional.cosine_similarity(*made.values())
    assert 0.99 < near.min() < 1


def test_fused_activations_compute_the_same():
    from transformers import GPT2Config, GPT2LMHeadModel

    from tdbench.bench.models.prompted import LastPosition

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=8, n_embd=12, n_layer=2, n_head=2)).eval()
    ids = torch.randint(0, 50, (3, 8))
    with torch.no_grad():
        expected = model(input_ids=ids).logits[:, -1]
        made = LastPosition(copy.deepcopy(model))
        assert not any(type(part).__name__ == "NewGELUActivation" for part in made.modules())
        assert torch.allclose(made(ids, torch.ones_like(ids)), expected, atol=1e-5)


@needs_stories
def test_matched_gradients_are_those_of_the_label_word_at_the_last_place(exact, real, tmp_path):
    """Against autograd through the whole model: full vocabulary, first token of the label word (GRADMM, section 5.1)."""
    ctx = wide_context(tmp_path)
    method = of("gradmm", **PROMPT, group_size=3)
    few = real.take(np.concatenate([real.positions_of_class(c)[:3] for c in (0, 1)]))
    with ctx.cost.phase("x"):
        source = ctx.asked(few, LM, " It was ")
        tokens = label_tokens(source.tokenizer, ("bad", "great"), " It was ")
        problem = make_problem(few, 3, 3, ctx, source)
        goal = method._goal(problem, ctx)  # type: ignore[attr-defined]
    model = load_causal(LM)
    head = model.get_output_embeddings().weight.detach()
    for label in (0, 1):
        expected = torch.zeros_like(head)
        for text in [t for t, y in zip(few.fields["sentence"], few.labels_N, strict=True) if y == label]:
            ids = [*source.tokenizer.inner(text)["input_ids"], *source.tokenizer.suffix]
            weight = head.clone().requires_grad_(True)
            with torch.no_grad():
                h = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1]
            loss = torch.nn.functional.cross_entropy((weight @ h).unsqueeze(0), torch.tensor([tokens[label]]))
            expected += torch.autograd.grad(loss, weight)[0] / 3
        made = goal.gradients.weight_KGCD[0, label]
        assert torch.nn.functional.cosine_similarity(made.flatten(), expected.flatten(), dim=0) > 0.99999


@needs_stories
def test_generation_behind_a_prompt_is_what_the_plain_model_gives(tmp_path):
    lm = prompted_lm(LM, "A {label} story: ", ("sad", "very happy"), 40, "cpu")
    inner = lm.tokenizer.inner  # type: ignore[union-attr]
    model = load_causal(LM)
    texts, labels = lm.sample(np.array([0, 1, 1]), 1, seed=3), np.array([0, 1, 1])
    again = lm.sample(labels, 1, seed=3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(texts, again, strict=True))
    prompts = [inner(f"A {word} story: ", add_special_tokens=False)["input_ids"] for word in ("sad", "very happy")]
    width = 1 + max(map(len, prompts))
    for parts, label, nll in zip(texts, labels, lm.nll(texts, labels), strict=True):
        prompt = [inner.bos_token_id] * (width - len(prompts[label])) + list(prompts[label])
        ids = [*prompt, *parts[0].tolist(), inner.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        kept = torch.cat([lm.model.ids[: lm.vocabulary.n_pieces], lm.model.ids[-2:]])
        scores = torch.full_like(logits, -torch.inf)
        scores[:, kept] = logits[:, kept]
        losses = torch.nn.functional.cross_entropy(scores[width - 1 : -1], torch.tensor(ids[width:]), reduction="none")
        assert nll == pytest.approx(float(losses.mean()), rel=0.03)
        assert set(parts[0].tolist()) <= set(lm.vocabulary.pieces_U.tolist())


@needs_stories
def test_prompted_matching_makes_balanced_texts_end_to_end(real, tmp_path):
    ctx = wide_context(tmp_path)
    options = {**PROMPT, "group_size": 2, "pool": 4, "outer": 2, "inner": 3, "candidates": 1}
    made = distil(of("gradmm", **options), real, ctx, budget=small_budget(2))
    assert made.output == "text"
    assert made.fields is not None
    assert all(text.strip() for text in made.fields["sentence"])
    assert "task_lm_perplexity" not in ctx.diagnostics


def small_budget(per_class: int):
    from tdbench.bench.budget import Budget

    return Budget(f"dpc{per_class}", per_class=per_class)


@needs_stories
def test_label_words_that_begin_alike_are_refused(real, tmp_path):
    ctx = wide_context(tmp_path)
    with ctx.cost.phase("x"):
        source = ctx.asked(real.take(range(4)), LM, " It was ")
    with pytest.raises(UsageError, match=r"\['great', 'great'\] begin with the same token"):
        label_tokens(source.tokenizer, ("great", "great"), " It was ")
    with pytest.raises(UsageError, match="a label word is empty"):
        label_tokens(source.tokenizer, ("great", " "), " It was ")


def test_label_words_for_another_number_of_classes_are_left_out_of_the_plan():
    method = of("gradmm", **{**PROMPT, "label_words": ("a", "b", "c")})
    skip = method.supports(small_task("two classes").task, small_budget(2))
    assert skip is not None
    assert "3 label words" in skip.reason


def test_a_prompt_without_the_label_and_unknown_models_are_refused():
    with pytest.raises(UsageError, match=r"does not say the label; put \{label\}"):
        prompted_lm("gpt2", "A text: ", ("a", "b"), 10, "cpu")
    with pytest.raises(
        UsageError,
        match="no language model is called 'gpt5'; give hf:<id or folder>, or of causal ones gpt2 or phi-1_5",
    ):
        pretrained_name("gpt5")
    with pytest.raises(PrerequisiteError, match="does not exist"):
        load_causal("hf:/nowhere/at/all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "prompt"}, "go together"),
        ({"lm": "gpt2"}, "go together"),
        ({"form": "prompt", "lm": "gpt2"}, "real_per_class"),
        ({"form": "prompt", "lm": "gpt2", "real_per_class": 5, "output": "embedding"}, "output=text"),
        ({"encoders": 2, "space": "lora"}, "several encoders"),
        ({"target": "random", "space": "all"}, "no gradient below the head"),
        ({"space": "lora", "outer": 0}, "matched by steps"),
        ({"output": "embedding", "outer": 0}, "fitted by steps"),
        ({"encoders": 2, "outer": 0}, "further encoders"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        of("gradmm", **options)


def test_a_model_that_cannot_be_had_is_missing_in_the_plan(monkeypatch):
    from tdbench.bench.experiment.plan import Planner
    from tdbench.bench.models.resolve import resolve

    monkeypatch.setattr("tdbench.bench.models.resolve._from_hub_cache", lambda *_: None)
    monkeypatch.setattr("tdbench.bench.models.resolve.hub_reachable", lambda: False)
    resolve.cache_clear()
    runs = settings_for(["task=sst2", "method=gradmm-phi-1_5", "protocol=lite-v1", "data.kind=standin", "budget=dpc10"])
    plan = Planner().plan(runs)
    assert plan.cells == []
    assert any("phi-1_5" in problem for _, problem in plan.missing)


@pytest.mark.parametrize("kind", ["trained", "random"])
def test_further_encoders_differ_in_weights_but_not_in_the_token_table(kind, real, tmp_path):
    ctx = context(tmp_path)
    config = METHODS.get("gradmm").Config(encoders=2, encoder_kind=kind, encoder_steps=3)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        before = source.features(source.tokenise(real.take(range(6))))
        other = perturbed_encoder(source, config, real, 7, ctx)
        again = perturbed_encoder(source, config, real, 7, ctx)
        text = real.take(range(6))
        h, same = other.features(other.tokenise(text)), again.features(again.tokenise(text))
        assert torch.equal(h, same)
        assert not torch.allclose(h, before, atol=1e-3)
        assert torch.equal(source.features(source.tokenise(text)), before)
        words = words_of(other, text)
        soft = vectors_of(other, words)
        by_vectors = other.features(other.special_tokens.around_vectors(soft, len(other.table_VE)))
        assert torch.allclose(by_vectors, h, atol=2e-2)


def test_an_objective_over_encoders_is_the_mean_of_its_parts(real, tmp_path):
    from tdbench.bench.matching.fit import Reading

    ctx = context(tmp_path)
    method = of("dm", encoders=3, encoder_steps=2, outer=1)
    with ctx.cost.phase("x"):
        problem = make_problem(real, 3, 1, ctx)
        from tdbench.methods.dm import _Means

        goal = encoder_ensemble(problem, method.config, ctx, lambda one: _Means(one, False, ctx.rng("x")))
        soft = vectors_of(problem.source, words_of(problem.source, real.take(problem.groups.medoids_G)))
        read = Reading.of(problem.source, soft)
        parts = goal._parts  # type: ignore[attr-defined]
        each = [float(part.loss(Reading.of(part.problem.source, soft), 1)) for part in parts]
        assert float(goal.loss(read, 1)) == pytest.approx(np.mean(each), rel=1e-4)
        assert len({round(value, 6) for value in each}) == 3


@pytest.mark.parametrize("name", ["gradmm", "dm"])
def test_several_encoders_work_end_to_end(name, real, tmp_path):
    options = {"output": "embedding", "start": "rows", "rho": 0.0, "outer": 1, "inner": 3}
    one, two = (distil(of(name, encoders=n, encoder_steps=2, **options), real, context(tmp_path)).soft for n in (1, 2))
    assert one is not None
    assert two is not None
    assert not np.allclose(one.vectors_SD, two.vectors_SD)


@pytest.mark.parametrize("space", ["lora", "all"])
def test_gradmm_fits_gradients_below_the_head(space, real, tmp_path):
    ends = []
    for inner in (1, 25):
        ctx = context(tmp_path)
        options = {"output": "embedding", "start": "words", "rho": 0.0, "noise": 0.0, "outer": 1, "lr": 0.05}
        distil(of("gradmm", space=space, group_size=3, heads=2, inner=inner, **options), real, ctx)
        ends.append(ctx.diagnostics["match_vectors"])
    assert ends[1] < ends[0]
