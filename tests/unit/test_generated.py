"""What surrounds generated text: token replacement, DiLM's tuning, diversity, and the judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tdbench.bench.budget import Budget
from tdbench.bench.commands.show import draw_curves
from tdbench.bench.errors import UsageError
from tdbench.bench.matching.clusters import halves, head_path, train_head
from tdbench.bench.matching.initialisation import words_of
from tdbench.bench.matching.problem import make_problem
from tdbench.bench.matching.replace import ReplaceOptions, replace_tokens
from tdbench.bench.matching.synthesis import _Synthesis
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.texts import small_task
from tests.unit.test_synthesis import context, distil, of


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


def test_replacing_lowers_the_cost_word_by_word_and_keeps_lengths(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
        words, labels = words_of(source, real.take(range(4))), real.labels_N[:4]
        goal = source.features(source.special_tokens.around(words_of(source, real.take(range(10, 14)))))
        read = []

        def cost(h_ND: torch.Tensor, of_N: np.ndarray) -> torch.Tensor:
            read.append(len(of_N))
            return ((h_ND - goal[of_N.tolist()]) ** 2).sum(1)

        options = ReplaceOptions(rounds=6, proposals=5, likely=20, fluency=0.0)
        made, curve = replace_tokens(
            source, lm, words, labels, cost=cost, options=options, rng=np.random.default_rng(0)
        )
        before = float(cost(source.features(source.special_tokens.around(words)), np.arange(4)).mean())
        after = float(cost(source.features(source.special_tokens.around(made)), np.arange(4)).mean())
    assert curve == sorted(curve, reverse=True)
    assert after == pytest.approx(curve[-1], rel=1e-4)
    assert after < before
    assert read[:2] == [4, 4 * 6]
    changed = [int(sum((a != b).sum() for a, b in zip(x, y, strict=True))) for x, y in zip(words, made, strict=True)]
    assert max(changed) <= 6
    assert sum(changed) > 0


def test_a_high_price_of_fluency_makes_texts_likelier(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
        rng = np.random.default_rng(1)
        odd = [tuple(rng.permutation(part) for part in parts) for parts in words_of(source, real.take(range(4)))]
        labels = real.labels_N[:4]
        options = ReplaceOptions(rounds=5, proposals=8, likely=8, fluency=1e6)
        made, _ = replace_tokens(
            source, lm, odd, labels, cost=lambda h, _: (h**2).sum(1), options=options, rng=np.random.default_rng(0)
        )
    assert (lm.nll(made, labels) <= lm.nll(odd, labels)).all()
    assert lm.nll(made, labels).mean() < lm.nll(odd, labels).mean()


@pytest.mark.parametrize("kind", ["two classes", "pairs"])
def test_what_is_expected_at_a_place_is_what_a_plain_pass_over_the_prefix_expects(kind, tmp_path):
    real = small_task(kind).train.take(range(60))
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
    words, labels = words_of(source, real.take(range(5))), real.labels_N[:5]
    places = np.array([0, 1, 4, len(words[3][0]), 2]) if kind == "pairs" else np.array([0, 1, 4, 3, 2])
    made = lm.expected(words, labels, places)
    for parts, label, place, got in zip(words, labels, places, made, strict=True):
        row = lm.vocabulary.encode(parts, label)
        behind = 1 + place + (1 if len(parts) > 1 and place >= len(parts[0]) else 0)
        with torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([row[:behind]])).logits[0, -1].float()
        assert torch.allclose(got, logits, atol=0.05)  # the processor's compute type rounds


def test_replacing_at_the_end_is_part_of_both_matching_methods(real, tmp_path):
    for name in ("gradmm", "dm"):
        ctx = context(tmp_path)
        distil(of(name, start="rows", outer=0, candidates=1, replace=4, proposals=4, likely=10), real, ctx)
        assert ctx.curves["replace_cost"] == sorted(ctx.curves["replace_cost"], reverse=True)
        assert ctx.diagnostics["match_kept"] < ctx.diagnostics["match_start"]


def synthesis(real, ctx, **options) -> _Synthesis:
    method = of("gradmm", **options)
    problem = make_problem(real, 3, 1, ctx)
    goal = method._goal(problem, ctx)  # type: ignore[attr-defined]
    return _Synthesis(problem, goal, method.config, ctx.task_lm(real, problem.source), ctx, nearness=0.0)


def test_texts_start_from_the_samples_that_the_teacher_is_surest_of(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        made = synthesis(real, ctx, pool=8, candidates=2)
        h, labels = made._problem.h[:60], np.arange(60) % 2
        doubtful = made._doubtful(h, labels)
        own = made._teacher_shares(h)[np.arange(60), labels]
        few = made._doubtful(h[:14], labels[:14])
        shares = {}
        for start in ("lm", "lm-any"):
            made = synthesis(real, ctx, start=start, pool=30, candidates=2)
            sampled = made._problem.source.features(made._problem.source.special_tokens.around(made.start()))
            shares[start] = made._teacher_shares(sampled)[np.arange(12), made.labels_M].mean()
    for label in (0, 1):
        mine = labels == label
        assert (mine & ~doubtful).sum() == 10
        assert own[mine & ~doubtful].min() >= own[mine & doubtful].max()
        assert (~few[labels[:14] == label]).sum() == 6  # two candidates for each of three slots, whatever the third is
    assert shares["lm"] > shares["lm-any"]


def test_words_whose_vectors_have_not_moved_stay_and_the_share_of_others_is_noted(real, tmp_path):
    changed = {}
    for inner, lr in ((1, 1e-6), (10, 0.3)):
        ctx = context(tmp_path)
        distil(of("gradmm", pool=6, outer=1, inner=inner, lr=lr, rho=0.0, noise=0.0, candidates=1), real, ctx)
        changed[lr] = ctx.diagnostics["changed_frac"]
    assert changed[1e-6] == 0
    assert changed[0.3] > 0.1


def test_halves_part_every_group_and_leave_out_single_texts():
    groups = np.array([0, 1, 0, 2, 0, 2, 0, 2])
    first, second, both = halves(groups, np.random.default_rng(0))
    assert both.tolist() == [0, 2]
    assert not set(first) & set(second)
    assert sorted([*first, *second]) == [0, 2, 3, 4, 5, 6, 7]
    assert np.bincount(groups[first]).tolist() == [2, 0, 2]
    assert np.bincount(groups[second]).tolist() == [2, 0, 1]


def test_the_floor_is_the_distance_of_two_halves_and_falls_with_more_texts(real, tmp_path):
    floors = {}
    for size in (6, 30):
        ctx = context(tmp_path)
        distil(of("dm", output="embedding", start="rows", rho=0.0, outer=1, inner=1, real_per_class=size), real, ctx)
        floors[size] = ctx.diagnostics["match_floor"]
    assert 0 < floors[30] < floors[6]


def test_a_head_path_is_one_training_seen_at_several_moments():
    rng = np.random.default_rng(0)
    h = torch.from_numpy(rng.normal(size=(50, 4))).float()
    targets = torch.nn.functional.one_hot(torch.from_numpy(rng.integers(0, 2, 50)), 2).float()
    path = head_path(h, targets, [0, 5, 5, 9], np.random.default_rng(3))
    for steps, head in zip([0, 5, 5, 9], path, strict=True):
        alone = train_head(h, targets, steps, np.random.default_rng(3))
        assert torch.equal(alone.weight_CD, head.weight_CD)
        assert torch.equal(alone.bias_C, head.bias_C)


DILM = {"pool": 5, "batch": 4, "batches": 2, "teachers": 2, "teacher_size": 6}


def test_dilm_brings_its_samples_gradients_nearer_to_the_teachers(real, tmp_path):
    ctx = context(tmp_path)
    made = distil(of("dilm", loops=6, stops=5, refresh=6, lr=3e-3, **DILM), real, ctx)
    assert made.output == "text"
    losses = np.array(ctx.curves["match_loss"]).reshape(6, 5)
    assert losses[-2:].mean() < losses[:2].mean()


def test_without_loops_dilm_is_lm_samples_and_the_shared_model_stays_as_it_is(real, tmp_path):
    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        lm = ctx.task_lm(real, ctx.source(real))
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    plain = distil(of("dilm", loops=0, **DILM), real, context(tmp_path))
    same = distil(of("lm-samples", pool=5), real, context(tmp_path))
    tuned = distil(of("dilm", loops=1, stops=3, lr=1e-2, **DILM), real, context(tmp_path))
    assert plain.fields == same.fields != tuned.fields
    with ctx.cost.phase("y"):
        after = ctx.task_lm(real, ctx.source(real)).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_dilm_weighs_samples_by_likelihood_over_the_longest_length(real, tmp_path):
    """One step, by hand: weights softmax(-NLL / padded length), whole-gradient cosine, and its derivative."""
    plugin = METHODS.get("dilm")
    import tdbench.methods.dilm as module

    ctx = context(tmp_path)
    with ctx.cost.phase("x"):
        source = ctx.source(real)
        lm = ctx.task_lm(real, source)
        tuning = module._Tuning(plugin.Config(**DILM), real, source, lm, ctx)
        pool = tuning._pool(1, 0)
        head = train_head(
            torch.tensor(source.real_features(real)), torch.eye(2)[real.labels_N.tolist()], 3, np.random.default_rng(0)
        )
        teacher = tuning._teachers[0][1]
        distance = tuning._match(head, teacher, pool, 1, 0)
    texts = [members[0] for members in pool.clusters]
    nll, lengths = [], []
    for i in texts:
        row = lm.vocabulary.encode(pool.texts[i], 1)
        with torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([row])).logits[0].float()
        nll.append(float(torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(row[1:]), reduction="sum")))
        lengths.append(len(row) - 1)
    weights = np.exp(-np.array(nll) / max(lengths))
    weights /= weights.sum()

    def gradient(h: torch.Tensor, weight: np.ndarray) -> np.ndarray:
        made = np.zeros(head.weight_CD.numel() + 2)
        for x, w in zip(h, weight, strict=True):
            leaf = [head.weight_CD.clone().requires_grad_(True), head.bias_C.clone().requires_grad_(True)]
            loss = torch.nn.functional.cross_entropy((leaf[0] @ x + leaf[1]).unsqueeze(0), torch.tensor([1]))
            parts = torch.autograd.grad(loss, leaf)
            made += w * torch.cat([part.flatten() for part in parts]).numpy()
        return made

    a, b = gradient(pool.h_ND[texts], weights), gradient(teacher, np.full(len(teacher), 1 / len(teacher)))
    expected = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert distance == pytest.approx(expected, abs=2e-3)  # the language model computes in the processor's type
    grads = [p.grad for p in tuning._lm.model.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in grads) > 0
    assert all(p.grad is None for p in lm.model.parameters())


def test_budgets_in_tokens_are_left_out_by_dilm():
    skip = METHODS.get("dilm")().supports(small_task("pairs").task, Budget("tok60", tokens_per_class=60))
    assert skip is not None
    assert "per class" in skip.reason


class _Stage:
    """The part of a record that a figure needs."""

    def __init__(self, curves: dict[str, tuple[float, ...]]) -> None:
        self.audit = None
        self.id, self.distil = "abcdef0123", type("D", (), {"curves": curves})
        self.cell = type("C", (), {"task": "sst2", "budget": "dpc10", "set_index": 0})
        self.method_facts = type("F", (), {"label": "gradmm"})


def test_curves_are_drawn_one_panel_each_and_their_absence_is_said(tmp_path: Path):
    record = _Stage({"match_loss": (3.0, 2.0, 1.0), "admm_primal": (1.0, 0.5, 0.4)})
    draw_curves(record, tmp_path / "new" / "x.svg")  # type: ignore[arg-type]
    drawn = (tmp_path / "new" / "x.svg").read_text()
    assert drawn.count('id="axes_') == 2
    with pytest.raises(UsageError, match="has no curves"):
        draw_curves(_Stage({}), tmp_path / "x.svg")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"does not end in \.svg, \.pdf, \.png"):
        draw_curves(record, tmp_path / "x.doc")  # type: ignore[arg-type]
