"""Conformance of methods."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tdbench.bench.budget import Budget
from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.config import settings_for
from tdbench.bench.context import Context, Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.loading import TaskData
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.method import Method
from tdbench.bench.models.encoder import Encoder, TfidfEncoder
from tdbench.bench.models.llm.access import Access, words_of_task
from tdbench.bench.models.llm.client import Spending
from tdbench.bench.models.llm.method import MODEL_OPTIONS
from tdbench.bench.privacy.private_method import PrivateMethod, release_from
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import LLMSettings
from tdbench.bench.testing.guard import CANARY, Watch, watching
from tdbench.bench.testing.private import HashedEncoder, Outcome, Promise, small_pool
from tdbench.bench.testing.report import Report, one_thread, scramble
from tdbench.bench.testing.second_process import hash_elsewhere
from tdbench.bench.testing.source import check_options, check_source
from tdbench.bench.testing.texts import KINDS, content_of, small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_generator, tiny_learner

TIME_LIMIT_S = 60.0
_BUDGETS = (Budget("dpc2", per_class=2), Budget("tok60", tokens_per_class=60))


def runs_of(plugin: type[Method]) -> list[tuple[str, Budget]]:
    """Kinds of small texts and budgets that a method is tried on; a method without a budget gets all rows."""
    budgets = _BUDGETS if plugin.card.uses_budget else (Budget("all"),)
    return [(kind, budget) for kind in KINDS for budget in budgets]


def check_method(plugin: type[Method], config: Any = None) -> Report:
    """Checks card, options, imports, and runs on small texts of three schemas and two budgets.

    Args:
        plugin: The method's class.
        config: Options to run it with; default its defaults.
    """
    report = Report(str(getattr(plugin, "name", plugin.__name__)))
    problem = plugin.check_class()
    if not report.check(problem is None, "it is a method with a card", str(problem)):
        return report
    _check_card(report, plugin)
    check_source(report, plugin)
    config = check_options(report, plugin, config)
    if config is None:
        return report
    if (
        plugin(config).pretrained_lm is not None
        and plugin(config).pretrained_lm == plugin(plugin.Config()).pretrained_lm
    ):
        config = config.model_copy(update={"lm": tiny_generator()})
        report.notes.append("its language model was replaced by a tiny random one")
    if plugin(config).llms:
        options = [option for option in MODEL_OPTIONS if option in plugin.Config.model_fields]
        config = config.model_copy(update=dict.fromkeys(options, "fake:0"))
        report.notes.append("the language models that it asks were replaced by a script")
    registered = plugin.name in METHODS.names() and METHODS.get(plugin.name) is plugin
    if registered:
        with report.step("the command line composes it"):
            settings_for(["task=agnews", f"method={plugin.name}", "budget=dpc1"])
    else:
        report.notes.append("it is not registered: `method=NAME` and another order of hashes were not tried")
    spent: list[float] = []
    with one_thread():
        for kind, budget in runs_of(plugin):
            _Trial(report, plugin(config), kind, budget, f"{kind}, {budget.name}", spent).check()
    report.n_runs = len(spent)
    if registered and report.ok and config == plugin.Config():
        _check_hash_order(report, plugin)
    longest = max(spent, default=0.0)
    report.check(
        longest < TIME_LIMIT_S,
        f"a tiny run takes at most {longest:.1f} seconds",
        f"expected less than {TIME_LIMIT_S:.0f} s on a few hundred short texts; scale the work with the budget and the data.",
    )
    return report


def _check_hash_order(report: Report, plugin: type[Method]) -> None:
    """Compares a registered method with itself in a process whose sets and dictionaries of strings have another order."""
    try:
        hashes = [content_hash(plugin.name), hash_elsewhere(plugin.name)]
    except RuntimeError as error:
        report.check(False, "it runs in a process of its own", f"it stopped there: {error}")
        return
    report.check(
        hashes[0] == hashes[1],
        "the order of hashes changes nothing",
        f"two processes gave {hashes[0]} and {hashes[1]}; sort what comes out of a set, never use hash().",
    )


def content_hash(name: str) -> str:
    """Returns one hash of the sets that a registered method makes of small texts, with a fixed seed."""
    plugin = METHODS.get(name)
    return content_id([run_once(plugin(), kind, budget) for kind, budget in runs_of(plugin)])


def run_once(method: Method, kind: str, budget: Budget) -> list[Any]:
    """Returns the content of the set that a method makes of small texts, with a fixed seed."""
    report = Report(method.name)
    with one_thread():
        trial = _Trial(report, method, kind, budget, kind, [])
        return [] if method.supports(trial.data.task, budget) is not None else content_of(trial.run(0, 1))


def _check_card(report: Report, plugin: type[Method]) -> None:
    card = plugin.card
    missing = [name for name in ("summary", "family", "owner") if not getattr(card, name)]
    report.check(not missing, "its card is filled in", f"the card lacks {', '.join(missing)}; readers choose by it.")
    report.check(bool(plugin.__doc__), "it has a docstring", "say in one sentence what it does and after which paper.")


@dataclass
class _Trial:
    """A method on one small task with one budget."""

    report: Report
    method: Method
    kind: str
    budget: Budget
    where: str
    spent: list[float]

    @cached_property
    def data(self) -> TaskData:
        """The small task."""
        return small_task(self.kind)

    def check(self) -> None:
        """Runs the method three times: twice with one seed and other global generators, once with another seed."""
        report, where = self.report, self.where
        with report.step(f"supports() answers ({where})"):
            skip = self.method.supports(self.data.task, self.budget)
            if skip is not None:
                report.notes.append(f"{where}: left out by the method itself ({skip.reason})")
                return
        sets: list[DistilledSet] = []
        with report.step(f"it makes a set within its budget ({where})"):
            for seed, world in ((0, 1), (0, 2), (1, 3)):
                sets.append(self.run(seed, world))
        if len(sets) == 3:
            self._compare(*sets)
            if isinstance(self.method, PrivateMethod):
                with report.step(f"its promise can be checked ({where})"):
                    Promise(report, self.method, self.data.train, where, self._release).check()

    def _compare(self, distilled: DistilledSet, again: DistilledSet, other: DistilledSet) -> None:
        report, where, card = self.report, self.where, self.method.card
        report.check(
            distilled.output == self.method.output,
            f"its card's output is what it makes ({where})",
            f"the card says '{self.method.output}', the set holds '{distilled.output}'; correct the card.",
        )
        report.check(
            content_of(distilled) == content_of(again),
            f"the same seed gives the same set ({where})",
            "two runs with one seed differ; draw all randomness from ctx.rng(axis) or ctx.torch_seed(axis), never from "
            "global generators, clocks or the order of sets.",
        )
        differs = content_of(distilled) != content_of(other)
        if card.deterministic:
            fix = "the card says so and another seed gave another set; set deterministic=False."
            report.check(not differs, f"it is deterministic ({where})", fix)
        elif not differs:
            report.notes.append(
                f"{where}: another seed gave the same set; if that is always so, set deterministic=True"
            )
        with report.step(f"its set survives its files ({where})"), tempfile.TemporaryDirectory() as folder:
            loaded = DistilledSet.load(Path(folder), distilled.save(Path(folder), {}))
            if content_of(loaded) != content_of(distilled):
                raise ValueError("a set that was saved and loaded differs; use int64 labels and float32 tensors.")

    def run(self, seed: int, world: int) -> DistilledSet:
        """Makes one set and checks its form and the method's manners."""
        real, cost = self.data.train.copy(), CostMeter()
        scramble(world)
        with tempfile.TemporaryDirectory() as scratch, watching() as watch, contextlib.redirect_stdout(sys.stderr):
            started = time.perf_counter()
            with cost.phase("distil"):
                distilled = self.method.distil(real, self.budget, self._context(seed, cost, scratch))
            self.spent.append(time.perf_counter() - started)
        if not isinstance(distilled, DistilledSet):
            raise TypeError(f"distil returned {type(distilled).__name__}; expected a DistilledSet.")
        _check_manners(self.report, watch, self.where)
        if real.copy().fingerprint != self.data.train.fingerprint:
            raise ValueError("it changed the train split in place; work on a copy.")
        distilled.check(self.budget, self.data.train)
        copied = distilled.n_exact(self.data.train, self.data.train) if distilled.output == "text" else 0
        if copied:
            raise ValueError(
                f"{copied} of its new texts are train texts; hand over row ids with DistilledSet.from_rows."
            )
        if CANARY in " ".join(distilled.resolve(self.data.train).joined()):
            raise ValueError(
                "its texts come from a file of the data folder; a method sees the train split, nothing else."
            )
        return distilled

    def _release(self, method: PrivateMethod, rows: LabelledText) -> Outcome:
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
            ctx = self._context(0, CostMeter(), scratch)
            release = release_from(method, rows.copy(), self.budget, ctx)
        return Outcome(release, ctx)

    def _context(self, seed: int, cost: CostMeter, scratch: str) -> Context:
        return Context(
            seed_from("check", seed),
            "cpu",
            cost,
            Path(scratch),
            self._encoder,
            make_source=lambda: self._source(scratch),
            public_pool=small_pool(self.kind) if "public" in self.method.reads else None,
            llm_access=self._access(scratch) if "llm" in self.method.reads else None,
        )

    def _access(self, scratch: str) -> Access:
        return Access(
            words_of_task(small_task(self.kind).task), Spending(LLMSettings()), Path(scratch) / "replies.sqlite"
        )

    def _source(self, scratch: str) -> Source:
        if "source" not in self.method.reads:
            raise ValueError("it uses the source learner; its card must say reads=('encoder', 'source').")
        return Source("tiny", tiny_learner(), MAX_LENGTH, Path(scratch) / "cache")

    def _encoder(self) -> Encoder:
        if "encoder" not in self.method.reads:
            raise ValueError("it uses the encoder; its card must say reads=('encoder',).")
        return HashedEncoder() if self.method.card.private else TfidfEncoder()


def _check_manners(report: Report, watch: Watch, where: str) -> None:
    """Notes what a run did behind the harness's back; silent where there is nothing to say."""
    for found, what, fix in (
        (
            watch.reads,
            "it reads no file of the data folder",
            "a method sees the train split it is given, nothing else.",
        ),
        (watch.connections, "it does not connect", "a run must repeat offline; let the harness fetch what is needed."),
    ):
        if found:
            report.check(False, f"{what} ({where})", f"{found[0]}: {fix}")
