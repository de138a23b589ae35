"""What running a training again says on a row, on the page and in tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tdbench.leaderboard.build import build
from tdbench.leaderboard.measures import TOLERANCE_FRAC, verdict
from tdbench.leaderboard.rows import find
from tdbench.leaderboard.stats import prediction_interval

LATER = "2026-12-01T00:00:00Z"


@pytest.fixture
def strong(board_records):
    """Returns a finished training of the source learner by the method `strong`."""
    return next(r for r in board_records.board() if r.train and r.cell.method == "strong" and r.learner == "minilm")


def again(record, *, off=0.0, other_set=False, created=LATER, cpu="Some CPU"):
    train = record.train.model_copy(update={"accuracy_frac": record.train.accuracy_frac + off})
    sha = "f" * 64 if other_set else record.set_sha256
    made = record.provenance.model_copy(update={"cpu": cpu})
    return record.model_copy(update={"train": train, "set_sha256": sha, "created": created, "provenance": made})


def counts(records, second):
    names = ("n_reproduced", "n_consistent", "n_not_reproduced")
    rows = [row for row in find(records, second).rows if any(row[name] for name in names)]
    return [(row["method"], row["learner"], *(row[name] for name in names)) for row in rows]


def test_only_the_row_of_a_training_that_came_out_again_says_so(board_records, strong):
    records = board_records.board()
    assert counts(records, ()) == []
    assert counts(records, [again(strong)]) == [("strong", "minilm", 1, 0, 0)]
    (row,) = [r for r in find(records, [again(strong)]).rows if r["n_reproduced"]]
    assert row["reproduced_on"] == ("2026-12-01, unknown co, Some CPU (2 cores)",)


@pytest.mark.parametrize("change", [{"off": -1.1 * TOLERANCE_FRAC}, {"off": 1.1 * TOLERANCE_FRAC}, {"other_set": True}])
def test_another_set_or_another_score_on_the_same_hardware_is_not_reproduced(board_records, strong, change):
    assert counts(board_records.board(), [again(strong, **change)]) == [("strong", "minilm", 0, 0, 1)]


@pytest.mark.parametrize(("off", "found"), [(0.0, (0, 1, 0)), (0.08, (0, 1, 0)), (0.13, (0, 0, 1)), (-0.13, (0, 0, 1))])
def test_another_set_on_other_hardware_is_consistent_where_its_score_lies_among_those_of_the_row(
    board_records, strong, off, found
):
    # Three sets with a standard deviation of 2 points: one more lies within 9.9 of their mean, which is 2 above the first.
    second = again(strong, off=off, other_set=True, cpu="Another CPU")
    assert counts(board_records.board(), [second]) == [("strong", "minilm", *found)]


def test_a_score_within_a_point_is_reproduced_and_a_failure_is_not(strong):
    assert verdict(strong, again(strong, off=0.9 * TOLERANCE_FRAC), []) == "reproduced"
    assert verdict(strong, strong.model_copy(update={"train": None}), []) == "not reproduced"
    assert verdict(strong, again(strong, other_set=True, cpu="Another CPU"), [0.7]) == "not reproduced"


def test_prediction_interval_holds_one_more_value_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    for count in (3, 5, 20):
        values = rng.normal(size=(20_000, count + 1))
        bounds = [prediction_interval(list(own[:-1])) for own in values]
        held = np.mean([low <= own[-1] <= high for (low, high), own in zip(bounds, values, strict=True)])
        assert held == pytest.approx(0.95, abs=0.006)


def test_a_copy_of_the_first_record_and_a_stranger_count_for_nothing(board_records, strong):
    stranger = again(strong).model_copy(update={"id": "0" * 16})
    assert counts(board_records.board(), [again(strong, created=strong.created), stranger]) == []


def test_tables_and_the_page_tell_who_was_run_again(board_records, strong, tmp_path):
    records = board_records.board()
    build(records, tmp_path, tmp_path / "site", [])
    assert "| reproduced" not in (tmp_path / "tables" / "news.md").read_text()
    build(records, tmp_path, tmp_path / "site", [], reproductions=[again(strong)])
    assert "1 reproduced" in (tmp_path / "tables" / "news.md").read_text()
    page = (tmp_path / "site" / "index.html").read_text()
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    badges = {line["name"]: line["reproduced"] for table in data["tables"] for line in table["lines"]}
    assert badges["strong"] == "reproduced"
    assert not badges["weak"]
    build(records, tmp_path, tmp_path / "site", [], reproductions=[again(strong, other_set=True)])
    assert "1 NOT reproduced" in (tmp_path / "tables" / "news.md").read_text()
