"""The games: what attackers make of a method's released sets, and how sure one may be of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.privacy.attacks import model, text
from bench.privacy.guards import blind_auc, check_blind
from bench.privacy.one_run import epsilon_lower, p_value
from bench.privacy.statistics import estimate_auc, estimate_tpr, roc_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bench.data.text import LabelledText
    from bench.distilled import DistilledSet
    from bench.privacy.pool import Pool

    Floats = NDArray[np.float64]
    Embed = Callable[[LabelledText], NDArray[np.float32]]

ALPHA = 0.05
DELTA = 1e-5
"""For methods that promise none."""
RANKED_SHARE = 0.1
"""Share of the candidates that the ranking test guesses about, half of them from each end."""


@dataclass(frozen=True, eq=False)
class Run:
    """One released set.

    Args:
        made: The set.
        real: The rows it was made from.
        scores_QC: The target model's scores of candidates and population; None where the game does not ask for them.
    """

    made: DistilledSet
    real: LabelledText
    scores_QC: NDArray[np.float32] | None = None

    @property
    def released(self) -> LabelledText:
        """The set as text."""
        return self.made.resolve(self.real)


@dataclass(frozen=True, eq=False)
class _Played:
    """One attack's scores by group, in all runs and in the null run."""

    name: str
    game: str
    headline: bool
    scores_SG: Floats
    null_G: Floats | None


def play(
    pool: Pool,
    runs: Sequence[Run],
    null: Run | None,
    *,
    members_SG: NDArray[np.bool_] | None = None,
    embed: Embed | None,
    claim: tuple[float, float] | None = None,
    tick: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Plays all games that the runs allow.

    Args:
        pool: Candidates and auxiliary rows.
        runs: Runs 0, 1, ... of the pool's coins.
        null: A run on auxiliary rows.
        members_SG: Who was a member, where it was not the pool's coins that decided.
        embed: Features of texts by a public encoder; None leaves out the attack by nearest neighbours.
        claim: Epsilon and delta that the method promises.
        tick: Receives the finished fraction.

    Returns:
        The fields of `AuditResult` that the games decide.

    Raises:
        DataError: Members and non-members differ by themselves.
    """
    coins_SG = np.array([pool.coins(run) for run in range(len(runs))]) if members_SG is None else members_SG
    blind = blind_auc(pool, coins_SG[0])
    check_blind(blind)
    tick(0.2)
    candidates = text.Candidates(pool.rows, pool.auxiliary)
    played = [*_text_game(pool, candidates, runs, null, embed)]
    tick(0.8)
    if all(run.scores_QC is not None for run in runs):
        played += _model_game(pool, runs, null, coins_SG)
    pairs = [run // 2 for run in range(len(runs))]
    epsilon, delta = claim or (None, DELTA)
    tests = _coin_tests(pool, candidates, runs, played, coins_SG, delta)
    member_SR = coins_SG[:, pool.group_R]
    texts = [run.released.joined() for run in runs]
    return {
        "n_candidates": len(pool.rows),
        "n_groups": pool.n_groups,
        "n_auxiliary": len(pool.auxiliary),
        "n_members": tuple(coins_SG.sum(axis=1).tolist()),
        "n_non_members": tuple((~coins_SG).sum(axis=1).tolist()),
        "n_released": tuple(len(run.made) for run in runs),
        "exact_members": tuple(candidates.n_copied(t, m) for t, m in zip(texts, member_SR, strict=True)),
        "exact_non_members": tuple(candidates.n_copied(t, ~m) for t, m in zip(texts, member_SR, strict=True)),
        "exact_null": None
        if null is None
        else candidates.n_copied(null.released.joined(), np.ones(len(pool.rows), bool)),
        "attacks": tuple(_result(attack, coins_SG, pairs) for attack in played),
        "coin_tests": tuple(tests),
        "epsilon_lower": max((test["epsilon_lower"] for test in tests), default=0.0),
        "epsilon_claim": epsilon,
        "delta": delta,
        "blind_auc": blind.auc,
        "blind_low": blind.low,
        "blind_high": blind.high,
    }


def _text_game(
    pool: Pool, candidates: text.Candidates, runs: Sequence[Run], null: Run | None, embed: Embed | None
) -> list[_Played]:
    every = [*runs, *([] if null is None else [null])]
    scores = text.text_scores(candidates, [run.released for run in every], embed)
    return [_by_group(pool, name, "text", name == text.HEADLINE, scores_SR, null) for name, scores_SR in scores.items()]


def _model_game(pool: Pool, runs: Sequence[Run], null: Run | None, coins_SG: NDArray[np.bool_]) -> list[_Played]:
    queries, n = pool.queries, len(pool.rows)

    def said(every: Sequence[Run]) -> tuple[Floats, Floats]:
        logs = [model.true_class_log(run.scores_QC, queries.labels_N) for run in every if run.scores_QC is not None]
        return np.array([own for own, _ in logs]), np.array([others for _, others in logs])

    # The null run is a target of its own pair, whose references are all others; nobody is its member.
    every = [*runs, *([] if null is None else [null])]
    own_SQ, others_SQ = said(every)
    pairs = [run // 2 for run in range(len(runs))]
    scores = model.model_scores(
        own_SQ[:, :n],
        others_SQ[:, :n],
        own_SQ[:, n:],
        coins_SG[:, pool.group_R],
        pairs,
    )
    name_of_headline = model.HEADLINE if model.HEADLINE in scores else "loss"
    return [_by_group(pool, name, "model", name == name_of_headline, found, null) for name, found in scores.items()]


def _by_group(pool: Pool, name: str, game: str, headline: bool, scores_SR: Floats, null: Run | None) -> _Played:
    grouped = np.array([pool.by_group(scores_R) for scores_R in scores_SR])
    if null is None:
        return _Played(name, game, headline, grouped, None)
    return _Played(name, game, headline, grouped[:-1], grouped[-1])


def _result(attack: _Played, coins_SG: NDArray[np.bool_], pairs: list[int]) -> dict[str, Any]:
    found = estimate_auc(attack.scores_SG, coins_SG, pairs)
    tpr = estimate_tpr(attack.scores_SG, coins_SG, 0.01)
    made: dict[str, Any] = {
        "name": attack.name,
        "game": attack.game,
        "headline": attack.headline,
        "auc": found.auc,
        "auc_low": found.low,
        "auc_high": found.high,
        "se": found.se,
        "detectable_auc": found.detectable,
        "run_aucs": found.by_run,
        "roc_tpr": roc_curve(attack.scores_SG, coins_SG) if attack.headline else (),
    }
    if tpr is not None:
        made |= {"tpr_at_1pct": tpr.tpr, "tpr_low": tpr.low, "tpr_high": tpr.high}
    if attack.null_G is not None:
        # Against one side of each pair: against both, what one adds the other takes away, and the mean is 0.5 whatever the scores.
        sides_SG = coins_SG[::2]
        null = estimate_auc(np.tile(attack.null_G, (len(sides_SG), 1)), sides_SG, list(range(len(sides_SG))))
        made |= {"null_auc": null.auc, "null_low": null.low, "null_high": null.high, "null_p": null.p_value}
    return made


def _coin_tests(
    pool: Pool,
    candidates: text.Candidates,
    runs: Sequence[Run],
    played: list[_Played],
    coins_SG: NDArray[np.bool_],
    delta: float,
) -> list[dict[str, Any]]:
    """Guesses memberships and counts what is right; the level is shared among the tests.

    Only candidates without a near-duplicate, and one run of each pair: their coins are thrown anew, and a set depends on its own run's alone, so
    the guesses of all runs are those of one larger run.
    """
    single_G, thrown = pool.single_G, range(0, len(runs), 2)
    n_ranked = int(RANKED_SHARE * single_G.sum()) // 2
    nobody_G = np.zeros_like(single_G)
    tests: list[tuple[str, str, list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]]] = []
    hits = [pool.by_group(candidates.hit(runs[run].released.joined()).astype(float)) > 0 for run in thrown]
    tests.append(("phantom", "text", [(hit_G & single_G, nobody_G) for hit_G in hits]))
    for attack in played:
        if attack.headline:
            ends = [_ends(attack.scores_SG[run], single_G, n_ranked) for run in thrown]
            tests.append(("ranking", attack.game, ends))
    found = []
    for name, game, guesses in tests:
        total = right = 0
        for run, (yes_G, no_G) in zip(thrown, guesses, strict=True):
            total += int((yes_G | no_G).sum())
            right += int((yes_G & coins_SG[run]).sum() + (no_G & ~coins_SG[run]).sum())
        n_coins = len(guesses) * int(single_G.sum())
        bound = epsilon_lower(total, right, ALPHA / len(tests), delta, n_coins)
        facts = {"test": name, "game": game, "coins": n_coins, "guesses": total, "right": right}
        found.append({**facts, "p_value": p_value(total, right, 0.0), "epsilon_lower": bound})
    return found


def _ends(scores_G: Floats, among_G: NDArray[np.bool_], n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the n highest and the n lowest of some candidates."""
    places = np.flatnonzero(among_G)
    order = places[np.argsort(scores_G[places], kind="stable")]
    high_G, low_G = np.zeros_like(among_G), np.zeros_like(among_G)
    high_G[order[len(order) - n :]], low_G[order[:n]] = True, True
    return high_G, low_G
