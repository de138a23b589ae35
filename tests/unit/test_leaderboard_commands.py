"""Commands that make rows again: what they say is what was run, and nothing else is run by them."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tdbench.bench.record import Cell
from tdbench.leaderboard.measures import hydra_value, run_command

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
NAMED = st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), SCALAR, max_size=3)
VALUE = st.one_of(SCALAR, st.lists(SCALAR, max_size=4), NAMED)


def parsed(text: str) -> Any:
    found = OverridesParser.create().parse_override(f"method.x={text}").value()
    composed: Any = OmegaConf.to_container(OmegaConf.create({"x": plain(found)}), resolve=True)
    return composed["x"]


def plain(value: Any) -> Any:
    """What Hydra hands on, without its marks of quotes."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(getattr(key, "text", key)): plain(item) for key, item in value.items()}
    return getattr(value, "text", value)


@given(VALUE)
def test_values_are_read_by_hydra_as_they_were(value):
    assert parsed(hydra_value(value)) == value


@pytest.mark.parametrize(
    "text", ["inf", "true", "NULL", "nan", "", " ", "a b", "it's", "back\\", "\\'", "${oc.env:HOME}", "[1]", "1", "a,b"]
)
def test_texts_that_look_like_something_else_stay_texts(text):
    assert parsed(hydra_value(text)) == text


def test_command_is_one_line_of_a_shell_whatever_a_record_says(board_records):
    hostile = "x'; rm -rf ~; echo $(id) `id` \n#"
    (record,) = board_records.runs("m", {"minilm": [[]]}, options={"a": hostile}, task_options={"variant": hostile})
    cell: Cell = record.cell
    command = run_command(cell, "lite-v1")
    words = shlex.split(command)
    assert words[:6] == ["tdbench", "run", "task=news", "method=m", "budget=dpc10", "protocol=lite-v1"]
    assert len(words) == 8
    assert parsed(words[6].removeprefix("method.a=")) == hostile
    assert words[7].startswith("task.variant=")


def test_references_that_ignore_the_budget_name_none(board_records):
    (record,) = board_records.runs("full", {"minilm": [[]]}, budget="all", data_kind="standin")
    assert run_command(record.cell, "lite-v1") == "tdbench run task=news method=full protocol=lite-v1 data.kind=standin"
