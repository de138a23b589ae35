"""Private evolution and mean matching against literal versions of their definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tdbench.bench.budget import Budget
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.public import PublicPool
from tdbench.bench.errors import UsageError
from tdbench.bench.privacy.private_method import Release, release_from
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.private import HashedEncoder, small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.methods.dp_mean_match import herd
from tdbench.methods.dp_pe import lead, winners
from tests.unit.tiny_models import context

KIND = "four classes"
ROWS, POOL = small_task(KIND).train, small_pool(KIND)


def release(name: str, per_class: int = 3, seed: int = 0, kind: str = KIND, **options: Any) -> Release:
    ctx = replace(context(seed), public_pool=small_pool(kind))
    plugin = METHODS.get(name)
    method = plugin(plugin.Config(**options))
    return release_from(method, small_task(kind).train, Budget("dpc", per_class=per_class), ctx)


def texts_of(found: Release) -> list[tuple[str, int]]:
    assert found.made.fields is not None
    return list(zip(found.made.fields["text"], found.made.labels_M.tolist(), strict=True))


def test_herding_chooses_what_an_exhaustive_search_of_every_step_chooses():
    rng = np.random.default_rng(0)
    candidates, mean = rng.standard_normal((30, 5)), rng.standard_normal(5) / 3
    free = np.ones(30, dtype=bool)
    free[7] = False
    expected: list[int] = []
    for _ in range(6):
        left = [i for i in range(30) if free[i] and i not in expected]
        misses = [np.linalg.norm(candidates[[*expected, i]].mean(0) - mean) for i in left]
        expected.append(left[int(np.argmin(misses))])
    assert herd(candidates, mean, 6, free) == expected


def test_a_lead_is_over_the_mean_other_class():
    votes = np.array([[5.0, 0.0, 2.0], [1.0, 4.0, 2.0], [0.0, 2.0, 2.0]])
    assert lead(votes)[0].tolist() == [4.5, -3.0, 0.0]
    assert winners(np.array([[1.0, np.nan, 3.0, 2.0]]), 3).tolist() == [[2, 3, 0]]
    # Candidate 0 goes to the class that wants it more; a class without favourites takes what is left, and none wins twice.
    assert winners(np.array([[9.0, 8.0, 7.0, 1.0], [5.0, 1.0, 2.0, 0.5]]), 2).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("name", "option"), [("dp_pe", "pool"), ("dp_pe", "candidates"), ("dp_mean_match", "candidates")]
)
@pytest.mark.parametrize("epsilon", [0.0, 4.0])
def test_too_few_candidates_are_an_error_before_anything_is_asked(name, option, epsilon):
    with pytest.raises(UsageError, match="12 texts are wanted and 5 are candidates"):
        release(name, epsilon=epsilon, **{option: 5})


def test_one_exact_round_of_evolution_is_a_count_of_nearest_texts():
    found = release("dp_pe", per_class=2, epsilon="inf", rounds=1, candidates=25)
    rows = POOL.rows(("text",), context().rng("candidates").permutation(len(POOL.texts))[:25])
    encoder = HashedEncoder()
    near = (encoder.embed(ROWS, CostMeter()) @ encoder.embed(rows, CostMeter()).T).argmax(1)
    votes = np.stack([np.bincount(near[ROWS.labels_N == label], minlength=25) for label in range(4)]).astype(float)
    ahead = np.stack([votes[c] - (votes.sum(0) - votes[c]) / 3 for c in range(4)])
    best = [[i for i in np.argsort(-ahead[c], kind="stable") if ahead[:, i].argmax() == c][:2] for c in range(4)]
    assert [text for text, _ in texts_of(found)] == [rows.fields["text"][i] for own in best for i in own]


@pytest.mark.parametrize("ballot", ["shared", "own"])
def test_survivors_bring_their_nearest_public_texts_into_the_next_round(ballot):
    found = release("dp_pe", epsilon="inf", rounds=3, candidates=15, variations=3, ballot=ballot)
    first = set(POOL.rows(("text",), context().rng("candidates").permutation(len(POOL.texts))[:15]).fields["text"])
    texts = {text for text, _ in texts_of(found)}
    assert texts <= set(POOL.texts)
    assert texts - first
    assert found.statement.queries[0].steps == 3


def test_more_rounds_mean_more_noise_in_each():
    noise = [release("dp_pe", rounds=rounds).statement.queries[0].noise_multiplier for rounds in (1, 4)]
    assert noise[1] == pytest.approx(2 * noise[0], rel=2e-3)


@pytest.mark.parametrize("name", ["dp_pe", "dp_mean_match"])
def test_without_noise_texts_stand_for_the_class_whose_rows_they_resemble(name):
    # Ideal public texts: the test texts themselves, of which the class is known.
    test = small_task(KIND).test
    pool = PublicPool(tuple(dict.fromkeys(test.joined())), ())
    label_of = dict(zip(test.joined(), test.labels_N.tolist(), strict=True))
    plugin = METHODS.get(name)
    right: dict[Any, list[bool]] = {"inf": [], 0.0: []}
    for epsilon, seed in ((e, s) for e in right for s in range(4)):
        ctx = replace(context(seed), public_pool=pool)
        made = release_from(plugin(plugin.Config(epsilon=epsilon)), ROWS, Budget("dpc5", per_class=5), ctx).made
        assert made.fields is not None
        right[epsilon] += [label_of[t] == c for t, c in zip(made.fields["text"], made.labels_M, strict=True)]
    # Eighty texts of four classes: guessing is right in 25 %, with a standard error of 5 %.
    assert np.mean(right[0.0]) < 0.36
    assert np.mean(right["inf"]) > 0.36


@pytest.mark.parametrize("name", ["dp_pe", "dp_mean_match"])
def test_sets_differ_by_seed_fill_their_budget_and_hold_pairs(name):
    first, second = release(name), release(name, seed=1)
    assert texts_of(first) != texts_of(second)
    assert np.bincount(first.made.labels_M).tolist() == [3] * 4
    assert len({text for text, _ in texts_of(first)}) == 12
    pairs = release(name, kind="pairs").made
    assert pairs.fields is not None
    assert {key: len(column) for key, column in pairs.fields.items()} == {"premise": 9, "hypothesis": 9}
