"""Ranks, the places that data leave open, pools, and mean ranks over tasks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tdbench.leaderboard.rankings import (
    RankInterval,
    competes,
    critical_difference,
    friedman_p,
    pools_of,
    rank_intervals,
    rankings,
)
from tdbench.leaderboard.rows import build_rows, entries_of
from tdbench.leaderboard.stats import holm, welch

STRONG, MIDDLE, WEAK = [[0.80], [0.81], [0.82]], [[0.60], [0.62], [0.61]], [[0.40], [0.41], [0.43]]


def row_of(rows, **wanted):
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def ranking_of(records, **wanted):
    found = [
        ranking
        for ranking in rankings(entries_of(records))
        if all(getattr(ranking, key) == value for key, value in wanted.items())
    ]
    return {ranking.pool.name: ranking for ranking in reversed(found)}  # of a pool, the one on most tasks comes first


def test_places_follow_from_pairwise_welch_tests_under_holm():
    rng = np.random.default_rng(0)
    block = {f"m{i}": list(rng.normal(0.6 + 0.02 * i, 0.02, 5)) for i in range(6)}
    (found,) = rank_intervals([block])
    pairs = [(a, b) for i, a in enumerate(block) for b in list(block)[i + 1 :]]
    adjusted = holm([p for a, b in pairs if (p := welch(block[a], block[b]).p) is not None])
    means = {name: float(np.mean(values)) for name, values in block.items()}
    apart = {pair for pair, p in zip(pairs, adjusted, strict=True) if p <= 0.05}
    assert 0 < len(apart) < len(pairs)
    for name in block:
        others = [a if b == name else b for a, b in apart if name in {a, b}]
        better = sum(means[other] > means[name] for other in others)
        worse = len(others) - better
        rank = 1 + sum(mean > means[name] for mean in means.values())
        assert found[name] == RankInterval(rank, 1 + better, len(block) - worse, rank)


def test_equal_means_share_a_rank_and_single_values_rule_nothing_out():
    (found,) = rank_intervals([{"a": [0.5], "b": [0.5], "c": [0.9]}])
    assert found == {"a": RankInterval(2, 1, 3, 2.5), "b": RankInterval(2, 1, 3, 2.5), "c": RankInterval(1, 1, 3, 1.0)}


@pytest.mark.parametrize("n_sets", [(3,), (5,), (20,), (20, 3), (20, 5), (3, 20, 5)])
def test_all_places_are_right_in_at_least_95_of_100_boards(n_sets):
    rng = np.random.default_rng(sum(n_sets))
    truths = [np.array([0.60, 0.60, 0.63, 0.70, 0.80]), np.array([0.5, 0.5, 0.5, 0.5, 0.5])]
    n_boards, good = 300, 0
    for _ in range(n_boards):
        blocks = [
            {str(i): list(rng.normal(m, 0.02 * (1 + i % 3), n_sets[i % len(n_sets)])) for i, m in enumerate(t)}
            for t in truths
        ]
        found = rank_intervals(blocks)
        # A place is right when it lies between those that the true means force, ties sharing all of theirs.
        good += all(
            block[str(i)].low <= n_worse_bound and block[str(i)].high >= n_better_bound
            for block, truth in zip(found, truths, strict=True)
            for i, mean in enumerate(truth)
            for n_better_bound, n_worse_bound in [(1 + (truth > mean).sum(), len(truth) - (truth < mean).sum())]
        )
    assert good / n_boards >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / n_boards)


def test_rank_fields_are_about_default_configurations_of_one_learner(board_records):
    records = board_records.board()
    records += board_records.runs("strong", {"minilm": STRONG}, options={"x": 1})
    rows = build_rows(records)
    strong = row_of(rows, method="strong", learner="minilm", options="")
    assert (strong["rank"], strong["rank_low"], strong["n_entrants"]) == (1, 1, 4)
    assert row_of(rows, method="weak", learner="minilm")["rank"] == 4
    for other in (
        row_of(rows, method="strong", learner="minilm", options="x=1"),
        row_of(rows, method="full", learner="minilm"),
        row_of(rows, method="majority", learner="minilm"),
    ):
        assert (other["rank"], other["rank_low"], other["rank_high"], other["n_entrants"]) == (None,) * 4
        assert not competes(other)


def test_pools_are_ranked_anew_and_tags_make_pools(board_records):
    records = []
    for task in ("news", "films"):
        records += board_records.runs("a", {"minilm": STRONG}, task=task, tags=("public-pool",))
        records += board_records.runs("b", {"minilm": MIDDLE}, task=task)
        records += board_records.runs("c", {"minilm": WEAK}, task=task, private=True, epsilon=1.0)
    rows = build_rows(records)
    assert {pool.name for pool in pools_of(rows)} >= {"all", "private", "no-public-pool"}
    found = ranking_of(records, learner="source")
    assert [s.label for s in found["all"].mean_ranks] == ["a", "b", "c"]
    assert [(s.label, s.mean) for s in found["no-public-pool"].mean_ranks] == [("b", 1.0), ("c", 2.0)]
    assert "private" not in found  # one entrant is no ranking


def test_an_entrant_without_a_task_has_no_mean_rank_and_does_not_move_others(board_records):
    records = []
    for task in ("news", "films"):
        records += board_records.runs("a", {"minilm": MIDDLE}, task=task)
        records += board_records.runs("b", {"minilm": WEAK}, task=task)
    records += board_records.runs("best", {"minilm": STRONG}, task="news")
    ranking = ranking_of(records, learner="source")["all"]
    assert ranking.tasks == ("films", "news")
    assert [(s.label, s.mean) for s in ranking.mean_ranks] == [("a", 1.0), ("b", 2.0)]
    assert [(hole.label, hole.missing) for hole in ranking.unranked] == [("best", (("films", "not run"),))]


def test_fewer_tasks_that_more_entrants_share_have_a_ranking_besides(board_records):
    records = []
    for task in ("news", "films", "mail"):
        records += board_records.runs("a", {"minilm": MIDDLE}, task=task)
        records += board_records.runs("b", {"minilm": WEAK}, task=task)
    for task in ("news", "mail"):
        records += board_records.runs("best", {"minilm": STRONG}, task=task)
    found = [r for r in rankings(entries_of(records)) if (r.learner, r.pool.name) == ("source", "all")]
    assert [(r.tasks, [s.label for s in r.mean_ranks]) for r in found] == [
        (("films", "mail", "news"), ["a", "b"]),
        (("mail", "news"), ["best", "a", "b"]),
    ]


def test_incomplete_rows_do_not_compete(board_records):
    records = []
    for task in ("news", "films"):
        for name, sets in (("a", STRONG), ("b", MIDDLE), ("short", WEAK[:2])):
            records += board_records.runs(name, {"minilm": sets}, task=task)
    ranking = ranking_of(records, learner="source")["all"]
    assert [s.label for s in ranking.mean_ranks] == ["a", "b"]
    assert [hole.text for hole in ranking.unranked] == ["short (films: 2 of 3 sets; news: 2 of 3 sets)"]


def test_subset_and_real_data_of_a_task_are_two_tasks_and_marked(board_records):
    records = []
    for kind, level in (("real", STRONG), ("real-subset", WEAK)):
        records += board_records.runs("a", {"minilm": level}, task="news", data_kind=kind, data_fingerprint=kind)
        records += board_records.runs("b", {"minilm": MIDDLE}, task="news", data_kind=kind, data_fingerprint=kind)
    records += board_records.runs("a", {"minilm": STRONG}, task="films", contamination={"minilm": "seen"})
    records += board_records.runs("b", {"minilm": MIDDLE}, task="films", contamination={"minilm": "seen"})
    ranking = ranking_of(records, learner="source")["all"]
    assert ranking.tasks == ("films (contaminated)", "news", "news (subset)")
    assert [(s.label, [p.rank for p in s.ranks]) for s in ranking.mean_ranks] == [("a", [1, 1, 2]), ("b", [2, 2, 1])]


def test_tied_entrants_share_the_mean_of_their_ranks(board_records):
    records = []
    for task in ("news", "films"):
        for name, sets in (("a", MIDDLE), ("b", MIDDLE), ("c", WEAK)):
            records += board_records.runs(name, {"minilm": sets}, task=task)
    ranking = ranking_of(records, learner="source")["all"]
    assert [(s.label, s.mean) for s in ranking.mean_ranks] == [("a", 1.5), ("b", 1.5), ("c", 3.0)]


def test_friedman_p_is_that_of_scipy_and_comes_with_eight_tasks(board_records):
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 1, (9, 4)) + np.arange(4) * 0.5
    assert friedman_p(scores.tolist()) == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    assert friedman_p([[0.1, 0.2]]) is None
    assert friedman_p([[0.1, 0.1, 0.1]] * 8) is None
    records = []
    for number in range(8):
        for name, sets in (("a", STRONG), ("b", MIDDLE), ("c", WEAK)):
            records += board_records.runs(name, {"minilm": sets}, task=f"t{number}")
    ranking = ranking_of(records, learner="source")["all"]
    assert ranking.friedman == pytest.approx(
        np.exp(-8), rel=1e-6
    )  # chi squared of 16, the largest there is, with 2 degrees


def test_mean_rank_and_its_bounds_are_means_over_tasks(board_records):
    records = []
    near = [[0.79], [0.82], [0.83]]
    for task, sets in (("news", near), ("films", WEAK), ("mail", WEAK)):
        records += board_records.runs("a", {"minilm": STRONG}, task=task)
        records += board_records.runs("b", {"minilm": sets}, task=task)
    ranking = ranking_of(records, learner="source")["all"]
    by_name = {s.label: s for s in ranking.mean_ranks}
    assert by_name["a"].mean == pytest.approx(4 / 3)
    assert (by_name["a"].low, by_name["a"].high) == pytest.approx((1.0, 4 / 3))
    assert (by_name["b"].low, by_name["b"].high) == pytest.approx((5 / 3, 2.0))
    assert ranking.critical is None


def test_critical_difference_is_that_of_the_published_example():
    # Demšar (2006), section 3.2.2: four classifiers on 14 data sets.
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


def test_critical_difference_tells_the_same_pairs_apart_as_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, (12, 5)) + np.arange(5) * 0.8
    mean_ranks = (5 - scores.argsort(axis=1).argsort(axis=1)).mean(axis=0)
    pvalues = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    apart = np.abs(mean_ranks[:, None] - mean_ranks[None]) >= critical_difference(5, 12)
    assert apart.any()
    assert (apart == (pvalues <= 0.05)).all()
