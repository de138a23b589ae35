"""Mixtures: learners read real texts beside a distilled set, and their rows stand apart."""

from __future__ import annotations

import numpy as np
import pytest

from tdbench.bench.config import is_custom, settings_for
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import DataError
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.experiment.stages import mixed_in, train_inputs
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.tables import build_tables
from tests.unit.board_texts import markdown_text
from tests.unit.test_leaderboard_promises import statement

MIXED = ("task=sst2", "data.kind=standin", "protocol=smoke", "protocol.real_per_class=3")


def jobs(*overrides):
    return Planner().plan(settings_for([*MIXED, "budget=dpc5", *overrides]))


@pytest.fixture(scope="module")
def job():
    ((_, trains),) = jobs("method=random").cells
    return trains[0]


def test_real_texts_join_the_set_with_hard_labels_and_weight_one(job):
    real = job.distil.data.train
    soft = np.array([[0.75, 0.25], [0.5, 0.5]])
    made = DistilledSet.from_texts(
        {"sentence": ["a", "b"]}, [0, 1], soft_labels_MC=soft, weights_M=np.array([3.0, 1.0])
    )
    train, _, recipe = train_inputs(job, made)
    drawn = mixed_in(job, made)
    assert train.text.fields["sentence"] == ["a", "b", *drawn.fields["sentence"]]
    assert np.bincount(drawn.labels_N).tolist() == [3, 3]
    np.testing.assert_allclose(train.targets_MC[:2], soft)
    np.testing.assert_array_equal(train.targets_MC[2:], np.eye(2)[drawn.labels_N])
    np.testing.assert_allclose(train.weights_M, np.array([1.5, 0.5, *[1] * 6]), rtol=1e-6)  # their mean is 1
    assert recipe.steps == job.protocol.steps
    assert set(drawn.row_ids_N) <= set(real.row_ids_N)


def test_all_methods_get_the_same_real_texts_and_none_twice(job):
    real = job.distil.data.train
    written = DistilledSet.from_texts({"sentence": ["a", "b"]}, [0, 1])
    plain = mixed_in(job, written)
    first = plain.row_ids_N[0]
    selected = DistilledSet.from_rows(real, real.positions_of_rows(np.array([first, plain.row_ids_N[-1]])))
    other = mixed_in(job, selected)
    assert not {first, plain.row_ids_N[-1]} & set(other.row_ids_N)
    assert set(plain.row_ids_N) - {first, plain.row_ids_N[-1]} < set(other.row_ids_N)
    ((_, first_set), (_, second_set)) = jobs("method=random", "sets=2").cells
    assert set(mixed_in(first_set[0], written).row_ids_N) != set(mixed_in(second_set[0], written).row_ids_N)


def test_every_training_of_a_deterministic_method_has_a_mixture_of_its_own():
    ((_, trains),) = jobs("method=herding", "protocol.deterministic.seeds=3").cells
    written = DistilledSet.from_texts({"sentence": ["a", "b"]}, [0, 1])
    assert len({tuple(mixed_in(one, written).row_ids_N) for one in trains}) == 3


def test_a_class_without_enough_rows_is_said():
    ((_, trains),) = jobs("method=random", "protocol.real_per_class=1000000").cells
    with pytest.raises(DataError, match=r"class 'negative' has \d+ rows besides the set's"):
        mixed_in(trains[0], DistilledSet.from_texts({"sentence": ["a", "b"]}, [0, 1]))


def test_a_promise_says_that_models_of_a_mixture_read_real_rows(board_records):
    facts = {"private": True, "epsilon": 4.0, "privacy": statement()}
    records = [
        *board_records.runs("mine", {"minilm": [[0.8]] * 5}, protocol={"name": "mixed", "real_per_class": 10}, **facts),
        *board_records.runs("mine", {"minilm": [[0.8]] * 5}, **facts),
    ]
    said = {row["track"]: ". ".join(row["promise"]) for row in build_rows(records) if row["learner"] == "minilm"}
    assert "read real rows besides, without noise" in said["text+real"]
    assert "read real rows" not in said["text"]


def test_protocols_without_a_mixture_keep_their_hash_and_their_records():
    (plain,) = settings_for(["task=sst2", "method=random", "budget=dpc5", "protocol=lite-v1"])
    (mixed,) = settings_for(["task=sst2", "method=random", "budget=dpc5", "protocol=mixed-v1"])
    assert "real_per_class" not in plain.protocol.content
    assert mixed.protocol.content["real_per_class"] == 10
    assert not is_custom(plain.protocol)
    assert not is_custom(mixed.protocol)
    assert is_custom(mixed.protocol.model_copy(update={"real_per_class": 11}))


@pytest.mark.parametrize(
    ("method", "reason"),
    [("class-mean", "token vectors"), ("majority", "ignores the budget")],
)
def test_what_cannot_be_mixed_is_skipped_with_the_reason(method, reason):
    plan = jobs(f"method={method}")
    assert not plan.cells
    assert reason in plan.skipped[0][1]


def test_models_of_mixtures_are_not_audited():
    plan = jobs("method=random", "audit=model")
    assert not plan.audits
    assert any("read real texts besides the set" in why for _, why in plan.skipped)


def test_rows_of_mixtures_have_a_track_of_their_own_and_their_own_references(board_records):
    protocol = {"name": "mixed", "real_per_class": 10}
    good, fair = {"minilm": [[0.8]] * 20}, {"minilm": [[0.7]] * 20}
    records = [
        *board_records.runs("random", fair, protocol=protocol),
        *board_records.runs("mine", good, protocol=protocol),
        *board_records.runs("random", {"minilm": [[0.5]] * 20}),
    ]
    rows = {(row["method"], row["track"]): row for row in build_rows(records) if row["learner"] == "minilm"}
    assert set(rows) == {("random", "text+real"), ("mine", "text+real"), ("random", "text")}
    assert rows["mine", "text+real"]["diff_random"] == pytest.approx(0.1)
    document = markdown_text(build_tables(build_rows(records)))
    assert "· text+real · mixed" in document
    assert "MIXTURE" in document
