"""The conformance suite on tasks: those of the suite pass, and every way of breaking the contract is found with advice."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest

from tdbench.api import Facts, HubFiles, StandinSchema, Task, TaskConfig
from tdbench.bench.registry import TASKS
from tdbench.bench.testing import assert_conforms, check


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_of_the_suite_conforms(name):
    assert_conforms(TASKS.get(name))


class Words(Task):
    """Six kinds of questions."""

    name = "words"
    text_fields = ("question",)
    label_names = ("a", "b", "c", "d", "e", "f")
    facts = Facts("Words", "CC0", "Nobody, 2026, nothing", {})
    local = {"all": "words/all.csv"}
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="message", material=8)

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        return raw.astype({"label": int})


def variant(**attributes: Any) -> type[Task]:
    return type("Changed", (Words,), {"__doc__": "Changed.", **attributes})


class Moody(TaskConfig):
    mood: str


BAD_TASKS = {
    "no stand-in": (variant(standin=None), "it has a stand-in"),
    "other labels": (variant(label_names=("a", "b")), "its stand-in has its fields and labels"),
    "empty facts": (variant(facts=Facts("", "", "", {})), "its facts are filled in"),
    "absolute path": (variant(local={"all": "/etc/words.csv"}), "its files lie in the data folder"),
    "path upwards": (variant(local={"all": "../words.csv"}), "its files lie in the data folder"),
    "excel": (variant(local={"all": "words.xlsx"}), "its files have a known form"),
    "moving revision": (variant(hub=HubFiles("a/b", "main", {"all": "x.csv"})), "its Hub files are pinned"),
    "other splits": (variant(hub=HubFiles("a/b", "0" * 40, {"train": "x.csv"})), "its Hub files have the same splits"),
    "no docstring": (variant(__doc__=None), "it has a docstring"),
    "no fields": (variant(text_fields=()), "it is a task with fields, labels, facts and files"),
}


@pytest.mark.parametrize("case", BAD_TASKS)
def test_a_task_that_breaks_the_contract_is_found_out(case, monkeypatch, failures):
    monkeypatch.delenv("TDBENCH_DATA", raising=False)
    plugin, what = BAD_TASKS[case]
    found = failures(plugin)
    assert what in found, found
    assert found[what]


def test_real_data_are_checked_where_they_are(tmp_path, monkeypatch, failures):
    monkeypatch.setenv("TDBENCH_DATA", str(tmp_path))
    (tmp_path / "words").mkdir()
    frame = pd.DataFrame({"question": [f"What is {i}?" for i in range(120)], "label": [i % 6 for i in range(120)]})
    frame.to_csv(tmp_path / "words" / "all.csv", index=False)
    assert failures(Words) == {}
    assert any(note.startswith("real data: 87 train, 9 validation, 24 test rows") for note in check(Words).notes)

    class Drawn(Words):
        """Draws anew every time."""

        def frame(self, raw):
            return raw.astype({"label": int}).assign(question=[f"{i} {random.random()}" for i in range(len(raw))])

    assert "its real data are the same every time" in failures(Drawn)

    class Blank(Words):
        """Blank texts."""

        local = {"train": "words/all.csv", "test": "words/all.csv"}

        def frame(self, raw):
            return raw.astype({"label": int}).assign(question=[f"{i}" if i % 7 else " " for i in range(len(raw))])

    found = check(Blank)
    failed = {finding.what for finding in found.findings if not finding.ok}
    assert {"its real data have no blank texts", "train and test of its real data hold different texts"} <= failed
    assert any("train texts are also test texts" in note for note in found.notes)


def test_a_task_of_many_classes_needs_no_stand_in(monkeypatch):
    monkeypatch.delenv("TDBENCH_DATA", raising=False)
    report = check(variant(label_names=tuple(map(str, range(77))), standin=None))
    assert {finding.what for finding in report.findings if not finding.ok} == set()
    assert any("at most 20 classes" in note for note in report.notes)


def test_a_task_whose_options_have_no_default_is_not_run_and_the_report_says_so():
    report = check(variant(Config=Moody))
    assert not report.ok
    assert any("mood" in note for note in report.notes)
