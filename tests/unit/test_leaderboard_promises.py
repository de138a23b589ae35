"""What the board says about promises of differential privacy."""

from __future__ import annotations

from typing import Any

import pytest

from tdbench.bench.record import PrivacyStatement, PrivateQuery
from tdbench.leaderboard.measures import Promise
from tdbench.leaderboard.page import PageContext, card_of
from tdbench.leaderboard.rows import build_rows
from tdbench.leaderboard.tables import build_tables
from tests.unit.board_texts import markdown_text

VOTES = PrivateQuery(name="votes", mechanism="gaussian", sensitivity=1.0, noise_multiplier=4.1234, steps=4)
TRAINING = PrivateQuery(
    name="training", mechanism="sampled-gaussian", sensitivity=0.5, noise_multiplier=1.1, rate=0.0123, steps=300
)
SETS = {"minilm": [[0.8], [0.9], [0.7]]}


def statement(**changes: Any) -> PrivacyStatement:
    fields = {
        "epsilon": 4.0,
        "delta": 2e-6,
        "epsilon_spent": 3.99,
        "epsilon_check": 4.0,
        "epsilon_of_sets": {2: 6.0, 3: 7.5, 5: 10.0},
        "n_rows": 46_891,
        "accountants": ("PLD", "PRV"),
        "queries": (VOTES, TRAINING),
        "public": ({"name": "pool", "sha256": "0123456789abcdef00", "overlap": "none known"},),
        "released": ("labels", "texts"),
        "noise": "PCG64",
    }
    return PrivacyStatement.model_validate(fields | changes)


def rows_of(board_records: Any, said: PrivacyStatement, **facts: Any) -> list[Any]:
    facts = {"private": True, "privacy": said, "epsilon": said.epsilon, **facts}
    return build_rows(board_records.runs("dp", SETS, **facts))


def test_a_row_prints_everything_that_its_promise_rests_on(board_records):
    row = rows_of(board_records, statement())[0]
    assert (row["epsilon"], row["delta"], row["epsilon_all_sets"]) == (4.0, 2e-6, 7.5)
    assert row["released"] == ("labels", "texts")
    for words in (
        "Epsilon 4 at delta 2e-06 under adding or removing one row of the train split, spent 3.990, checked 4.000 (PLD; PRV)",
        "all 3 sets together 7.50",
        "Number of rows, public: 46,891",
        "'votes' 4 times, gaussian, sums of all rows (q = 1), sensitivity (clipping norm) 1, noise of sigma 4.123 times that",
        "'training' 300 times, sampled-gaussian, sums of Poisson samples (q = 0.0123), sensitivity (clipping norm) 0.5, noise of",
        "Public: pool (0123456789abcdef; overlap: none known)",
        "Noise: PCG64",
    ):
        assert words in ". ".join(row["promise"])


def test_tables_list_promises_and_the_page_holds_them(board_records):
    tables = build_tables(rows_of(board_records, statement()))
    text = markdown_text(tables)
    assert "Differential privacy:" in text
    assert "Released: labels, texts." in text
    facts = dict(card_of(tables[0].lines[0], tables[0], PageContext())["facts"])
    assert facts["privacy"].startswith("Epsilon 4 at delta")
    assert facts["released"] == "labels, texts"
    plain = build_tables(build_rows(board_records.runs("plain", SETS)))
    assert "Differential privacy:" not in markdown_text(plain)
    assert "privacy" not in dict(card_of(plain[0].lines[0], plain[0], PageContext())["facts"])


def test_a_promise_that_was_lost_says_why(board_records):
    said = statement(
        epsilon="inf",
        epsilon_spent=None,
        epsilon_check=None,
        epsilon_of_sets={},
        raw_reads=("to count words",),
        accountants=(),
    )
    row = rows_of(board_records, said)[0]
    assert row["promise"][0].startswith("No promise: epsilon is infinite under adding or removing one row")
    assert "Rows were read outside of any mechanism: to count words" in ". ".join(row["promise"])
    assert row["epsilon_all_sets"] is None


def test_controls_groups_and_questions_that_were_not_asked(board_records):
    assert "CONTROL: every answer is the noise alone. Epsilon 4" in ". ".join(
        rows_of(board_records, statement(oracle="noise-only"))[0]["promise"]
    )
    assert "adding or removing one group of 3 rows" in ". ".join(
        rows_of(board_records, statement(group=3))[0]["promise"]
    )
    blind = statement(epsilon=0.0, epsilon_spent=0.0, queries=())
    assert "no question about the rows" in ". ".join(rows_of(board_records, blind)[0]["promise"])


def test_the_weakest_of_several_promises_counts(board_records):
    results = [
        board_records.distil("dp", i, privacy=said).distil
        for i, said in enumerate((statement(), statement(epsilon=8.0, epsilon_spent=7.9)))
    ]
    found = Promise.of([*results, None])
    assert found.sentences[0].startswith("Epsilon 8 at")
    assert found.epsilon_all_sets == 7.5  # the set that failed may have asked
    assert Promise.of([None]) == Promise()


@pytest.mark.parametrize(("count", "together"), [(1, 3.99), (4, 10.0), (6, None)])
def test_sets_together_are_bounded_by_the_next_larger_number_that_is_known(board_records, count, together):
    results = [board_records.distil("dp", i, privacy=statement()).distil for i in range(count)]
    assert Promise.of(results).epsilon_all_sets == together
