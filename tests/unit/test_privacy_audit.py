"""Games on made-up sets: what an attack of known strength comes to, guards, controls and bounds."""

from __future__ import annotations

import numpy as np
import pytest

from tdbench.bench.budget import Budget
from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import DataError
from tdbench.bench.models.encoder import CachedEncoder, SlicedEncoder, TfidfEncoder, TransformerEncoder
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.audit import Audit, baseline_auc, check_baseline
from tdbench.bench.privacy.pool import Pool, compared, draw_pool
from tdbench.bench.privacy.released import Released
from tdbench.bench.privacy.statistics import estimate_auc
from tdbench.bench.record import AuditResult
from tdbench.bench.registry import METHODS, TASKS
from tdbench.leaderboard.stats import holm

MORE = {"audit_version": 1, "settings": {"name": "text"}, "games": ("text",), "set_sha256s": ()}


@pytest.fixture(scope="module")
def data():
    plugin = TASKS.get("agnews")
    return load_task(plugin(plugin.Config()), "standin", None)


@pytest.fixture(scope="module")
def pool(data) -> Pool:
    return draw_pool(data, 1200, 800)


class Leaky:
    """An attack that scores members higher by so many standard deviations, and sets that repeat some members."""

    headline = "told"

    def __init__(self, pool: Pool, shift: float, n_repeated: int = 0) -> None:
        self.pool, self.shift, self.n_repeated = pool, shift, n_repeated

    def scores(self, targets, pairs_S):
        rng = np.random.default_rng(0)
        made = [rng.normal(size=len(self.pool.rows)) + self.shift * self._is_in(target) for target in targets]
        return {"told": np.array(made), "deaf": np.zeros((len(targets), len(self.pool.rows)))}

    def repeated(self, target):
        hit = np.zeros(len(self.pool.rows), dtype=bool)
        hit[np.flatnonzero(self._is_in(target))[: self.n_repeated]] = True
        return hit

    def n_copied(self, target, among_R):
        return int((self.repeated(target) & among_R).sum())

    def _is_in(self, target) -> np.ndarray:
        return np.isin(self.pool.rows.row_ids_N, target.real.row_ids_N)


def released(rows: LabelledText, scores=None) -> Released:
    return Released(DistilledSet.from_rows(rows, [0, 1]), rows, scores)


def match(pool: Pool, attacks, n_runs: int = 4, **more) -> AuditResult:
    game = Audit(
        pool=pool,
        runs=[released(pool.members(run)) for run in range(n_runs)],
        null=released(pool.null_rows),
        attacks=attacks,
        members_SG=np.array([pool.membership_mask(run) for run in range(n_runs)]),
        **more,
    )
    return AuditResult.model_validate({**game.evaluate(), **MORE})


def test_an_attack_of_known_strength_comes_out_as_that(pool):
    from scipy.stats import norm

    found = match(pool, Leaky(pool, 0.5))
    told, deaf = found.attacks
    truth = norm.cdf(0.5 / np.sqrt(2))
    assert told.headline
    assert not deaf.headline
    assert told.auc_low <= truth <= told.auc_high
    assert told.null_low <= 0.5 <= told.null_high
    assert (deaf.auc, deaf.se, deaf.detectable_auc) == (0.5, 0.0, None)
    assert len(told.roc_tpr) == 31
    assert deaf.roc_tpr == ()
    assert told.tpr_at_1pct is None  # fewer than 1,000 non-members
    assert found.n_members == tuple(int(pool.membership_mask(run).sum()) for run in range(4))
    assert all(a + b == pool.n_groups for a, b in zip(found.n_members, found.n_non_members, strict=True))


def test_guesses_about_a_mechanism_that_is_private_stay_below_its_promise(pool):
    """Randomised response: every coin is told rightly with probability e^1 / (1 + e^1)."""
    rng = np.random.default_rng(1)

    class Response(Leaky):
        def scores(self, targets, pairs_S):
            truth = rng.random((len(targets), pool.n_groups)) < np.e / (1 + np.e)
            said = [self._is_in(t) == truth[i][pool.group_R] for i, t in enumerate(targets)]
            return {"told": np.array(said, dtype=float) + 1e-6 * rng.random((len(targets), len(pool.rows)))}

    found = match(pool, Response(pool, 0.0), claim=(1.0, 0.0))
    ranking = next(test for test in found.coin_tests if test.test == "ranking")
    assert 0.5 < ranking.epsilon_lower < 1.0
    assert found.epsilon_claim == 1.0


def test_copies_refute_a_promise(pool):
    found = match(pool, Leaky(pool, 0.0, n_repeated=40), claim=(1.0, 1e-5))
    phantom = found.coin_tests[0]
    n_single = int(pool.single_G.sum())
    assert (phantom.test, phantom.right, phantom.guesses) == ("phantom", phantom.guesses, phantom.guesses)
    assert 70 <= phantom.guesses <= 80  # 40 in each of two runs, without those that have a near-duplicate
    assert phantom.coins == 2 * n_single
    assert found.epsilon_lower > 1.0
    assert found.exact_members == (40,) * 4


def test_coins_that_nobody_threw_bound_nothing(pool):
    found = match(pool, Leaky(pool, 2.0, n_repeated=40), fair=False)
    assert (found.coin_tests, found.epsilon_lower) == ((), 0.0)


def test_one_run_alone_has_an_interval_and_bounds(pool):
    game = Audit(pool, [released(pool.members(0))], None, Leaky(pool, 1.0), pool.membership_mask(0)[None])
    found = AuditResult.model_validate({**game.evaluate(), **MORE})
    assert found.attacks[0].auc_low > 0.6
    assert found.attacks[0].null_auc is None
    assert found.epsilon_lower > 0.2
    assert found.exact_null is None


def test_members_that_a_classifier_tells_apart_stop_the_audit(data):
    train = data.train
    ids = train.row_ids_N[train.labels_N < 2]  # members are two of the four classes
    pool, members = compared(data, train.take(train.positions_of_rows(ids)), 800, 400)
    found = baseline_auc(pool, members[None])
    assert found.low > 0.6
    with pytest.raises(DataError, match="tells members from non-members"):
        check_baseline(found)


def test_fair_coins_pass_the_blind_classifier(pool):
    runs = np.array([pool.membership_mask(run) for run in (0, 2, 4)])
    check_baseline(baseline_auc(pool, runs))
    each = [baseline_auc(pool, run[None]) for run in runs]
    worst = max(each, key=lambda one: one.low)
    together = baseline_auc(pool, runs)
    assert together.auc == worst.auc
    assert together.high - together.low > worst.high - worst.low  # three were tried


def test_given_members_are_compared_with_as_many_others(data):
    rows = data.train.take(np.arange(0, 3000, 2))
    pool, members = compared(data, rows, 600, 300)
    _, first = np.unique(pool.group_R, return_index=True)
    inside = np.isin(pool.rows.row_ids_N, rows.row_ids_N)
    assert (members == inside[first]).all()
    assert abs(inside.mean() - 0.5) < 0.05
    for group in range(pool.n_groups):
        assert len(set(inside[pool.group_R == group])) == 1
    assert not set(pool.auxiliary.row_ids_N) & set(rows.row_ids_N)
    with pytest.raises(DataError, match="an audit needs at least 100 members"):
        compared(data, data.train.take(np.arange(50)), 600, 300)


CONTROLS = ("random", "trigram", "null")


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_come_out_as_they_must(control, data, pool):
    """The three controls on the stand-in, whose sentences share their grammar: copies are found, samples leak, other rows do not."""
    plugin = METHODS.get("random" if control == "null" else control)

    def made(run: int) -> Released:
        rows = pool.null_rows if control == "null" else pool.members(run)
        context = Context(run, "cpu", CostMeter(), None, lambda: None)
        return Released(plugin().distil(rows, Budget("dpc20", per_class=20), context), rows)

    runs = [made(run) for run in range(6)]
    attacks = TextAttacks(pool.rows, pool.auxiliary, None)
    game = Audit(pool, runs, None, attacks, np.array([pool.membership_mask(run) for run in range(6)]))
    found = AuditResult.model_validate({**game.evaluate(), **MORE})
    headline = found.attacks[0]
    if control == "random":
        assert found.exact_members == (80,) * 6
        expected = 0.5 + 80 / (2 * np.mean(found.n_members))
        exact = next(attack for attack in found.attacks if attack.name == "exact")
        assert exact.auc_low <= expected <= exact.auc_high
        assert found.epsilon_lower > 2
    elif control == "trigram":
        assert headline.auc_low > 0.5
    else:
        assert min(holm(_null_p(pool, attacks, runs[0]))) > 0.05
        assert found.exact_members == (0,) * 6
        assert found.epsilon_lower == 0


def _null_p(pool: Pool, attacks: TextAttacks, run: Released) -> list[float]:
    sides = np.array([pool.membership_mask(run) for run in (0, 2, 4)])
    scores = attacks.scores([run], [0])
    return [estimate_auc(np.tile(pool.by_group(s[0]), (3, 1)), sides, [0, 1, 2]).p_value for s in scores.values()]


def test_sliced_features_are_those_of_the_whole_and_cost_their_share(tmp_path, monkeypatch):
    asked: list[int] = []

    class Counting(TransformerEncoder):
        def __init__(self) -> None:
            self.identity = {"kind": "test"}

        def pooled(self, text, cost, tick=lambda _: None):
            asked.append(len(text))
            return np.array([[len(one), 1.0] for one in text.joined()], dtype=np.float32)

    whole = LabelledText({"text": ["a", "bb", "ccc", "dddd"]}, np.zeros(4, int), ("x",), np.array([5, 6, 7, 8]))
    inner = CachedEncoder(Counting(), tmp_path)
    sliced, cost = SlicedEncoder(inner, whole), CostMeter()
    expected = inner.embed(whole, CostMeter())
    assert (sliced.embed(whole.take([2, 0]), cost) == expected[[2, 0]]).all()
    assert asked == [4]
    full = CostMeter()
    inner.embed(whole, full)
    assert cost.phases[-1].cpu_s == pytest.approx(full.phases[-1].cpu_s / 2)
    stranger = LabelledText(
        {"text": ["zzzzz"]}, np.zeros(1, int), ("x",), np.array([5])
    )  # a known id with another text
    sliced.embed(stranger, cost)
    assert asked == [4, 1]
    # An encoder that is fitted on what it encodes must never see the rest of the pool.
    seen: list[int] = []

    class Fitted(TfidfEncoder):
        def embed(self, text, cost, tick=lambda _: None):
            seen.append(len(text))
            return np.ones((len(text), 2), dtype=np.float32)

    SlicedEncoder(CachedEncoder(Fitted(), tmp_path), whole).embed(whole.take([1]), cost)
    assert seen == [1]
