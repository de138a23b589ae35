"""Privacy audit: membership inference from released sets (set MIA) and from models trained on them (model MIA).

A sanity baseline that sees no set must fail first, or an attack would measure how members were chosen.

Shapes: S runs, G candidate groups, R candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.errors import DataError
from tdbench.bench.privacy.attacks import model
from tdbench.bench.privacy.released import Released, less_references, pairs_of
from tdbench.bench.privacy.statistics import epsilon_lower, estimate_auc, estimate_tpr, p_value, roc_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tdbench.bench.privacy.pool import Pool

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

ALPHA = 0.05

DELTA = 1e-5
"""For methods that promise none."""

RANKED_SHARE = 0.1
"""Share of the candidates that the ranking test guesses about, half of them from each end."""


class SetAttacks(Protocol):
    """Attacks on released sets (set MIA)."""

    headline: str

    def scores(self, targets: Sequence[Released], pairs_S: Sequence[int]) -> dict[str, Floats]:
        """Returns attack -> (T, R) scores."""
        ...

    def repeated(self, target: Released) -> Flags:
        """Returns which of the R candidates a set repeats."""
        ...

    def n_copied(self, target: Released, among_R: Flags) -> int:
        """Counts what a set copies of some candidates."""
        ...


@dataclass(frozen=True, eq=False)
class _AttackScores:
    """One attack's scores by group, in all runs and in the null run."""

    name: str
    game: Literal["text", "model"]
    headline: bool
    scores_SG: Floats
    null_G: Floats | None
    alone_SR: Floats
    """The same by candidate, of each run by itself: without references of other runs."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Audit of one method: all its runs, ready to be attacked.

    Args:
        pool: Candidates and auxiliary rows.
        runs: Runs 0, 1, ... of the pool's membership masks.
        null: A run on auxiliary rows, or None.
        attacks: Attacks on the sets.
        members_SG: Who was a member in each run.
        claim: Epsilon and delta that the method promises, or None.
        fair: Whether memberships were drawn independently with probability 1/2; tests that rest on it are left out otherwise.
    """

    pool: Pool
    runs: Sequence[Released]
    null: Released | None
    attacks: SetAttacks
    members_SG: Flags
    claim: tuple[float, float] | None = None
    fair: bool = True

    def evaluate(self, tick: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """Runs all attacks and tests that the runs allow.

        Returns:
            The fields of `AuditResult` that attacks and tests decide.

        Raises:
            DataError: Members and non-members differ by themselves.
        """
        baseline = baseline_auc(self.pool, self.members_SG[::2])
        check_baseline(baseline)
        tick(0.2)
        attacked = list(self._attacked())
        tick(0.8)
        epsilon, delta = self.claim or (None, DELTA)
        tests = self._membership_tests(attacked, delta) if self.fair else []
        member_SR = self.members_SG[:, self.pool.group_R]
        copied = [self.attacks.n_copied(run, member_R) for run, member_R in zip(self.runs, member_SR, strict=True)]
        by_chance = [self.attacks.n_copied(run, ~member_R) for run, member_R in zip(self.runs, member_SR, strict=True)]
        everyone_R = np.ones(len(self.pool.rows), dtype=bool)
        return {
            "n_candidates": len(self.pool.rows),
            "n_groups": self.pool.n_groups,
            "n_auxiliary": len(self.pool.auxiliary),
            "n_member_rows": tuple(member_SR.sum(axis=1).tolist()),
            "n_members": tuple(self.members_SG.sum(axis=1).tolist()),
            "n_non_members": tuple((~self.members_SG).sum(axis=1).tolist()),
            "n_released": tuple(len(run.made) for run in self.runs),
            "exact_members": tuple(copied),
            "exact_non_members": tuple(by_chance),
            "exact_null": None if self.null is None else self.attacks.n_copied(self.null, everyone_R),
            "attacks": tuple(self._result(attack) for attack in attacked),
            "coin_tests": tuple(tests),
            "epsilon_lower": max((test["epsilon_lower"] for test in tests), default=0.0),
            "epsilon_claim": epsilon,
            "delta": delta,
            "blind_auc": baseline.auc,
            "blind_low": baseline.low,
            "blind_high": baseline.high,
        }

    @cached_property
    def _pairs_S(self) -> tuple[int, ...]:  # noqa: N802 - a shape suffix
        return pairs_of(len(self.runs))

    @property
    def _targets(self) -> list[Released]:
        return [*self.runs, *([] if self.null is None else [self.null])]

    def _attacked(self) -> Iterator[_AttackScores]:
        for name, scores_TR in self.attacks.scores(self._targets, self._pairs_S).items():
            yield self._by_group(name, "text", scores_TR, headline=name == self.attacks.headline)
        if all(target.scores_QC is not None for target in self._targets):
            n, labels_Q = len(self.pool.rows), self.pool.queries.labels_N
            logs = [model.true_class_log(t.scores_QC, labels_Q) for t in self._targets if t.scores_QC is not None]
            own_TQ, others_TQ = (np.array(part) for part in zip(*logs, strict=True))
            members_SR = self.members_SG[:, self.pool.group_R]
            own_TR, others_TR = own_TQ[:, :n], others_TQ[:, :n]
            scores = model.model_scores(own_TR, others_TR, own_TQ[:, n:], members_SR, self._pairs_S)
            for name, scores_TR in scores.items():
                yield self._by_group(
                    name, "model", scores_TR, headline=name == model.HEADLINE, alone_TR=own_TR - others_TR
                )

    def _by_group(
        self,
        name: str,
        game: Literal["text", "model"],
        scores_TR: Floats,
        *,
        headline: bool,
        alone_TR: Floats | None = None,
    ) -> _AttackScores:
        grouped = np.array([self.pool.by_group(scores_R) for scores_R in scores_TR])
        null_G = None if self.null is None else grouped[-1]
        alone_SR = (scores_TR if alone_TR is None else alone_TR)[: len(self.runs)]
        return _AttackScores(name, game, headline, grouped[: len(self.runs)], null_G, alone_SR)

    def _result(self, attack: _AttackScores) -> dict[str, Any]:
        found = estimate_auc(attack.scores_SG, self.members_SG, self._pairs_S)
        tpr = estimate_tpr(attack.scores_SG, self.members_SG, 0.01)
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
            "roc_tpr": roc_curve(attack.scores_SG, self.members_SG) if attack.headline else (),
        }
        if tpr is not None:
            made |= {"tpr_at_1pct": tpr.tpr, "tpr_low": tpr.low, "tpr_high": tpr.high}
        if attack.null_G is not None:
            # One run of each pair: over both, the same scores add up to 0.5 whatever they are.
            sides_SG = self.members_SG[::2]
            null = estimate_auc(np.tile(attack.null_G, (len(sides_SG), 1)), sides_SG, range(len(sides_SG)))
            made |= {"null_auc": null.auc, "null_low": null.low, "null_high": null.high, "null_p": null.p_value}
        return made

    def _membership_tests(self, attacked: list[_AttackScores], delta: float) -> list[dict[str, Any]]:
        """Guesses memberships and counts what is right; the level is shared among the tests.

        Only candidates without a near-duplicate, and only one run of each pair: its mask was drawn for it alone, and given the sets of
        these runs the masks of different runs are independent, so that all their guesses are those of one larger run. (The other runs
        have complements of the same masks, so nothing of theirs is used, not even as a reference.)
        """
        single_G = self.pool.single_G
        drawn = range(0, len(self.runs), 2)
        nobody_G = np.zeros_like(single_G)
        repeated = [self.pool.by_group(self.attacks.repeated(self.runs[run]).astype(float)) > 0 for run in drawn]
        tests = [("phantom", "text", [(one_G & single_G, nobody_G) for one_G in repeated])]
        for attack in attacked:
            if attack.headline:
                alone_SR = attack.alone_SR[::2]
                scores_SR = less_references(alone_SR, range(len(alone_SR))) if len(alone_SR) > 1 else alone_SR
                ends = [_ends(self.pool.by_group(scores_R), single_G) for scores_R in scores_SR]
                tests.append(("ranking", attack.game, ends))
        found = []
        for name, game, guesses in tests:
            total = right = 0
            for run, (yes_G, no_G) in zip(drawn, guesses, strict=True):
                total += int((yes_G | no_G).sum())
                right += int((yes_G & self.members_SG[run]).sum() + (no_G & ~self.members_SG[run]).sum())
            n_drawn = len(guesses) * int(single_G.sum())
            bound = epsilon_lower(total, right, ALPHA / len(tests), delta, n_drawn)
            facts = {"test": name, "game": game, "coins": n_drawn, "guesses": total, "right": right}
            found.append({**facts, "p_value": p_value(total, right, 0.0), "epsilon_lower": bound})
        return found


def _ends(scores_G: Floats, among_G: Flags) -> tuple[Flags, Flags]:
    """Returns the highest and the lowest of some candidates."""
    places = np.flatnonzero(among_G)
    n = int(RANKED_SHARE * len(places)) // 2
    order = places[np.argsort(scores_G[places], kind="stable")]
    high_G, low_G = np.zeros_like(among_G), np.zeros_like(among_G)
    high_G[order[len(order) - n :]], low_G[order[:n]] = True, True
    return high_G, low_G


BASELINE_FOLDS = 5

BASELINE_LEVEL = 0.99


@dataclass(frozen=True)
class Baseline:
    """Sanity baseline: how well members are distinguished without any set; of several runs, where it went best."""

    auc: float
    low: float
    high: float
    """99 % interval, for as many runs as were tried."""


def baseline_auc(pool: Pool, members_SG: NDArray[np.bool_]) -> Baseline:
    """Returns how well a classifier of words and word pairs tells members from non-members without seeing any set.

    TF-IDF and logistic regression, 5 folds over groups; the mean of the folds' AUCs, because scores of different folds do not compare.

    Args:
        pool: Candidates.
        members_SG: Members of every run; complements need not be tried.
    """
    from scipy import stats

    tried = [_baseline(pool, members_G.tobytes()) for members_G in members_SG]
    level = 1 - (1 - BASELINE_LEVEL) / len(tried)
    half = float(stats.norm.ppf((1 + level) / 2))
    mean, error = max(tried, key=lambda one: (one[0] - 0.5) / one[1])
    return Baseline(mean, mean - half * error, mean + half * error)


@lru_cache(maxsize=64)
def _baseline(pool: Pool, members: bytes) -> tuple[float, float]:
    """Returns one run's AUC and its error; all methods of a task share them."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    members_G = np.frombuffer(members, dtype=bool)
    _, first = np.unique(pool.group_R, return_index=True)
    texts = np.array(pool.rows.take(first).joined(), dtype=object)
    fold_G = np.random.default_rng(seed_from(pool.seed, "folds")).permutation(len(texts)) % BASELINE_FOLDS
    folds = []
    for fold in range(BASELINE_FOLDS):
        held = fold_G == fold
        classifier: Any = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
        )
        classifier.fit(texts[~held], members_G[~held])
        scores = classifier.decision_function(texts[held])
        folds.append(estimate_auc(scores[None], members_G[held][None], [0]))
    error = float(np.sqrt(sum(one.se**2 for one in folds))) / BASELINE_FOLDS
    return float(np.mean([one.auc for one in folds])), error


def check_baseline(found: Baseline) -> None:
    """Refuses an audit whose members can be told without looking at any set; telling them worse than chance is chance.

    Raises:
        DataError: Says what was found.
    """
    if found.low > 0.5:
        raise DataError(
            f"a classifier that sees no released set tells members from non-members (AUC {found.auc:.3f}, 99 % interval "
            f"[{found.low:.3f}, {found.high:.3f}]); an attack's AUC would measure how the two were chosen. Draw members at random "
            "from one pool; where the suite has drawn them, take another audit.pool_rows."
        )
