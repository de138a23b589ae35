"""Rows: joining, units, completeness, ranking."""

import subprocess
import sys

import pytest

from tdbench.bench.errors import RecordError
from tdbench.bench.record import PhaseCost
from tdbench.leaderboard.fields import ROW_KEYS
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.runs import options_text
from tdbench.leaderboard.stats import mean_interval

CONTRACT = """
    task data_kind method options track private budget protocol learner is_source n_sets n_seeds accuracy_frac
    macro_f1_frac score_frac ci_low ci_high diff_random diff_random_low diff_random_high diff_kmeans diff_kmeans_low
    diff_kmeans_high diff_reference diff_reference_low diff_reference_high p_holm rank rank_low rank_high n_entrants
    output epsilon t1_auc complete
"""
"""Keys that others read: they keep their names."""
THREE = {"minilm": [[0.60], [0.62], [0.64]], "textcnn": [[0.50], [0.52], [0.54]]}


def pick(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, [(row["method"], row["learner"], row["budget"], row["unranked_reason"]) for row in found]
    return found[0]


def test_contract_keys_are_there_and_every_row_has_all(board_records):
    assert set(CONTRACT.split()) <= set(ROW_KEYS)
    assert len(set(ROW_KEYS)) == len(ROW_KEYS)
    for row in build_rows(board_records.board()):
        assert tuple(row) == ROW_KEYS


def test_seeds_are_averaged_within_sets_first(board_records):
    sets = {"minilm": [[0.5, 0.6], [0.6, 0.6], [0.6, 0.64]]}
    row = pick(build_rows(board_records.runs("m", sets)), learner="minilm")
    expected = mean_interval([0.55, 0.6, 0.62])
    assert (row["accuracy_frac"], row["ci_low"], row["ci_high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert row["macro_f1_frac"] == pytest.approx(expected.mean - 0.01)
    assert (row["n_sets"], row["n_seeds"]) == (3, 2)


def test_sets_that_turn_out_to_be_the_same_have_their_interval_over_trainings(board_records):
    sets = {"minilm": [[0.5, 0.6], [0.7, 0.9]], "textcnn": [[0.4, 0.4], [0.4, 0.4]]}
    rows = build_rows(board_records.runs("m", sets, same_set=True))
    row = pick(rows, learner="minilm")
    assert (row["n_sets"], row["n_distinct_sets"]) == (2, 1)
    assert row["ci_high"] == pytest.approx(mean_interval([0.5, 0.6, 0.7, 0.9]).high)
    same = pick(rows, learner="textcnn")  # how far it varies is not known
    assert (same["accuracy_frac"], same["ci_low"], same["ci_high"]) == (0.4, None, None)


def test_intervals_end_at_nothing_and_all(board_records):
    row = pick(build_rows(board_records.runs("m", {"minilm": [[0.02], [0.5], [0.98]]})), learner="minilm")
    assert (row["ci_low"], row["ci_high"]) == (0.0, 1.0)


def test_deterministic_method_has_its_interval_over_seeds(board_records):
    records = board_records.runs("m", {"minilm": [[0.5, 0.6, 0.7]]}, deterministic=True)
    row = pick(build_rows(records), learner="minilm")
    assert row["ci_high"] == pytest.approx(mean_interval([0.5, 0.6, 0.7]).high)
    assert row["complete"]
    assert row["ranked"]


def test_one_set_of_a_random_method_has_no_interval(board_records):
    row = pick(build_rows(board_records.runs("m", {"minilm": [[0.5, 0.6, 0.7]]})), learner="minilm")
    assert (row["accuracy_frac"], row["ci_low"]) == (pytest.approx(0.6), None)
    assert row["unranked_reason"] == "1 of 3 sets"


@pytest.mark.parametrize(("cost_class", "complete"), [("seconds", False), ("minutes", True), ("hours", True)])
def test_required_sets_depend_on_the_cost_class(board_records, cost_class, complete):
    row = pick(build_rows(board_records.runs("m", {"minilm": [[0.5], [0.6]]}, cost_class=cost_class)), learner="minilm")
    assert row["complete"] is complete


def test_gap_in_set_indices_and_missing_seeds_are_holes(board_records):
    gap = pick(
        build_rows(board_records.runs("m", {"minilm": THREE["minilm"]}, set_indices=[0, 1, 3])), learner="minilm"
    )
    assert gap["unranked_reason"] == "set indices have a gap: 0, 1, 3"
    protocol = {"seeds_per_set": 2}
    sets = {"minilm": [[0.6, 0.6], [0.6], [0.6, 0.6]]}
    seeds = pick(build_rows(board_records.runs("m", sets, protocol=protocol)), learner="minilm")
    assert (seeds["complete"], seeds["unranked_reason"]) == (False, "1 of 2 seeds")


def test_failed_run_leaves_its_learner_incomplete_and_the_other_complete(board_records):
    records = board_records.runs("m", {"minilm": THREE["minilm"], "textcnn": THREE["textcnn"][:2]})
    records.append(board_records.train("m", 2, "textcnn", 0, None))
    rows = build_rows(records)
    assert pick(rows, learner="minilm")["ranked"]
    hurt = pick(rows, learner="textcnn")
    assert (hurt["n_failed"], hurt["complete"], hurt["unranked_reason"]) == (1, False, "1 failed run")


def test_learner_whose_runs_all_failed_is_a_visible_hole(board_records):
    records = board_records.runs("m", {"minilm": THREE["minilm"]})
    records += [board_records.train("m", index, "textcnn", 0, None) for index in range(3)]
    hole = pick(build_rows(records), learner="textcnn")
    assert (hole["accuracy_frac"], hole["n_sets"], hole["n_failed"], hole["ranked"]) == (None, 0, 3, False)


def test_failed_distillation_is_a_visible_hole(board_records):
    records = [*board_records.runs("random", THREE), board_records.distil("m", 0, distil_status="failed")]
    hole = pick(build_rows(records), method="m", learner="minilm")
    assert (hole["accuracy_frac"], hole["unranked_reason"]) == (None, "1 failed run")
    other_task = [board_records.distil("m", 0, distil_status="failed", task="other")]
    assert not [row for row in build_rows(board_records.runs("random", THREE) + other_task) if row["method"] == "m"]


def test_retried_failure_counts_no_more(board_records):
    failed = board_records.train("m", 0, "minilm", 0, None)
    records = [*board_records.runs("m", THREE, created="2026-01-02T00:00:00+00:00"), failed]
    assert pick(build_rows(records), learner="minilm")["ranked"]


def test_newest_record_of_an_id_counts(board_records):
    old = board_records.runs("m", {"minilm": [[0.1]] * 3})
    new = board_records.runs("m", {"minilm": THREE["minilm"]}, created="2026-02-01T00:00:00+00:00")
    assert pick(build_rows(new + old), learner="minilm")["accuracy_frac"] == pytest.approx(0.62)


def test_full_and_majority_are_reference_lines(board_records):
    rows = build_rows(board_records.board())
    full = pick(rows, method="full", learner="minilm")
    majority = pick(rows, method="majority", learner="minilm")
    assert full["complete"]
    assert majority["complete"]
    assert full["unranked_reason"] == "reference line: trained on all real data"
    assert majority["unranked_reason"] == "reference line: ignores the budget"
    assert (full["diff_random"], majority["diff_kmeans"], full["p_holm"]) == (None, None, None)
    assert pick(rows, method="random", learner="minilm")["ranked"]


def test_other_fingerprints_are_never_merged(board_records):
    old = board_records.runs("m", THREE)
    for change in ({"data_fingerprint": "data-b"}, {"test_fingerprint": "test-b"}, {"task_version": 2}):
        new = board_records.runs("n", THREE, created="2026-02-01T00:00:00+00:00", **change)
        rows = build_rows(old + new)
        assert pick(rows, method="n", learner="minilm")["ranked"]
        stale = pick(rows, method="m", learner="minilm")
        assert (stale["unranked_reason"], stale["superseded"]) == ("other data fingerprint", True)
    both = build_rows(old + board_records.runs("m", THREE, created="2026-02-01T00:00:00+00:00", data_fingerprint="b"))
    assert [row["n_sets"] for row in both if row["learner"] == "minilm"] == [3, 3]


def test_older_method_version_is_superseded(board_records):
    rows = build_rows(board_records.runs("m", THREE) + board_records.runs("m", THREE, method_version=2))
    assert pick(rows, method_version=2, learner="minilm")["ranked"]
    assert pick(rows, method_version=1, learner="minilm")["unranked_reason"] == "older version of the method"


def test_custom_records_form_their_own_unranked_rows(board_records):
    records = board_records.runs("m", THREE)
    for steps in (7, 8):
        extra = {"steps": steps} if steps == 7 else {"steps": steps, "other": 1}
        records += board_records.runs("m", THREE, custom=True, protocol=extra)
    rows = [row for row in build_rows(records) if row["learner"] == "minilm"]
    assert [row["custom"] for row in rows] == [False, True, True]
    assert len({row["custom_id"] for row in rows}) == 3
    assert [row["unranked_reason"] for row in rows] == ["", *["custom protocol settings"] * 2]


def test_learner_outside_the_protocol_is_not_ranked(board_records):
    row = pick(build_rows(board_records.runs("m", {"hf:x": [[0.5], [0.5], [0.6]]})), learner="hf:x")
    assert row["unranked_reason"] == "learner is not part of tiny-v1"


def test_missing_distil_record_leaves_the_row_unranked(board_records):
    records = [record for record in board_records.runs("m", THREE) if record.stage == "train"]
    row = pick(build_rows(records), learner="minilm")
    assert row["unranked_reason"] == "the record of its distilled set is missing"
    assert row["distil_wall_s"] is None


def test_costs_and_unknown_costs(board_records):
    row = pick(build_rows(board_records.runs("m", THREE)), learner="minilm")
    assert (row["distil_wall_s"], row["distil_cpu_s"], row["train_wall_s"]) == (2.0, 3.0, 6.0)
    cost = (PhaseCost(phase="a", wall_s=1.0), PhaseCost(phase="b"))
    row = pick(build_rows(board_records.runs("m", THREE, distil_cost=cost, train_cost=())), learner="minilm")
    assert (row["distil_wall_s"], row["distil_cpu_s"], row["train_wall_s"]) == (None, None, None)


def test_collapse_counts_models_near_or_below_majority(board_records):
    row = pick(
        build_rows(board_records.runs("m", {"minilm": [[0.27], [0.2], [0.28]]}, majority=0.25)), learner="minilm"
    )
    assert row["collapse_frac"] == pytest.approx(2 / 3)
    assert row["majority_frac"] == pytest.approx(0.25)


def test_tasks_with_other_options_do_not_mix(board_records):
    rows = build_rows(board_records.runs("m", THREE) + board_records.runs("m", THREE, task_options={"variant": "b"}))
    assert [row["task_options"] for row in rows if row["learner"] == "minilm"] == ["", "variant=b"]


def test_options_text_is_short_and_unambiguous():
    assert options_text({}) == ""
    assert options_text({"rho": 0.1, "output": "embedding", "a": [1, 2]}) == "a=[1, 2], output=embedding, rho=0.1"
    assert options_text({"a": "1"}) != options_text({"a": 1})
    assert options_text({"a": "1, b=2"}) != options_text({"a": 1, "b": 2})


def test_order_of_records_does_not_matter(board_records):
    records = board_records.board()
    assert build_rows(records) == build_rows(records[::-1])


def test_train_record_without_its_protocol_is_refused(board_records):
    record = board_records.train("m", 0, "minilm", 0, 0.5).model_copy(update={"protocol": {"name": "x"}})
    with pytest.raises(RecordError, match=r"field 'protocol\.source'.*run the cell again"):
        build_rows([record])


def test_package_needs_no_torch_and_loads_matplotlib_late():
    code = "import sys, tdbench.leaderboard.build, tdbench.leaderboard.markdown; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_protocol_with_one_set_per_method_is_a_first_look_and_ranks_nothing(board_records):
    one = {"sets": {"seconds": 1, "minutes": 1, "hours": 1}}
    (row,) = [
        r for r in build_rows(board_records.runs("m", {"minilm": [[0.5]]}, protocol=one)) if r["learner"] == "minilm"
    ]
    assert (row["complete"], row["ranked"]) == (True, False)
    assert "a first look, not a result" in row["unranked_reason"]


def test_builds_of_a_learner_are_never_mixed(board_records):
    old = board_records.runs("m", {"minilm": [[0.5], [0.5], [0.5]]})
    new = board_records.runs("m", {"minilm": [[0.7]]}, created="2026-02-01T00:00:00+00:00")
    rebuilt = [
        r.model_copy(update={"id": f"{r.id}x", "train": r.train.model_copy(update={"engine_numerics": 2})})
        if r.train
        else r
        for r in new
    ]
    (row,) = [r for r in build_rows([*old, *rebuilt]) if r["learner"] == "minilm"]
    assert (row["accuracy_frac"], row["n_sets"], row["complete"]) == (0.7, 1, False)


def test_runs_on_a_set_that_was_made_anew_are_left_out(board_records):
    records = [
        r.model_copy(update={"set_sha256": "0" * 64}) if r.stage == "train" else r
        for r in board_records.runs("m", {"minilm": [[0.5], [0.5], [0.5]]})
    ]
    assert not [r for r in build_rows(records) if r["learner"] == "minilm" and r["accuracy_frac"] is not None]


def test_new_text_that_repeats_the_test_split_is_not_ranked(board_records):
    records = board_records.runs("m", {"minilm": [[0.5], [0.6], [0.7]]})
    leaky = [
        r.model_copy(update={"distil": r.distil.model_copy(update={"output": "text", "n_test_exact": 2})})
        if r.distil
        else r
        for r in records
    ]
    (row,) = [r for r in build_rows(leaky) if r["learner"] == "minilm"]
    assert (row["ranked"], row["unranked_reason"]) == (False, "its texts repeat test texts")


def test_fixed_method_with_a_learner_without_randomness_has_no_interval(board_records):
    (row,) = [
        r
        for r in build_rows(board_records.runs("m", {"minilm": [[0.5, 0.5, 0.5]]}, deterministic=True))
        if r["learner"] == "minilm"
    ]
    assert (row["accuracy_frac"], row["ci_low"]) == (0.5, None)
