"""Games on made-up sets: what an attack of known strength comes to, guards, bounds, and their place on the board."""

from __future__ import annotations

import numpy as np
import pytest

from bench.budget import Budget
from bench.context import Context
from bench.cost import CostMeter
from bench.data.loading import load_task
from bench.data.text import LabelledText
from bench.distilled import DistilledSet
from bench.errors import DataError
from bench.experiment.audit_record import AuditResult
from bench.models.encoder import CachedEncoder, SlicedEncoder, TfidfEncoder, TransformerEncoder
from bench.privacy.attacks.text import TextAttacks
from bench.privacy.games import Match
from bench.privacy.guards import blind_auc, check_blind
from bench.privacy.pool import Pool, compared, draw_pool
from bench.privacy.released import Released
from bench.privacy.statistics import estimate_auc
from bench.registry import METHODS, TASKS
from leaderboard.audits import Audits
from leaderboard.stats import holm

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
    game = Match(
        pool=pool,
        runs=[released(pool.members(run)) for run in range(n_runs)],
        null=released(pool.null_rows),
        attacks=attacks,
        members_SG=np.array([pool.coins(run) for run in range(n_runs)]),
        **more,
    )
    return AuditResult.model_validate({**game.play(), **MORE})


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
    assert found.n_members == tuple(int(pool.coins(run).sum()) for run in range(4))
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
    game = Match(pool, [released(pool.members(0))], None, Leaky(pool, 1.0), pool.coins(0)[None])
    found = AuditResult.model_validate({**game.play(), **MORE})
    assert found.attacks[0].auc_low > 0.6
    assert found.attacks[0].null_auc is None
    assert found.epsilon_lower > 0.2
    assert found.exact_null is None


def test_members_that_a_classifier_tells_apart_stop_the_audit(data):
    train = data.train
    ids = train.row_ids_N[train.labels_N < 2]  # members are two of the four classes
    pool, members = compared(data, train.take(train.positions_of_rows(ids)), 800, 400)
    found = blind_auc(pool, members[None])
    assert found.low > 0.6
    with pytest.raises(DataError, match="tells members from non-members"):
        check_blind(found)


def test_fair_coins_pass_the_blind_classifier(pool):
    runs = np.array([pool.coins(run) for run in (0, 2, 4)])
    check_blind(blind_auc(pool, runs))
    each = [blind_auc(pool, run[None]) for run in runs]
    worst = max(each, key=lambda one: one.low)
    together = blind_auc(pool, runs)
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
    game = Match(pool, runs, None, attacks, np.array([pool.coins(run) for run in range(6)]))
    found = AuditResult.model_validate({**game.play(), **MORE})
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
    sides = np.array([pool.coins(run) for run in (0, 2, 4)])
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


@pytest.fixture
def audited(board_records, pool):
    """Sets of a method, an audit of it, and a function that changes the audit."""
    records = board_records.runs("m", {"minilm": [[0.5], [0.6], [0.7]], "textcnn": [[0.5], [0.6], [0.7]]})
    result = match(pool, Leaky(pool, 0.5, n_repeated=3), claim=(0.1, 1e-5))
    train = next(record for record in records if record.stage == "train")

    def audit(cell: dict | None = None, **changes):
        about = train.cell.model_copy(update={"set_index": 0, **(cell or {})})
        parts = {"stage": "audit", "id": "a", "train": None, "learner": "minilm", "audit": result, "cell": about}
        return train.model_copy(update={**parts, "seed_index": None, **changes})

    return records, result, audit


def rows_by_learner(records):
    from leaderboard.rows import build_rows

    return {row["learner"]: row for row in build_rows(records)}


def test_an_audit_stands_on_the_rows_of_its_method(audited):
    from leaderboard.privacy_columns import PRIVACY_COLUMNS

    records, result, audit = audited
    rows = rows_by_learner([*records, audit()])
    for learner in ("minilm", "textcnn"):
        assert rows[learner]["t1_auc"] == result.attacks[0].auc
        assert (rows[learner]["t1_exact_matches"], rows[learner]["audit_id"]) == (3, "a")
        assert rows[learner]["t1_members"] == min(result.n_member_rows)  # the run with the largest share
        assert rows[learner]["claim_refuted"]
    texts = {column.key: column.show(rows["minilm"]) for column in PRIVACY_COLUMNS}
    assert texts["copied"] == f"3 of {min(result.n_member_rows)}"
    assert texts["t1_auc"].startswith(f"{result.attacks[0].auc:.3f} [")
    assert texts["t2_auc"] == "–"
    assert texts["epsilon_lower"] == f"{result.epsilon_lower:.2f}"
    assert texts["epsilon"] == "–"  # the distil records promise nothing
    private = rows["minilm"] | {"epsilon": 0.1}
    assert next(c for c in PRIVACY_COLUMNS if c.key == "epsilon").show(private) == "0.1 REFUTED"


@pytest.mark.parametrize(
    "other",
    [
        {"data_fingerprint": "another"},
        {"method_version": 9},
        {"budget": "dpc1"},
        {"source": {"name": "x"}},
        {"task": "t"},
    ],
)
def test_an_audit_of_something_else_stands_nowhere(audited, other):
    records, _, audit = audited
    assert rows_by_learner([*records, audit(other)])["minilm"]["t1_auc"] is None


def test_custom_and_failed_audits_stay_off_the_board(audited):
    records, _, audit = audited
    for one in (audit(custom=True), audit(status="failed")):
        assert rows_by_learner([*records, one])["minilm"]["t1_auc"] is None


def test_newer_code_and_more_games_come_first(audited):
    records, result, audit = audited
    both = audit(id="both", audit=result.model_copy(update={"games": ("text", "model")}), created="2020")
    newer = audit(id="newer", audit=result.model_copy(update={"audit_version": 2}), created="2019")
    assert rows_by_learner([*records, audit(), both])["minilm"]["audit_id"] == "both"
    assert rows_by_learner([*records, audit(), both, newer])["minilm"]["audit_id"] == "newer"


def test_a_null_run_that_leaks_voids_the_audit(audited):
    from leaderboard.privacy_columns import PRIVACY_COLUMNS

    records, result, audit = audited
    leaky = result.attacks[0].model_copy(update={"null_p": 1e-4, "null_auc": 0.6})
    row = rows_by_learner([*records, audit(audit=result.model_copy(update={"attacks": (leaky,)}))])["minilm"]
    assert row["t1_void"]
    assert not row["claim_refuted"]
    shown = {column.key: column.show(row) for column in PRIVACY_COLUMNS}
    assert (shown["t1_auc"], shown["epsilon_lower"]) == ("void", "void")
    # Twenty audits: one small p value among them is chance.
    chance = result.attacks[0].model_copy(update={"null_p": 0.01})
    many = [
        audit(
            {"method": f"m{i}"},
            id=f"a{i}",
            audit=result.model_copy(update={"attacks": (chance if i == 0 else result.attacks[0],)}),
        )
        for i in range(20)
    ]
    assert not any(one.void for one in Audits(many)._by_key.values())
