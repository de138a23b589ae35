"""Learned trainings on small texts and a tiny transformer: what is learned, what is kept fixed, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tdbench.bench.budget import Budget
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import PluginError
from tdbench.bench.matching.initialisation import nearest_words, words_of
from tdbench.bench.matching.learned_training import LearnedTraining
from tdbench.bench.matching.unroll import Unrolled
from tdbench.bench.registry import METHODS
from tdbench.bench.training.training_set import TrainContext, TrainingSet
from tests.unit.test_schedule import RECIPE
from tests.unit.test_synthesis import context

pytestmark = pytest.mark.usefixtures("full_precision")

Meta = METHODS.get("meta")
BUDGET = Budget("dpc2", per_class=2)
FAST = {
    "head_updates": 4,
    "updates": 6,
    "head_batch": 16,
    "batch": 4,
    "length": 6,
    "attention": "none",
    "head_first": True,
}


def distil(real, ctx, **options) -> DistilledSet:
    with ctx.cost.phase("distil"):
        made = Meta(Meta.Config(**FAST | options)).distil(real.copy(), BUDGET, ctx)
    made.check(BUDGET, real)
    return made


def loss_of(made: DistilledSet, real, tmp_path) -> float:
    """Mean cross-entropy on the real texts of three learners that the harness trained by the schedule."""
    learner, losses = context(tmp_path).make_source().learner, []
    for seed in (11, 12, 13):
        ctx = TrainContext(seed, "cpu", context(tmp_path).cost)
        scores_NC = learner.fit_predict(TrainingSet.of(made, real), real.without_labels(), RECIPE, ctx)
        losses.append(torch.nn.functional.cross_entropy(torch.from_numpy(scores_NC), torch.tensor(real.labels_N)))
    return float(torch.stack(losses).mean())


def test_learning_lowers_the_loss_of_heads_that_were_never_seen(real, tmp_path):
    wide = {"updates_lr": 1.0, "rate": 0.3, "batch": 32, "head_first": False}
    few, heads, one, whole = (
        loss_of(distil(real, context(tmp_path), head_updates=heads, updates=updates, **wide), real, tmp_path)
        for heads, updates in ((1, 0), (60, 0), (0, 1), (0, 120))
    )
    assert heads < few - 0.1
    assert whole < one - 0.1


def test_a_training_of_the_head_alone_leaves_all_else_where_it_is(real, tmp_path):
    made = distil(real, context(tmp_path), head_updates=5, updates=0, attention="none")
    assert made.schedule.head_only
    assert not distil(real, context(tmp_path), head_updates=5, updates=1).schedule.head_only


def test_later_updates_learn_step_sizes_as_fast_as_ever_and_all_else_slower(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("test"):
        learned = LearnedTraining.begun(ctx.source(real), real, 2, Meta.Config(**FAST), ctx)
    learned.begin(10, 0.1)
    fastest = [group["initial_lr"] for group in learned._optimiser.param_groups]
    assert fastest == pytest.approx([0.03, 0.003, 0.003])


def test_any_step_size_has_an_inverse_of_softplus(real, tmp_path):
    ctx = context(tmp_path)
    for size in (1e-6, 1.0, 500.0):
        config = Meta.Config(**FAST | {"head_rate": size})
        with ctx.cost.phase("test"):
            learned = LearnedTraining.begun(ctx.source(real), real, 2, config, ctx)
        assert learned.rates_T2[:, 1].tolist() == pytest.approx([size] * config.steps, rel=1e-3)


def test_the_same_seed_gives_the_same_set_and_another_seed_another(real, tmp_path):
    first, again, other = (distil(real, context(tmp_path, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.soft.vectors_SD, again.soft.vectors_SD)
    assert np.array_equal(first.soft_labels_MC, again.soft_labels_MC)
    assert np.array_equal(first.schedule.rates_T2, again.schedule.rates_T2)
    assert not np.array_equal(first.soft.vectors_SD, other.soft.vectors_SD)


def test_a_set_brings_its_training_and_the_record_its_course(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(real, ctx, steps=3, parts=2)
    assert made.track == "learner-bound"
    assert made.soft.lengths_MF.tolist() == [[6]] * 8
    assert made.schedule.rates_T2.shape == (3, 2)
    assert made.schedule.parts == 2
    assert made.schedule.rates_T2[0, 0] < 0.1 * made.schedule.rates_T2[1, 0]  # the head goes first
    assert [len(ctx.curves[name]) for name in ("head_loss", "unroll_loss", "learned_rate", "learned_head_rate")] == [
        4,
        3,
        3,
        3,
    ]
    assert ctx.curves["learned_head_rate"] == pytest.approx(made.schedule.rates_T2[:, 1].tolist())
    method = Meta(Meta.Config(**FAST))
    assert method.seeds_per_set == 20
    assert "lm" in method.reads
    assert not method.uses_task_lm


def test_updates_are_fewer_where_there_are_more_texts_and_few_real_ones(real, tmp_path):
    from tdbench.methods.meta import _Learning

    ctx = context(tmp_path)
    with ctx.cost.phase("test"):

        def updates(per_class: int, **options) -> int:
            return _Learning(Meta.Config(**FAST | options), ctx.source(real), real, per_class, ctx)._updates

        assert [updates(size, updates=30, batch=1) for size in (1, 2, 10, 12)] == [30, 15, 3, 3]
        assert updates(1, updates=10**6, batch=7) == -(-10 * len(real) // 7)


@pytest.mark.parametrize("attention", ["first", "all"])
def test_attention_is_learned_and_counts(real, tmp_path, attention):
    made = distil(real, context(tmp_path), attention=attention, head_first=False, attention_lr=1.0)
    rows = 8 * (8 if attention == "first" else 64)
    assert made.schedule.attention_XH.shape == (rows, 4)
    shares = made.schedule.attention_XH.reshape(-1, 8, 4).sum(1)
    assert shares == pytest.approx(np.ones_like(shares), abs=1e-5)
    still = distil(real, context(tmp_path), attention=attention, head_first=False, attention_lr=1e-9)
    assert np.abs(made.schedule.attention_XH - still.schedule.attention_XH).max() > 1e-2


def test_labels_are_learned_within_their_kind(real, tmp_path):
    hard, soft, free = (distil(real, context(tmp_path), labels=kind, label_lr=0.5) for kind in ("hard", "soft", "free"))
    assert hard.soft_labels_MC is None
    assert soft.soft_labels_MC.sum(1) == pytest.approx(np.ones(8), abs=1e-5)
    assert np.abs(soft.soft_labels_MC.argmax(1) - soft.labels_M).max() == 0
    assert free.soft_labels_MC.min() < 0


def test_a_fixed_head_is_part_of_the_set(real, tmp_path):
    made = distil(real, context(tmp_path), head="fixed")
    assert made.schedule.head_CX.shape == (4, 25)
    assert not made.schedule.head_CX[:, -1].any()
    assert Meta(Meta.Config(head="fixed")).seeds_per_set is None


@pytest.mark.parametrize("start", ["rows", "class-mean", "words", "noise"])
def test_the_reference_learns_everything_but_the_vectors(real, tmp_path, start):
    short, long = (
        distil(real, context(tmp_path), start=start, inputs="fixed", head_updates=n, updates=n) for n in (2, 6)
    )
    assert np.array_equal(short.soft.vectors_SD, long.soft.vectors_SD)
    assert not np.array_equal(short.soft_labels_MC, long.soft_labels_MC)
    assert not np.array_equal(short.schedule.rates_T2, long.schedule.rates_T2)


def test_a_large_batch_takes_the_place_of_a_small_one_where_the_head_alone_is_trained(real, tmp_path):
    """full(small) - head(small) + head(large) = head(large) when nothing moves below the head."""
    from tdbench.methods.meta import _Learning

    ctx = context(tmp_path)
    with ctx.cost.phase("test"):
        config = Meta.Config(**FAST | {"rate": 1e-12, "head_first": False})
        one = _Learning(config, ctx.source(real), real, 2, ctx)
        from tdbench.bench.matching.outer import RealLoss
        from tdbench.bench.matching.unroll import unroll

        source = ctx.source(real)
        loss = RealLoss(source.new_module(), source.tokenise(real), real.labels_N, "cpu", ctx.cost)
        weights, loop = one._heads.draw(), one._learned.inner_loop()
        small, large = np.array([0, 5, 9]), np.arange(40)
        found = unroll(one._inner, weights, loop, lambda trained: loss(trained, small))
        found = found.plus(one._of_head(weights, loop, large, small))
        wanted = one._of_head(weights, loop, large)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-4)
    for made, expected in zip(found.leaves[1:], wanted.leaves[1:], strict=True):
        assert torch.allclose(made, expected, rtol=1e-3, atol=1e-6)


def test_text_is_the_nearest_words_of_the_train_split(real, tmp_path):
    made = distil(real, context(tmp_path), output="text", labels="hard")
    assert made.track == "text"
    known = {word for text in real.joined() for word in text.lower().split()}
    assert all(word in known for text in made.fields["text"] for word in text.split())
    source = context(tmp_path).source(real)
    words = words_of(source, real)[:3]
    soft = replace_vectors(source, words)
    assert [tuple(map(list, text)) for text in nearest_words(source, soft, words_of(source, real))] == [
        tuple(map(list, text)) for text in words
    ]


def replace_vectors(source, words):
    from tdbench.bench.matching.initialisation import vectors_of

    soft = vectors_of(source, words)
    return replace(soft, vectors_SD=soft.vectors_SD * 3)  # a cosine knows no length


def test_trained_by_the_recipe_a_set_has_no_schedule(real, tmp_path):
    made = distil(real, context(tmp_path), train="recipe", labels="soft")
    assert made.schedule is None
    assert Meta(Meta.Config(train="recipe", labels="soft", attention="none")).seeds_per_set is None


def test_a_loss_that_is_not_finite_is_an_error(real, tmp_path):
    with pytest.raises(PluginError, match=r"diverged.*lower method.lr"):
        distil(real, context(tmp_path), lr=1e30, updates=6)


def test_a_step_size_that_vanishes_is_an_error(real, tmp_path):
    from tdbench.methods.meta import _Learning

    ctx = context(tmp_path)
    with ctx.cost.phase("test"):
        config = Meta.Config(**FAST, rate_lr=5.0)
        learned = _Learning(config, ctx.source(real), real, 2, ctx)._learned
        learned.begin(20)
        leaves = [torch.zeros_like(leaf) for leaf in learned.inner_loop().leaves()]
        leaves[0][1, 1] = 1.0  # the loss falls with the head's second step size
        found = Unrolled(1.0, leaves)
        with pytest.raises(
            PluginError, match=r"step size of step 2 \(head\) has shrunk below 0.001 of method.head_rate"
        ):
            _updated(learned, found)


def _updated(learned, found: Unrolled) -> None:
    for _ in range(15):
        learned.update(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "text"}, "no place for labels without a constraint"),
        ({"train": "recipe"}, "the recipe has no place"),
        ({"train": "recipe", "labels": "soft", "attention": "all"}, "the recipe has no place"),
        ({"output": "text", "labels": "soft", "attention": "none"}, "text is made with labels=hard"),
        ({"top_k": 5}, "top_k picks words"),
        ({"last": 3}, "last is 3, more than the 2 steps"),
        ({"head_updates": 0, "updates": 0}, "nothing is learned without an update"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Meta.Config(**options)


def test_a_plan_asks_for_twenty_heads_a_set_and_for_one_where_protocols_are_for_a_first_look():
    from tdbench.bench.config import settings_for
    from tdbench.bench.experiment.plan import Planner

    def trains(*words: str) -> list[int]:
        runs = settings_for(["task=sst2", "data.kind=standin", "budget=dpc1", "method=meta", *words])
        cells = Planner().plan(runs).cells
        assert {distil.facts.seeds_per_set for distil, _ in cells} == {None if "protocol=quick-v1" in words else 20}
        return [len(jobs) for _, jobs in cells]

    assert trains("protocol=lite-v1") == [20] * 5
    assert trains("protocol=lite-v1", "seeds=3") == [3] * 5
    assert trains("protocol=quick-v1") == [1]
