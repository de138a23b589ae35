"""Gaps as bounded fractions, transfer, discretisation, and after how many trainings a set has paid for itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdbench.bench.record import PhaseCost
from tdbench.leaderboard.compare import gain_frac, trainings_to_pay
from tdbench.leaderboard.fields import FIELDS
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.schema import Field
from tdbench.leaderboard.stats import mean_interval, welch

SHARE = st.floats(0, 1)
RANDOM = {"minilm": [[0.60], [0.62], [0.64]], "textcnn": [[0.50], [0.52], [0.54]]}
WORSE = {"minilm": [[0.30], [0.34], [0.32]]}
METHOD = {"minilm": [[0.70], [0.73], [0.71]], "textcnn": [[0.51], [0.55], [0.50]]}


def row_of(rows, **wanted):
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def triple(row, name):
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


@given(SHARE, SHARE)
def test_gain_over_random_is_a_bounded_fraction_with_the_sign_of_the_difference(score, random):
    gain = gain_frac(score, random)
    assert -1 <= gain <= 1
    assert gain == 0 or (gain > 0) == (score > random)


@given(SHARE)
def test_gain_is_one_without_errors_and_minus_one_when_all_is_lost(random):
    assert gain_frac(1.0, random) == (1.0 if random < 1 else 0.0)
    assert gain_frac(0.0, random) == (-1.0 if random > 0 else 0.0)


def test_recovery_and_gain_of_a_row(board_records):
    rows = build_rows(board_records.board())
    strong = row_of(rows, method="strong", learner="minilm")
    assert strong["hard_label_recovery_frac"] == pytest.approx(0.72 / 0.92)
    assert strong["gain_random_frac"] == pytest.approx(0.10 / 0.38)
    weak = row_of(rows, method="weak", learner="minilm")
    assert weak["gain_random_frac"] == pytest.approx((0.26 - 0.62) / 0.62)
    assert row_of(rows, method="random", learner="minilm")["gain_random_frac"] is None
    assert row_of(rows, method="full", learner="minilm")["hard_label_recovery_frac"] is None


def test_recovery_is_at_most_one_and_not_told_of_soft_labels(board_records):
    records = board_records.board()
    records += board_records.runs("lucky", {"minilm": [[0.95], [0.97], [0.96]]})
    records += board_records.runs("soft", {"minilm": [[0.9], [0.8], [0.85]]}, track="text+soft")
    rows = build_rows(records)
    assert row_of(rows, method="lucky", learner="minilm")["hard_label_recovery_frac"] == 1.0
    assert row_of(rows, method="soft", learner="minilm")["hard_label_recovery_frac"] is None


def test_transfer_gap_is_paired_by_set_and_its_excess_is_over_random_texts(board_records):
    records = board_records.runs("random", RANDOM, reference=True) + board_records.runs("m", METHOD)
    rows = build_rows(records)
    own = [0.70 - 0.51, 0.73 - 0.55, 0.71 - 0.50]
    of_random = [0.10, 0.10, 0.10]
    row, interval, excess = row_of(rows, method="m", learner="minilm"), mean_interval(own), welch(own, of_random)
    assert triple(row, "transfer_gap") == pytest.approx((interval.mean, interval.low, interval.high))
    assert triple(row, "transfer_excess") == pytest.approx((excess.value, excess.low, excess.high))
    random = row_of(rows, method="random", learner="minilm")
    assert random["transfer_gap"] == pytest.approx(0.10)
    assert random["transfer_excess"] is None
    assert row_of(rows, method="m", learner="textcnn")["transfer_gap"] is None


def test_transfer_gap_needs_every_unseen_learner(board_records):
    protocol = {"learners": ["minilm", "textcnn", "bilstm"]}
    records = board_records.runs("random", {**RANDOM, "bilstm": RANDOM["textcnn"]}, reference=True, protocol=protocol)
    records += board_records.runs("m", METHOD, protocol=protocol)
    row = row_of(build_rows(records), method="m", learner="minilm")
    assert triple(row, "transfer_gap") == triple(row, "transfer_excess") == (None, None, None)


def test_interval_of_the_transfer_gap_covers():
    """Set effects are shared by both learners: pairing takes them out, and the interval is about what is left."""
    rng = np.random.default_rng(5)
    for n_sets in (3, 5, 20):
        n_boards, covered = 2000, 0
        effects = rng.normal(0, 0.05, (n_boards, n_sets, 1)) + rng.normal(0, 0.01, (n_boards, n_sets, 2))
        for effect in effects:
            found = mean_interval(list(0.2 + effect[:, 0] - effect[:, 1]))
            assert found.low is not None
            assert found.high is not None
            covered += found.low <= 0.2 <= found.high
        assert covered / n_boards == pytest.approx(0.95, abs=0.02)


def test_discretisation_gap_compares_a_methods_texts_with_its_token_vectors(board_records):
    vectors = {"minilm": [[0.80], [0.84], [0.82]]}
    records = []
    for rho in ({}, {"rho": 2}):
        records += board_records.runs("m", METHOD, options=rho)
    bound = {"track": "learner-bound", "output": "embedding"}
    records += board_records.runs("m", vectors, options={"output": "embedding", "lr": 0.1}, **bound)
    control = {"output": "embedding", "lr": 0.1, "target": "permuted"}
    records += board_records.runs("m", WORSE, options=control, **bound)
    rows = build_rows(records)
    expected = welch([0.80, 0.84, 0.82], [0.70, 0.73, 0.71])
    row = row_of(rows, method="m", learner="minilm", options="")
    assert triple(row, "discretisation_gap") == pytest.approx((expected.value, expected.low, expected.high))
    assert row_of(rows, method="m", learner="minilm", options="rho=2")["discretisation_gap"] is None
    bound_rows = [row for row in rows if row["track"] == "learner-bound"]
    assert [row["discretisation_gap"] for row in bound_rows] == [None, None]


@given(*[st.floats(0, 1e6)] * 4)
def test_break_even_is_the_first_training_from_which_the_set_is_no_dearer(distil, train, distil_other, train_other):
    n = trainings_to_pay(distil, train, distil_other, train_other)
    if n is None:  # it pays for few trainings and not for many
        assert distil <= distil_other
        assert train > train_other
        return
    if math.isinf(n):
        assert train >= train_other
        assert distil > distil_other
        return
    for more in (0, 1, 1000):
        total, other = distil + (n + more) * train, distil_other + (n + more) * train_other
        assert total <= other * (1 + 1e-9) + 1e-6
    if n >= 1:
        before = distil + (n - 1) * train - (distil_other + (n - 1) * train_other)
        assert before >= -1e-6 * max(1.0, distil)


def test_break_even_of_rows(board_records):
    def costs(**phases):
        return tuple(PhaseCost(phase=name, wall_s=1.0, cpu_s=cpu, flops=flops) for name, (cpu, flops) in phases.items())

    slow, quick = costs(train=(100.0, 1e6), predict=(10.0, 1e5)), costs(train=(4.0, 1e4), predict=(6.0, 1e5))
    records = board_records.runs(
        "full", {"minilm": [[0.9]]}, budget="all", full_data=True, reference=True, train_cost=slow
    )
    made = costs(match=(250.0, 3e6), start=(50.0, None))
    records += board_records.runs("m", {"minilm": RANDOM["minilm"]}, distil_cost=made, train_cost=quick)
    cheap = costs(cluster=(20.0, 2e4))
    records += board_records.runs(
        "kmeans", {"minilm": [[0.6, 0.7, 0.65]]}, deterministic=True, distil_cost=cheap, train_cost=quick
    )
    rows = build_rows(records)
    row = row_of(rows, method="m", learner="minilm")
    assert (row["breakeven_full_cpu"], row["breakeven_full_flops"], row["breakeven_full_gpu"]) == (3.0, 4.0, None)
    assert row["breakeven_kmeans_cpu"] == math.inf
    assert (row["distil_flops_counted"], row["distil_flops_uncounted"]) == (3e6, ("start",))
    assert (row["train_cpu_s"], row["train_flops"]) == (10.0, 1.1e5)
    kmeans = row_of(rows, method="kmeans", learner="minilm")
    assert kmeans["breakeven_full_cpu"] == 1.0
    assert kmeans["breakeven_kmeans_cpu"] is None


def test_seconds_on_other_hardware_are_not_compared_but_operations_are(board_records):
    cost = (PhaseCost(phase="train", cpu_s=100.0, flops=1e6), PhaseCost(phase="predict", cpu_s=1.0, flops=1e3))
    records = board_records.runs(
        "full", {"minilm": [[0.9]]}, budget="all", full_data=True, reference=True, train_cost=cost
    )
    less = tuple(phase.model_copy(update={"cpu_s": 1.0, "flops": 10.0}) for phase in cost)
    records += board_records.runs(
        "m", RANDOM, train_cost=less, distil_cost=(PhaseCost(phase="match", cpu_s=5.0, flops=1.0),), cpu="Another CPU"
    )
    row = row_of(build_rows(records), method="m", learner="minilm")
    assert (row["breakeven_full_cpu"], row["breakeven_full_flops"]) == (None, 1.0)


def test_texts_of_other_options_are_compared_with_what_differs_in_the_output_alone(board_records):
    bound = {"track": "learner-bound", "output": "embedding"}
    records = board_records.runs("m", METHOD, options={"rho": 2})
    records += board_records.runs("m", WORSE, options={"output": "embedding", "rho": 2}, **bound)
    records += board_records.runs("m", RANDOM, options={"output": "embedding"}, **bound)
    row = row_of(build_rows(records), method="m", learner="minilm", options="rho=2")
    assert row["discretisation_gap"] == pytest.approx(0.32 - (0.70 + 0.73 + 0.71) / 3)


def test_a_gap_to_the_unseen_mean_needs_every_set_with_every_learner(board_records):
    short = {"minilm": METHOD["minilm"], "textcnn": METHOD["textcnn"][:2]}
    records = board_records.runs("random", RANDOM, reference=True) + board_records.runs("m", short)
    row = row_of(build_rows(records), method="m", learner="minilm")
    assert triple(row, "transfer_gap") == (None, None, None)


def test_a_cheaper_set_with_dearer_trainings_never_pays_off_for_good():
    assert trainings_to_pay(1, 10, 2, 5) is None
    assert trainings_to_pay(1, 5, 2, 5) == 0
    assert trainings_to_pay(3, 5, 2, 5) == math.inf
    assert trainings_to_pay(12, 5, 2, 7) == 5


def cost(name, **values):
    return (PhaseCost(phase=name, wall_s=1.0, **values),)


def test_operations_that_were_not_counted_make_a_bound_against_full_and_nothing_against_kmeans(board_records):
    plain = {"train_cost": cost("train", flops=10.0)}
    records = board_records.runs(
        "full", {"minilm": [[0.9]]}, budget="all", full_data=True, reference=True, train_cost=cost("train", flops=110.0)
    )
    part = (*cost("match", flops=250.0), *cost("start"))
    records += board_records.runs("part", RANDOM, distil_cost=part, **plain)
    records += board_records.runs("whole", RANDOM, distil_cost=cost("match", flops=250.0), **plain)
    for counted in (None, 20.0):
        others = board_records.runs("kmeans", {"minilm": [[0.6]]}, distil_cost=cost("cluster", flops=counted), **plain)
        rows = build_rows(records + others)
        part_row, whole_row = (row_of(rows, method=name, learner="minilm") for name in ("part", "whole"))
        assert (part_row["breakeven_full_flops"], whole_row["breakeven_full_flops"]) == (3.0, 3.0)
        assert part_row["breakeven_kmeans_flops"] is None
        assert whole_row["breakeven_kmeans_flops"] == (None if counted is None else math.inf)


def test_a_set_made_elsewhere_than_it_was_trained_on_has_no_break_even_in_seconds(board_records):
    records = board_records.runs(
        "full", {"minilm": [[0.9]]}, budget="all", full_data=True, reference=True, train_cost=cost("train", cpu_s=100.0)
    )
    records += board_records.runs(
        "m", RANDOM, distil_cost=cost("match", cpu_s=5.0), train_cost=cost("train", cpu_s=1.0)
    )
    assert row_of(build_rows(records), method="m", learner="minilm")["breakeven_full_cpu"] == 1.0
    moved = [
        record.model_copy(update={"provenance": record.provenance.model_copy(update={"gpu": "Some GPU"})})
        if record.stage == "distil" and record.cell.method == "m"
        else record
        for record in records
    ]
    row = row_of(build_rows(moved), method="m", learner="minilm")
    assert (row["distil_hardware"], row["hardware"]) == (("Some GPU",), ("Some CPU (2 cores)",))
    assert row["breakeven_full_cpu"] is None


def test_costs_of_an_unseen_mean_are_those_of_its_learners(board_records):
    records = board_records.runs("random", RANDOM, reference=True)
    for record in board_records.runs("m", METHOD):
        seconds = {"minilm": 9.0, "textcnn": 2.0}.get(record.learner or "", 1.0)
        records.append(record.model_copy(update={"cost": cost("train", cpu_s=seconds, flops=10 * seconds)}))
    row = row_of(build_rows(records), method="m", learner="transfer")
    assert (row["transfer_learners"], row["train_cpu_s"], row["train_flops"]) == (("textcnn",), 2.0, 20.0)


def test_the_transfer_row_holds_nothing_of_a_single_learner(board_records):
    """Fields say nothing of one learner on the row of the transfer score unless their entry declares it."""
    records = board_records.runs("random", RANDOM, reference=True) + board_records.runs("m", METHOD)
    row = row_of(build_rows(records), method="m", learner="transfer")
    assert {f.name: row[f.name] for f in FIELDS if f.transfer == "empty" and row[f.name] != f.empty} == {}
    assert (row["first_train_id"], row["measured"], row["is_source"]) == ("", "", False)
    assert Field("new", int, "", lambda _: 1).transfer == "empty"
