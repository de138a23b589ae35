"""The conformance suite on methods: those of the suite pass, and every way of breaking the contract is found with advice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tdbench.api import DistilledSet, Method, MethodCard, MethodConfig, Skip
from tdbench.bench.errors import UsageError
from tdbench.bench.registry import METHODS
from tdbench.bench.testing import assert_conforms, check, methods
from tests.unit.small_options import small

CARD = MethodCard(summary="s", family="coreset")


@pytest.fixture
def few_runs(monkeypatch):
    """Tries two kinds of texts, each with another budget; the order of hashes is varied for all methods together."""
    whole = methods.runs_of

    def some(plugin):
        runs = whole(plugin)
        return [runs[1], runs[4]] if len(runs) == 6 else [runs[0], runs[-1]]

    monkeypatch.setattr(methods, "runs_of", some)
    monkeypatch.setattr(methods, "_check_hash_order", lambda report, plugin: None)


def conforms(name: str) -> None:
    method = small(name)
    default = method.config == type(method).Config()
    assert_conforms(type(method) if default else method)


@pytest.mark.parametrize("name", METHODS.names())
@pytest.mark.usefixtures("few_runs")
def test_every_method_of_the_suite_conforms(name):
    conforms(name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_of_the_suite_conforms_with_every_text_and_budget(name):
    conforms(name)


HASHES = """
import sys
from tdbench.bench.canonical import content_id
from tdbench.bench.registry import METHODS
from tdbench.bench.testing.methods import run_once, runs_of

for name in sys.argv[1:]:
    plugin = METHODS.get(name)
    print(name, content_id(run_once(plugin(), *runs_of(plugin)[0])))
"""


def test_the_order_of_hashes_changes_no_method_of_the_suite():
    usual = [METHODS.get(name)() for name in METHODS.names() if small(name).config == METHODS.get(name).Config()]
    names = [method.name for method in usual if method.pretrained_lm is None and not method.llms]
    assert len(names) > 10
    outputs = [
        subprocess.run(
            [sys.executable, "-c", HASHES, *names],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    assert len(outputs[0]) == len(names)
    assert outputs[0] == outputs[1]


class Good(Method):
    """First rows of every class."""

    name = "good"
    card = CARD

    def rows(self, real: Any, budget: Any, ctx: Any) -> list[int]:
        texts, chosen = real.joined(), []
        for label in range(real.n_classes):
            chosen += budget.fill(ctx.rng("a").permutation(real.positions_of_class(label)), texts)
        return chosen

    def distil(self, real: Any, budget: Any, ctx: Any) -> DistilledSet:
        return DistilledSet.from_rows(real, self.rows(real, budget, ctx))


def test_a_good_method_conforms_and_what_could_not_be_tried_is_noted(failures):
    assert failures(Good) == {}
    assert check(Good).notes == ["it is not registered: `method=NAME` and another order of hashes were not tried"]


class GlobalDraws(Good):
    def rows(self, real, budget, ctx):
        first = [int(random.choice(real.positions_of_class(c))) for c in range(real.n_classes)]
        return first if budget.tokens_per_class is None else super().rows(real, budget, ctx)


class SaysDeterministic(Good):
    card = MethodCard(summary="s", family="f", deterministic=True)


class TooMany(Good):
    def rows(self, real, budget, ctx):
        return list(range(len(real)))


class ChangesInPlace(Good):
    def rows(self, real, budget, ctx):
        real.fields[next(iter(real.fields))][0] = "changed"
        return super().rows(real, budget, ctx)


class WrongOutput(Good):
    card = MethodCard(summary="s", family="f", output="text")


class CopiesTrain(Good):
    card = MethodCard(summary="s", family="f", output="text")

    def distil(self, real, budget, ctx):
        rows = real.take(self.rows(real, budget, ctx))
        return DistilledSet.from_texts(rows.fields, rows.labels_N)


class Raises(Good):
    def rows(self, real, budget, ctx):
        raise KeyError("mine")


class ReturnsList(Good):
    def distil(self, real, budget, ctx):
        return self.rows(real, budget, ctx)


class ReadsData(Good):
    def rows(self, real, budget, ctx):
        (Path(DATA_FOLDER) / "test.csv").read_text()
        return super().rows(real, budget, ctx)


class ReadsThroughALink(Good):
    def rows(self, real, budget, ctx):
        link = Path(ctx.scratch) / "link"
        link.symlink_to(DATA_FOLDER)
        (link / "test.csv").read_text()
        return super().rows(real, budget, ctx)


class LooksForData(Good):
    """Reads with code outside Python, where TDBENCH_DATA points."""

    card = MethodCard(summary="s", family="f", output="text")

    def distil(self, real, budget, ctx):
        import pyarrow.parquet as pq

        table = pq.read_table(Path(os.environ["TDBENCH_DATA"]) / "imdb" / "test.parquet")
        text = table.column("text").to_pylist()[0]
        return DistilledSet.from_texts({name: [text] for name in real.fields}, [0])


class UndeclaredEncoder(Good):
    def rows(self, real, budget, ctx):
        ctx.encoder().embed(real)
        return super().rows(real, budget, ctx)


class Connects(Good):
    def rows(self, real, budget, ctx):
        import socket

        with socket.socket() as line:
            line.connect_ex(("127.0.0.1", 9))
        return super().rows(real, budget, ctx)


class LooseOptions(Good):
    class Config(MethodConfig):
        model_config: ClassVar[Any] = {"frozen": False, "extra": "allow"}


class EmptyCard(Good):
    card = MethodCard(summary="", family="")


DATA_FOLDER = ""
BAD_METHODS = {
    GlobalDraws: ("the same seed gives the same set", "ctx.rng"),
    SaysDeterministic: ("it is deterministic", "set deterministic=False"),
    TooMany: ("it makes a set within its budget", "allows"),
    ChangesInPlace: ("it makes a set within its budget", "work on a copy"),
    WrongOutput: ("its card's output is what it makes", "correct the card"),
    CopiesTrain: ("it makes a set within its budget", "hand over row ids"),
    Raises: ("it makes a set within its budget", "KeyError"),
    ReturnsList: ("it makes a set within its budget", "expected a DistilledSet"),
    ReadsData: ("it reads no file of the data folder", "nothing else"),
    ReadsThroughALink: ("it reads no file of the data folder", "nothing else"),
    LooksForData: ("it makes a set within its budget", "come from a file of the data folder"),
    UndeclaredEncoder: ("it makes a set within its budget", "reads=('encoder',)"),
    Connects: ("it does not connect", "offline"),
    LooseOptions: ("its options have valid defaults and survive JSON", "subclass the Config"),
    EmptyCard: ("its card is filled in", "summary, family"),
}


@pytest.mark.parametrize("plugin", BAD_METHODS, ids=lambda plugin: plugin.__name__)
def test_a_method_that_breaks_the_contract_is_found_out(plugin, tmp_path, monkeypatch, failures):
    (tmp_path / "test.csv").write_text("text,label")
    monkeypatch.setenv("TDBENCH_DATA", str(tmp_path))
    monkeypatch.setitem(globals(), "DATA_FOLDER", str(tmp_path))
    what, advice = BAD_METHODS[plugin]
    found = failures(plugin)
    assert what in found, found
    assert advice in found[what]
    assert os.environ["TDBENCH_DATA"] == str(tmp_path)


def test_a_method_may_leave_out_what_it_does_not_support(failures):
    class Picky(Good):
        """Picky."""

        def supports(self, task, budget):
            return Skip("one field only") if len(task.text_fields) > 1 or budget.tokens_per_class else None

    assert failures(Picky) == {}
    assert sum("one field only" in note for note in check(Picky).notes) == 4


def test_what_was_never_run_does_not_conform(failures):
    class Never(Good):
        """Never."""

        def supports(self, task, budget):
            return Skip("never")

    class Asks(Good):
        """Asks."""

        class Config(MethodConfig):
            how: int

    for plugin in (Never, Asks):
        assert failures(plugin) == {}
        assert not check(plugin).ok
        with pytest.raises(AssertionError):
            assert_conforms(plugin)
    assert check(Asks(Asks.Config(how=3))).n_runs == 18


SHUFFLED = """
from tdbench.api import DistilledSet, Method, MethodCard

class Shuffled(Method):
    '''Takes the first of a set of strings.'''
    name = "shuffled"
    card = MethodCard(summary="s", family="f", deterministic=True)

    def distil(self, real, budget, ctx):
        texts, chosen = real.joined(), []
        for label in range(real.n_classes):
            rows = {texts[row]: row for row in real.positions_of_class(label)}
            chosen += budget.fill([rows[text] for text in set(rows)], texts)
        return DistilledSet.from_rows(real, chosen)
"""


def test_the_order_of_hashes_is_varied_for_registered_methods(tmp_path, monkeypatch, failures):
    (tmp_path / "shuffled.py").write_text(SHUFFLED)
    monkeypatch.setenv("TDBENCH_PLUGINS", str(tmp_path / "shuffled.py"))
    monkeypatch.setattr(METHODS, "_entries", None)
    try:
        found = failures(METHODS.get("shuffled"))
    finally:
        monkeypatch.undo()
    assert "sort what comes out of a set" in found["the order of hashes changes nothing"]


def test_the_source_of_a_plugin_is_read_for_imports(tmp_path):
    from tdbench.bench.registry import load_file

    path = tmp_path / "sly.py"
    path.write_text(
        "import torch\nimport pickle\nfrom tdbench.bench.data.loading import load_task\nfrom tdbench.api import Method, MethodCard\n"
        "class Sly(Method):\n    '''Sly.'''\n    name = 'sly'\n    card = MethodCard(summary='s', family='f')\n"
        "    def distil(self, real, budget, ctx):\n        import numpy\n        numpy.load('x', allow_pickle=True)\n"
    )
    found = {finding.what: finding.fix for finding in check(load_file(path).Sly).findings if not finding.ok}
    assert "tdbench.bench.data.loading" in found["it imports tdbench.api and nothing else of the project"]
    assert "torch" in found["its module is fast to import"]
    assert "pickle, numpy.load(allow_pickle=True)" in found["it uses no pickles"]


def test_asserting_lists_what_failed_and_anything_else_is_refused():
    with pytest.raises(AssertionError, match="it is deterministic"):
        assert_conforms(SaysDeterministic)
    with pytest.raises(UsageError, match="is no plug-in"):
        check(int)
