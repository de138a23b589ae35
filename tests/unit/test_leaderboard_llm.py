"""What language models were asked for, on the board."""

from __future__ import annotations

from tdbench.bench.record import LLMCost, PhaseCost
from tdbench.leaderboard.columns import llm_text
from tdbench.leaderboard.rows import build_rows


def cost(**more):
    values = {"models": ("openai:m",), "calls": 10, "calls_kept": 0, "tokens_in": 1000, "tokens_out": 300, "usd": 0.5}
    return PhaseCost(phase="write", wall_s=1.0, llm=LLMCost(**{**values, **more}))


def row_of(board_records, *phases):
    rows = build_rows(board_records.runs("m", {"minilm": [[0.5], [0.6]]}, distil_cost=phases))
    return next(row for row in rows if row["is_source"])


def test_calls_of_a_set_add_up_over_its_phases(board_records):
    row = row_of(board_records, cost(), cost(models=("task-lm",), calls_kept=10), PhaseCost(phase="select", wall_s=1.0))
    assert (row["llm"], row["llm_calls"], row["llm_tokens_in"], row["llm_usd"]) == (
        ("openai:m", "task-lm"),
        20,
        2000,
        1.0,
    )
    assert llm_text(row) == "openai:m, task-lm: 20 calls, 2,000 + 600 tokens, 1.00 US dollars"


def test_what_one_call_does_not_know_is_not_known(board_records):
    row = row_of(board_records, cost(), cost(usd=None, tokens_out=None))
    assert (row["llm_calls"], row["llm_tokens_out"], row["llm_usd"]) == (20, None, None)
    assert llm_text(row) == "openai:m: 20 calls, 2,000 + \N{EN DASH} tokens"


def test_methods_that_ask_nobody_have_no_calls(board_records):
    row = row_of(board_records, PhaseCost(phase="distil", wall_s=1.0))
    assert (row["llm"], row["llm_calls"], llm_text(row)) == ((), None, "\N{EN DASH}")
