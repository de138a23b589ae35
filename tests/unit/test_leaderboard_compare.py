"""Differences to references, Holm families, the gap, and unseen means."""

import numpy as np
import pytest

from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.stats import family_p, holm, mean_interval, welch
from tdbench.leaderboard.tables import build_tables

A = [[0.60], [0.62], [0.64]]
B = [[0.70], [0.73], [0.74]]
C = [[0.50], [0.55], [0.51]]


def flat(sets):
    return [value for (value,) in sets]


def pick(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, [(row["method"], row["learner"], row["budget"]) for row in found]
    return found[0]


def triple(row, name):
    return row[f"diff_{name}"], row[f"diff_{name}_low"], row[f"diff_{name}_high"]


def test_differences_are_welch_differences_of_set_means(board_records):
    records = board_records.runs("random", {"minilm": A}) + board_records.runs("m", {"minilm": B})
    records += board_records.runs("kmeans", {"minilm": [[0.64, 0.65, 0.68]]}, deterministic=True)
    rows = build_rows(records)
    row = pick(rows, method="m", learner="minilm")
    to_random, to_kmeans = welch(flat(B), flat(A)), welch(flat(B), [0.64, 0.65, 0.68])
    assert triple(row, "random") == pytest.approx((to_random.value, to_random.low, to_random.high))
    assert triple(row, "kmeans") == pytest.approx((to_kmeans.value, to_kmeans.low, to_kmeans.high))
    assert triple(row, "reference") == triple(row, "random")
    itself = pick(rows, method="random", learner="minilm")
    assert triple(itself, "random") == triple(itself, "reference") == (None, None, None)
    assert triple(itself, "kmeans")[0] == pytest.approx(-welch([0.64, 0.65, 0.68], flat(A)).value)


def test_difference_needs_the_same_budget_protocol_learner_and_default_options(board_records):
    for other in (
        {"budget": "dpc1"},
        {"protocol": {"name": "other-v1"}},
        {"options": {"stratify": False}},
        {"data_kind": "standin"},
        {"data_fingerprint": "older", "created": "2025-01-01T00:00:00+00:00"},
    ):
        records = board_records.runs("random", {"minilm": A}, **other) + board_records.runs("m", {"minilm": B})
        row = pick(build_rows(records), method="m", learner="minilm")
        assert triple(row, "random") == (None, None, None), other
        assert row["p_holm"] is None


def test_own_reference_of_every_track(board_records):
    records = board_records.runs("random", {"minilm": A})
    records += board_records.runs("teacher-labels", {"minilm": C}, track="text+soft")
    records += board_records.runs("soft", {"minilm": B}, track="text+soft")
    records += board_records.runs("bound", {"minilm": B}, track="learner-bound")
    rows = build_rows(records)
    soft = pick(rows, method="soft", learner="minilm")
    assert triple(soft, "random")[0] == pytest.approx(welch(flat(B), flat(A)).value)
    assert triple(soft, "reference")[0] == pytest.approx(welch(flat(B), flat(C)).value)
    assert triple(pick(rows, method="bound", learner="minilm"), "reference") == (None, None, None)
    assert pick(rows, method="teacher-labels", track="text+soft", learner="minilm")["diff_reference"] is None
    records += board_records.runs("class-mean", {"minilm": A}, track="learner-bound")
    bound = pick(build_rows(records), method="bound", learner="minilm")
    assert triple(bound, "reference")[0] == pytest.approx(welch(flat(B), flat(A)).value)


def test_a_learned_row_is_compared_with_the_best_of_the_tracks_reference_and_its_own(board_records):
    track = {"track": "learner-bound"}
    records = board_records.runs("learned", {"minilm": B}, **track)
    records += board_records.runs("class-mean", {"minilm": C}, **track)
    assert pick(build_rows(records), method="learned")["diff_reference_to"] == "class-mean"
    fixed = {"options": {"inputs": "fixed"}, "reference": True, "label": "learned-random", **track}
    records += board_records.runs("learned", {"minilm": A}, **fixed)
    records += board_records.runs("other", {"minilm": [[0.9], [0.91], [0.92]]}, **{**fixed, "label": "other-random"})
    rows = build_rows(records)
    row = pick(rows, method="learned", options="")
    assert row["diff_reference_to"] == "learned-random"
    assert triple(row, "reference")[0] == pytest.approx(welch(flat(B), flat(A)).value)
    itself = pick(rows, method="learned", options="inputs=fixed")
    assert (itself["diff_reference_to"], itself["reference"]) == ("class-mean", True)
    records = [r for r in records if r.cell.options or r.cell.method != "class-mean"]
    assert pick(build_rows(records), method="learned", options="")["diff_reference_to"] == "learned-random"


def test_holm_family_is_one_task_protocol_track_and_budget(board_records):
    both = {"minilm": A, "textcnn": C}
    records = []
    for budget in ("dpc1", "dpc10"):
        records += board_records.runs("random", both, budget=budget)
        records += board_records.runs("m", {"minilm": B, "textcnn": B}, budget=budget)
    records += board_records.runs("n", {"minilm": C}, budget="dpc10")
    records += board_records.runs("teacher-labels", {"minilm": A}, track="text+soft")
    records += board_records.runs("soft", {"minilm": B}, track="text+soft")
    rows = build_rows(records)
    m_minilm, m_textcnn, n_minilm = (welch(flat(a), flat(b)).p for a, b in ((B, A), (B, C), (C, A)))
    pair, triplet = holm([m_minilm, m_textcnn]), holm([m_minilm, m_textcnn, n_minilm])
    assert pick(rows, method="m", budget="dpc1", learner="minilm")["p_holm"] == pytest.approx(pair[0])
    assert pick(rows, method="m", budget="dpc10", learner="textcnn")["p_holm"] == pytest.approx(triplet[1])
    assert pick(rows, method="n", learner="minilm")["p_holm"] == pytest.approx(triplet[2])
    assert pick(rows, method="soft", learner="minilm")["p_holm"] == pytest.approx(m_minilm)
    assert pick(rows, method="random", budget="dpc10", track="text", learner="minilm")["p_holm"] is None
    assert all(row["p_holm"] is None for row in rows if row["learner"] == "transfer")


def test_gap_closed(board_records):
    # Random at 50 texts per class decides which learners enter the unseen mean of rows without a budget, such as full.
    gate = board_records.runs("random", {"textcnn": A}, budget="dpc50")
    rows = build_rows(board_records.board() + gate)
    assert pick(rows, method="strong", learner="minilm")["gap_closed_frac"] == pytest.approx(0.1 / 0.3)
    assert pick(rows, method="random", learner="minilm")["gap_closed_frac"] == 0.0
    assert pick(rows, method="strong", learner="transfer")["gap_closed_frac"] == pytest.approx(0.1 / 0.36)
    assert pick(rows, method="full", learner="minilm")["gap_closed_frac"] is None


@pytest.mark.parametrize("full", [0.62, 0.625, None])
def test_gap_is_unknown_without_a_real_gap(board_records, full):
    records = board_records.runs("random", {"minilm": A}) + board_records.runs("m", {"minilm": B})
    if full is not None:
        records += board_records.runs("full", {"minilm": [[full]]}, budget="all", full_data=True)
    assert pick(build_rows(records), method="m", learner="minilm")["gap_closed_frac"] is None


THREE_LEARNERS = {"learners": ["minilm", "textcnn", "bilstm"]}


def test_unseen_mean_is_the_mean_over_unseen_learners_by_set(board_records):
    sets = {"minilm": A, "textcnn": B, "bilstm": C}
    records = board_records.runs("random", sets, protocol=THREE_LEARNERS)
    row = pick(build_rows(records), learner="transfer")
    expected = mean_interval([(b + c) / 2 for b, c in zip(flat(B), flat(C), strict=True)])
    assert (row["accuracy_frac"], row["ci_low"], row["ci_high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert (row["is_source"], row["complete"], row["ranked"], row["n_sets"]) == (False, True, True, 3)


def test_unseen_mean_of_a_deterministic_method_is_over_seeds(board_records):
    records = board_records.runs("random", {"textcnn": A})
    records += board_records.runs("m", {"textcnn": [[0.5, 0.6, 0.7]]}, deterministic=True)
    row = pick(build_rows(records), method="m", learner="transfer")
    assert row["ci_low"] == pytest.approx(mean_interval([0.5, 0.6, 0.7]).low)


def test_learner_enters_only_where_random_dpc50_beats_majority(board_records):
    facts = {"protocol": THREE_LEARNERS}
    records = board_records.runs("random", {"textcnn": A, "bilstm": [[0.29]] * 3}, budget="dpc50", **facts)
    records += board_records.runs("random", {"textcnn": A, "bilstm": A}, **facts)
    records += board_records.runs("m", {"textcnn": B, "bilstm": C}, **facts)
    assert pick(build_rows(records), method="m", learner="transfer")["accuracy_frac"] == pytest.approx(
        mean_interval(flat(B)).mean
    )


def test_gate_falls_back_to_the_rows_own_budget(board_records):
    low = board_records.runs("random", {"textcnn": [[0.29]] * 3}) + board_records.runs("m", {"textcnn": B})
    assert not [row for row in build_rows(low) if row["learner"] == "transfer"]
    enough = board_records.runs("random", {"textcnn": [[0.30]] * 3}) + board_records.runs("m", {"textcnn": B})
    assert pick(build_rows(enough), method="m", learner="transfer")["ranked"]
    unknown = board_records.runs("m", {"textcnn": B})
    assert not [row for row in build_rows(unknown) if row["learner"] == "transfer"]


def test_missing_learner_makes_a_hole_and_never_a_partial_mean(board_records):
    records = board_records.runs("random", {"textcnn": A, "bilstm": C}, protocol=THREE_LEARNERS)
    records += board_records.runs("m", {"minilm": B, "textcnn": B}, protocol=THREE_LEARNERS)
    row = pick(build_rows(records), method="m", learner="transfer")
    assert (row["accuracy_frac"], row["ci_low"], row["complete"], row["ranked"]) == (None, None, False, False)
    assert row["unranked_reason"] == "no runs with bilstm"
    assert row["diff_random"] is None


def test_incomplete_learner_leaves_the_unseen_mean_unranked(board_records):
    records = board_records.runs("random", {"textcnn": A, "bilstm": C[:2]}, protocol=THREE_LEARNERS)
    row = pick(build_rows(records), learner="transfer")
    assert (row["complete"], row["unranked_reason"], row["n_sets"]) == (False, "bilstm: 2 of 3 sets", 2)


def test_p_values_of_other_options_do_not_move_those_of_ranked_defaults(board_records):
    records = board_records.board()
    before = pick(build_rows(records), method="strong", learner="minilm")["p_holm"]
    for number in range(20):
        records += board_records.runs("strong", {"minilm": [[0.3], [0.9], [0.6]]}, options={"x": number})
    rows = build_rows(records)
    assert pick(rows, method="strong", learner="minilm", options="")["p_holm"] == before
    assert all(row["p_holm"] is not None for row in rows if row["options"] and row["learner"] == "minilm")


def test_a_reference_that_lacks_sets_is_named_and_gives_no_p_value(board_records):
    records = board_records.runs("m", {"minilm": [[0.7], [0.71], [0.72]]})
    records += board_records.runs("random", {"minilm": [[0.5], [0.51]]}, reference=True)
    row = pick(build_rows(records), method="m", learner="minilm")
    assert row["diff_random"] == pytest.approx(0.205)
    assert (row["p_holm"], row["incomplete_references"]) == (None, ("random (2 sets)",))
    (table,) = build_tables(build_rows(records))
    assert "Differences rest on references that lack sets: random (2 sets)." in table.notes


@pytest.mark.parametrize("n_sets", [(3,), (5,), (20,), (3, 5, 20)])
def test_of_equal_methods_none_is_told_from_random_in_95_of_100_families(n_sets):
    rng = np.random.default_rng(sum(n_sets))
    n_families, wrong = 1000, 0
    for _ in range(n_families):
        random = rng.normal(0.6, 0.02, 20)
        methods = [rng.normal(0.6, 0.02 * (1 + i % 3), n_sets[i % len(n_sets)]) for i in range(15)]
        found = [p for own in methods if (p := family_p(list(own), list(random))) is not None]
        wrong += min(holm(found)) <= 0.05
    assert wrong / n_families <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_families)
