"""Methods that synthesise: gradmm, dm, lm-samples and class-mean, on small texts and a tiny transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tdbench.bench.budget import Budget
from tdbench.bench.card import Skip
from tdbench.bench.config import settings_for
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.initialisation import words_of
from tdbench.bench.matching.problem import MatchingProblem, make_problem
from tdbench.bench.method import Method
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner

BUDGET = Budget("dpc3", per_class=3)
FAST = {"pool": 6, "outer": 2, "inner": 4}


def context(tmp_path: Path, seed: int = 0) -> Context:
    def no_encoder():
        raise AssertionError("the encoder is not used")

    cost = CostMeter()
    return Context(
        seed,
        "cpu",
        cost,
        tmp_path,
        no_encoder,
        make_source=lambda: Source(
            "tiny", tiny_learner(), MAX_LENGTH, tmp_path.parent / "kept"
        ),  # what is trained once serves all tests
    )


def distil(method: Method, real: LabelledText, ctx: Context, budget: Budget = BUDGET) -> DistilledSet:
    with ctx.cost.phase("distil"):
        made = method.distil(real.copy(), budget, ctx)
    made.check(budget, real)
    assert np.bincount(made.labels_M).tolist() == [budget.per_class] * real.n_classes
    return made


def of(name: str, **options) -> Method:
    plugin = METHODS.get(name)
    return plugin(plugin.Config(**options))


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


@pytest.mark.parametrize("name", ["gradmm", "dm"])
@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_fitting_brings_vectors_nearer_to_the_goal_than_their_start(name, group_size, real, tmp_path):
    options = {"output": "embedding", "start": "words", "rho": 0.0, "noise": 0.0, "group_size": group_size}
    ends = []
    for inner in (1, 60):
        ctx = context(tmp_path)
        made = distil(of(name, outer=1, inner=inner, **options), real, ctx)
        assert made.output == "embedding"
        ends.append(ctx.diagnostics["match_vectors"])
    assert ends[1] < 0.7 * ends[0]


def test_texts_are_made_of_pieces_of_the_train_split_and_one_candidate_a_slot_is_kept(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(of("gradmm", **FAST), real, ctx)
    assert made.output == "text"
    assert made.fields is not None
    known = {word for text in real.joined() for word in text.lower().split()} | {"[pad]"}
    assert {word for text in made.fields["sentence"] for word in text.split()} <= known
    names = {
        "task_lm_perplexity",
        "match_vectors",
        "match_words",
        "match_kept",
        "match_floor",
        "teacher_agreement_frac",
    }
    assert names <= set(ctx.diagnostics)


@pytest.mark.parametrize("start", ["lm", "lm-any", "rows", "words"])
def test_without_steps_the_start_is_what_comes_out(start, real, tmp_path):
    made = distil(of("gradmm", start=start, outer=0, pool=6, candidates=1), real, context(tmp_path))
    assert made.fields is not None
    texts = set(made.fields["sentence"])
    rows = {" ".join(text.lower().split()) for text in real.joined()}
    assert (texts <= rows) == (start == "rows")


def test_controls_change_the_target_and_nothing_else(real, tmp_path):
    options = {"output": "embedding", "start": "rows", "rho": 0.0, "outer": 1, "inner": 5}
    made = {
        t: distil(of("gradmm", target=t, **options), real, context(tmp_path)) for t in ("class", "permuted", "random")
    }
    vectors = [one.soft.vectors_SD for one in made.values() if one.soft is not None]
    assert len({v.tobytes() for v in vectors}) == 3
    assert len({v.shape for v in vectors}) == 1


def goal_of(name: str, problem: MatchingProblem, ctx: Context, **options):
    method = of(name, **options)
    return method._goal(problem, ctx)  # type: ignore[attr-defined]


def test_permuted_targets_are_the_next_class_texts_with_this_class_label(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        problem = make_problem(real, 3, 1, ctx)
        own, permuted = (goal_of("gradmm", problem, ctx, target=t).gradients.weight_KGCD for t in ("class", "permuted"))
        heads = goal_of("gradmm", problem, ctx).heads
    assert problem.labels_S.tolist() == [0, 0, 0, 1, 1, 1]
    for group in range(6):
        texts = problem.h[np.flatnonzero(problem.groups.groups_N == (group + 3) % 6).tolist()]
        label = torch.zeros(2)
        label[group // 3] = 1
        errors = torch.softmax(texts @ heads.weight_KCD[1].t() + heads.bias_KC[1], dim=1) - label
        assert torch.allclose(permuted[1, group], errors.t() @ texts / len(texts), atol=1e-5)
    assert not torch.allclose(own, permuted)


def test_every_control_has_a_target_that_texts_can_reach(real, tmp_path):
    """With one text a group and no noise, free vectors come near any target that some head inputs have."""
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        problem = make_problem(real, 3, 1, ctx)
        for target in ("class", "permuted", "random"):
            goal = goal_of("gradmm", problem, ctx, target=target)
            h = problem.h[problem.groups.medoids_G.tolist()].clone().requires_grad_(True)
            optimiser = torch.optim.Adam([h], lr=0.05)
            for _ in range(1500):
                optimiser.zero_grad()
                loss = goal.of_features(h, 1)
                loss.backward()
                optimiser.step()
            assert float(loss.detach()) < 0.05, target


def test_heads_and_start_are_the_same_for_every_target(real, tmp_path):
    made = []
    for target in ("class", "permuted", "random"):
        ctx = context(tmp_path)
        with ctx.cost.phase("x"):
            made.append(goal_of("gradmm", make_problem(real, 3, 1, ctx), ctx, target=target).heads.weight_KCD)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
    starts = [
        distil(of("gradmm", target=t, start="rows", outer=0, candidates=1), real, context(tmp_path))
        for t in ("class", "random")
    ]
    assert starts[0].fields == starts[1].fields


def test_a_pool_smaller_than_the_candidates_is_refused():
    with pytest.raises(ValueError, match="pool is 1, fewer than the 2 candidates"):
        of("gradmm", pool=1)


def test_distribution_losses_are_those_of_their_definitions(real, tmp_path):
    from tdbench.methods.dm import MMD_SCALES, _Kernels, _Means

    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        problem = make_problem(real, 4, 2, ctx)
    rng = np.random.default_rng(0)
    h = rng.normal(size=(16, problem.h_ND.shape[1]))  # two copies of 2 x 4 texts
    unit = problem.h_ND.var(0, ddof=1).sum()
    expected, kernels = [], []
    means, mmd = _Means(problem, False, rng), _Kernels(problem, False, rng)
    for copy in h.reshape(2, 8, -1):
        for g in range(4):
            target = problem.h_ND[problem.groups.groups_N == g].mean(0)
            expected.append(((copy[2 * g : 2 * g + 2].mean(0) - target) ** 2).sum() / unit)
        for label in range(2):
            own, others = copy[4 * label : 4 * label + 4], problem.h_ND[real.labels_N == label]

            def kernel(a, b):
                far = ((a - b) ** 2).sum() / (2 * unit)
                return sum(np.exp(-far / scale) for scale in MMD_SCALES)

            inside = np.mean([kernel(a, b) for a in own for b in own])
            across = np.mean([kernel(a, b) for a in own for b in others])
            kernels.append(inside - 2 * across)
    tensor = torch.from_numpy(h).float()
    assert float(means.of_features(tensor, 2)) == pytest.approx(np.mean(expected), rel=1e-4)
    assert float(mmd.of_features(tensor, 2)) == pytest.approx(np.mean(kernels), rel=1e-4)
    alone = means.per_sample_loss(tensor[:8], np.zeros(8, dtype=np.int64))
    assert alone.shape == (8, 8)
    centre = problem.h_ND[problem.groups.groups_N == 3].mean(0)
    assert alone[0, 7] == pytest.approx(((h[0] - centre) ** 2).sum() / unit, rel=1e-4)


def test_class_means_average_place_by_place(tmp_path):
    real = small_task("pairs").train.take(range(60))
    ctx = context(tmp_path)
    made = distil(of("class-mean"), real, ctx, Budget("dpc1", per_class=1))
    assert made.soft is not None
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        words = words_of(source, real)
    own = [words[i] for i in real.positions_of_class(0)]
    length = round(np.mean([len(parts[1]) for parts in own]))
    assert made.soft.lengths_MF[0, 1] == length
    second = np.mean([source.table_VE.numpy()[parts[1][1]] for parts in own if len(parts[1]) > 1], axis=0)
    start = made.soft.lengths_MF[0, 0]
    assert np.allclose(made.soft.vectors_SD[start + 1], second, atol=1e-6)


@pytest.mark.parametrize("name", ["gradmm", "dm", "class-mean", "lm-samples"])
def test_pairs_keep_both_fields(name, tmp_path):
    real = small_task("pairs").train
    options = FAST if name in ("gradmm", "dm") else {"pool": 4} if name == "lm-samples" else {}
    made = distil(of(name, **options), real, context(tmp_path))
    if made.fields is not None:
        assert set(made.fields) == {"premise", "hypothesis"}
        assert all(text.strip() for column in made.fields.values() for text in column)
    else:
        assert made.soft is not None
        assert made.soft.lengths_MF.shape == (9, 2)


def test_samples_without_selection_are_the_first_ones(real, tmp_path):
    from tdbench.bench.matching.initialisation import text_of

    ctx = context(tmp_path)
    plain = distil(of("lm-samples", select="none"), real, ctx)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        pool = ctx.task_lm(real, source).sample(np.repeat([0, 1], 3), 1, ctx.torch_seed("samples"))
    assert plain.fields == text_of(source, ["sentence"], pool)


def test_few_real_texts_are_enough_and_too_few_are_refused(real, tmp_path):
    low = {**FAST, "real_per_class": 5}
    distil(of("gradmm", **low), real, context(tmp_path))
    with pytest.raises(UsageError, match="class 0 has 2 real texts, fewer than the 3 clusters"):
        distil(of("gradmm", **{**low, "real_per_class": 2}), real, context(tmp_path))


def test_one_class_without_texts_is_refused_by_name(real, tmp_path):
    only = real.take(real.positions_of_class(0))
    with pytest.raises(UsageError, match="class 'positive' has no real text"):
        distil(of("dm", **FAST), only, context(tmp_path))


@pytest.mark.parametrize("name", ["gradmm", "dm", "class-mean", "lm-samples"])
def test_budgets_in_tokens_are_left_out(name):
    answer = METHODS.get(name)().supports(small_task("pairs").task, Budget("tok60", tokens_per_class=60))
    assert isinstance(answer, Skip)


PRESETS = {
    "gradmm-embedding": {"output": "embedding", "start": "rows", "rho": 0.0},
    "gradmm-embedding-permuted": {"output": "embedding", "target": "permuted"},
    "gradmm-embedding-random": {"output": "embedding", "target": "random"},
    "gradmm-permuted": {"output": "text", "target": "permuted"},
    "gradmm-random": {"output": "text", "target": "random"},
    "gradmm-start": {"output": "text", "outer": 0},
    "dm-embedding": {"output": "embedding"},
    "dm-embedding-permuted": {"output": "embedding", "target": "permuted"},
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_their_names_say(name):
    (one,) = settings_for(["task=sst2", f"method={name}", "budget=dpc10"])
    assert one.method_label == name
    assert one.method_name == name.split("-", maxsplit=1)[0]
    assert {key: one.method_options[key] for key in PRESETS[name]} == PRESETS[name]
