"""`tdbench run` and `tdbench plan`."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench._paths import RECORDS, default_board
from tdbench.bench.card import Estimate
from tdbench.bench.commands.audit import print_audits
from tdbench.bench.config import resolved_yaml, settings_for
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import PrerequisiteError, UsageError
from tdbench.bench.models.llm.access import ModelName
from tdbench.bench.models.llm.client import dollars
from tdbench.bench.progress import Reporter, duration, reporter

if TYPE_CHECKING:
    from tdbench.bench.experiment.executor import Outcome
    from tdbench.bench.experiment.jobs import DistilJob
    from tdbench.bench.experiment.plan import Plan
    from tdbench.bench.experiment.results import Results
    from tdbench.bench.method import Method
    from tdbench.bench.settings import LLMSettings, RunSettings

STATES = ("finished", "failed", "to run")
FLAGS = ("-m", "--dry-run", "--stages", "--cfg", "--no-board", "--json")


@dataclass(frozen=True)
class Arguments:
    """Flags and overrides of a command."""

    words: list[str]
    overrides: list[str]
    multirun: bool
    dry_run: bool
    show_config: bool
    no_board: bool
    json: bool
    stages: bool


def parse(words: list[str]) -> Arguments:
    """Tells flags from overrides.

    Raises:
        UsageError: A flag does not exist.
    """
    flags = {word for word in words if word.startswith("-") and "=" not in word}
    unknown = flags - {*FLAGS, "--multirun"}
    if unknown:
        raise UsageError(f"unknown flag {sorted(unknown)[0]}; known: {', '.join(FLAGS)}.")
    return Arguments(
        words=words,
        overrides=[word for word in words if word not in flags],
        multirun=bool(flags & {"-m", "--multirun"}),
        dry_run="--dry-run" in flags,
        show_config="--cfg" in flags,
        no_board="--no-board" in flags,
        json="--json" in flags,
        stages="--stages" in flags,
    )


def run_command(words: list[str]) -> int:
    """Runs what the overrides ask for, builds the leaderboard, prints its tables. Returns the exit code."""
    args = parse(words)
    if args.show_config:
        if args.multirun:
            raise UsageError("--cfg shows one configuration; leave out -m and name one value for each key.")
        print(resolved_yaml(args.overrides))  # noqa: T201
        return 0
    if args.dry_run or args.stages:
        return plan_command([word for word in words if word != "--dry-run"])
    return perform(settings_for(args.overrides, args.multirun), args)


def perform(runs: list[RunSettings], args: Arguments, method: Method | None = None) -> int:
    """Runs the stages, builds the leaderboard and prints its tables.

    Args:
        runs: What to run.
        args: Flags, and the overrides that other processes of this command are started with.
        method: Takes the place of the method that the runs name.

    Returns:
        The exit code.
    """
    from tdbench.bench.experiment.provenance import joined_by, other_devices
    from tdbench.bench.experiment.runner import Runner

    plan, results = _planned(runs, method)
    say = (lambda _: None) if args.json else _say
    _announce(plan, say)
    runtime = runs[0].runtime
    # Processes that repeat finished stages would repeat each other's work; they know nothing of a method from a file.
    others = [] if runtime.force or runtime.retry or method else other_devices(runtime.device)
    runner = Runner(results, runtime, reporter(silent=args.json))
    if asks_servers(plan):
        for line in estimate_lines(plan, runner.states(plan), runtime.llm):
            say(line)
    with joined_by(others, args.words, runtime.root):
        outcome = runner.run(plan)
    _warn_of_leaks(plan, results, say)
    if args.no_board:
        _print_failures(plan, outcome, runtime.root)
        return _exit_code(plan, outcome)
    board = runtime.board or default_board(runtime.root)
    rows = _build_board(runtime.root, board)
    if args.json:
        print(json.dumps(_summary(plan, outcome, board, rows), allow_nan=False))  # noqa: T201
    else:
        _print_tables(runs, plan, rows)
        print_audits(plan, results)
        _print_outcome(plan, outcome, board, runtime.root)
    return _exit_code(plan, outcome)


def plan_command(words: list[str]) -> int:
    """Prints what `run` would do, by method. Returns the exit code."""
    args = parse(words)
    from tdbench.bench.experiment.runner import Runner

    runs = settings_for(args.overrides, args.multirun)
    plan, results = _planned(runs)
    states = Runner(results, runs[0].runtime, Reporter()).states(plan)
    if args.json:
        requests = {name: vars(expected) for name, expected in estimate(plan, states).items()}
        print(json.dumps({"stages": states, "skipped": plan.skipped, "missing": plan.missing, "llm": requests}))  # noqa: T201
        return 0
    _announce(plan, _say)
    if args.stages:
        for state in states:
            print(f"{state['state']:9} {state['stage']:7} {state['id']}  {state['title']}")  # noqa: T201
    else:
        print("\n".join(_method_lines(plan, states)))  # noqa: T201
    for line in estimate_lines(plan, states, runs[0].runtime.llm):
        print(line)  # noqa: T201
    print(f"{_counted(states)}.")  # noqa: T201
    print("A stage makes one distilled set, trains and tests one model on it, or audits; --stages lists them.")  # noqa: T201
    return 0


def _counted(states: list[dict[str, Any]]) -> str:
    """Returns how many stages are finished, failed and to run, and how long the last take."""
    counts = Counter(state["state"] for state in states)
    text = ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    left = sum(state["expected_s"] for state in states if state["state"] == "to run")
    return f"{len(states)} stages: {text or 'none'}; roughly {duration(left)} on this machine"


def _method_lines(plan: Plan, states: list[dict[str, Any]]) -> list[str]:
    """Writes one line for each method: stages, how many are finished, failed and to run, and expected time of the last."""
    labels = {job.id: distil.facts.label for distil, trains in plan.cells for job in (distil, *trains)}
    labels |= {job.id: audit.distil.facts.label for audit in plan.audits for job in (*audit.needs, audit)}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for state in states:
        rows[labels[state["id"]]].append(state)
    width = max(map(len, ("method", *rows)))
    lines = [f"{'method':{width}}  stages  finished  failed  to run  expected"] if rows else []
    for label, method_states in rows.items():
        finished, failed, to_run = (sum(state["state"] == name for state in method_states) for name in STATES)
        left = duration(sum(state["expected_s"] for state in method_states if state["state"] == "to run"))
        lines.append(f"{label:{width}}  {len(method_states):6}  {finished:8}  {failed:6}  {to_run:6}  {left:>8}")
    return lines


def _planned(runs: list[RunSettings], method: Method | None = None) -> tuple[Plan, Results]:
    from tdbench.bench.experiment.plan import Planner
    from tdbench.bench.experiment.results import Results

    if any(run.runtime != runs[0].runtime for run in runs):
        raise UsageError("runtime.* cannot be swept: it says where the whole command runs.")
    plan = Planner().plan(runs, method)
    if not plan.cells and not plan.skipped and plan.failed:
        raise plan.failed[0][1]
    if not plan.cells and plan.missing:
        raise PrerequisiteError(plan.missing[0][1])
    runtime = runs[0].runtime
    return plan, Results(runtime.root, RECORDS if runtime.accepted else None)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _announce(plan: Plan, say: Any) -> None:
    for data in plan.data:
        rows = f"{len(data.train):,} train, {len(data.validation):,} hidden validation, {len(data.test):,} test rows"
        say(f"{data.task.name}: {data.origin}; {rows}")
        for note in data.notes:
            say(f"  note: {note}")
        if data.data_kind == "standin":
            say("  *** STAND-IN DATA: generated text. These numbers say nothing about real text. ***")
            for reason in data.tried:
                say(f"  *** not used: {reason}")
    for what, why in dict.fromkeys(plan.skipped):
        say(f"left out: {what}: {why}")
    for what, why in dict.fromkeys(plan.missing):
        say(f"MISSING: {what}: {why}")


def _warn_of_leaks(plan: Plan, results: Results, say: Any) -> None:
    for job, _ in plan.cells:
        record = results.store.get("distil", job.id)
        result = None if record is None else record.distil
        if result is not None and result.output == "text" and result.n_test_exact:
            say(
                f"WARNING: {job.title}: {result.n_test_exact} of its {result.n_rows} texts equal test texts; it is not ranked."
            )
        if result is not None and result.n_train_exact:
            say(f"note: {job.title}: {result.n_train_exact} of its {result.n_rows} texts equal train texts.")


def _build_board(root: Path, board: Path) -> list[Any]:
    from tdbench.bench.commands.board import build_board

    return build_board(root, with_runs=True, out=board)


def _print_tables(runs: list[RunSettings], plan: Plan, rows: list[Any]) -> None:
    from rich.console import Console

    from tdbench.leaderboard.markdown import summary_tables

    tasks = {data.task.name for data in plan.data}
    kinds = {data.data_kind for data in plan.data}
    shown = [row for row in rows if row["data_kind"] in kinds]
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in summary_tables(shown, tasks=tasks, protocols={run.protocol.name for run in runs}):
        console.print(table)


def _print_outcome(plan: Plan, outcome: Outcome, board: Path, root: Path) -> None:
    print(f"{outcome.n_run} stages run, {outcome.n_reused} reused, {len(outcome.failures)} failed.")  # noqa: T201
    _print_failures(plan, outcome, root)
    if outcome.n_blocked:
        _say(f"{outcome.n_blocked} training stages were not run, because their distilled set failed.")
    if outcome.n_blocked_audits:
        _say(f"{outcome.n_blocked_audits} audits were not played, because one of their runs failed.")
    for text in sorted(outcome.damaged):
        _say(f"note: distilled or trained anew: {text}")
    for method in sorted(outcome.source_changed):
        _say(
            f"note: the source of method '{method}' has changed since its reused sets were made; raise its `version`, "
            "or run with runtime.force=true."
        )
    if outcome.stopped:
        _say("stopped: runtime.max_failures was reached.")
    print(f"Leaderboard: {board / 'LEADERBOARD.md'}, page: {board / 'site' / 'index.html'}")  # noqa: T201


def _print_failures(plan: Plan, outcome: Outcome, root: Path) -> None:
    for record in outcome.failures:
        assert record.error is not None
        where = root / record.stage / record.id / "record.json"
        name = f"{record.cell.task} · {record.method_facts.label} · {record.cell.budget} · {record.learner or record.stage}"
        _say(
            f"FAILED {name}: {record.error.type}: {record.error.message.splitlines()[0] if record.error.message else ''}"
        )
        _say(f"       traceback: {where}; repeat it with runtime.retry=true")
    for what, error in plan.failed:
        _say(f"FAILED {what}: {error}")


def _summary(plan: Plan, outcome: Outcome, board: Path, rows: list[Any]) -> dict[str, Any]:
    from tdbench.leaderboard.build import json_row

    fingerprints = {data.task.name: data.data_kind for data in plan.data}
    return {
        "n_run": outcome.n_run,
        "n_reused": outcome.n_reused,
        "failures": [{"id": r.id, "stage": r.stage, "error": r.error.message} for r in outcome.failures if r.error],
        "skipped": plan.skipped,
        "missing": plan.missing,
        "failed": [(what, str(error)) for what, error in plan.failed],
        "data_kind": fingerprints,
        "board": str(board),
        "audits": [job.id for job in plan.audits],
        "rows": [json_row(row) for row in rows if row["task"] in fingerprints],
    }


def _exit_code(plan: Plan, outcome: Outcome) -> int:
    if outcome.failures or plan.failed:
        return 1
    return 3 if plan.missing else 0


def asks_servers(plan: Plan) -> bool:
    """Tells whether a plan has methods that ask language models behind servers."""
    return any(ModelName.parse(name).paid for job, _ in plan.cells for name in job.method.llms)


def estimate(plan: Plan, states: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Guesses what the sets that are still to be made take, by model; replies that are kept from before are not looked up.

    Args:
        plan: The plan.
        states: What is to run, as `Runner.states` says.
    """
    to_run = {state["id"] for state in states if state["state"] == "to run"}
    jobs = [job for job, _ in plan.cells if job.id in to_run]
    jobs += [shadow.distil for audit in plan.audits for shadow in audit.shadows if shadow.distil.id in to_run]
    estimates: dict[str, Estimate] = {}
    for job in jobs:
        names = [name.shown for name in map(ModelName.parse, job.method.llms) if name.paid]
        if not names:
            continue
        rows = job.data.train
        if job.method.card.private:  # such a method never sees a row
            rows = _public_rows(job)
        expected, key = job.method.estimate(rows, job.budget), " and ".join(names)
        if expected is None:
            continue
        total = estimates.get(key, Estimate(0, 0, 0))
        estimates[key] = Estimate(
            total.calls + expected.calls, total.tokens_in + expected.tokens_in, total.tokens_out + expected.tokens_out
        )
    return estimates


def _public_rows(job: DistilJob) -> LabelledText:
    """Returns public texts in the shape of a task's rows."""
    like = job.data.train
    if job.public is None:
        return LabelledText({name: [] for name in like.fields}, like.labels_N[:0], like.label_names, like.row_ids_N[:0])
    texts = job.public.rows(tuple(like.fields), np.arange(min(100, len(job.public.texts))))
    return LabelledText(texts.fields, texts.labels_N, like.label_names, texts.row_ids_N)


def estimate_lines(plan: Plan, states: list[dict[str, Any]], limits: LLMSettings) -> list[str]:
    """Says in words what a plan would ask of language models behind servers, and whether the limits suffice."""
    lines, calls, usd = [], 0, 0.0
    for name, expected in estimate(plan, states).items():
        price = dollars(expected.tokens_in, expected.tokens_out, limits)
        calls, usd = calls + expected.calls, usd + (price or 0.0)
        money = (
            "price not known (runtime.llm.price_in, price_out)" if price is None else f"about {price:.2f} US dollars"
        )
        lines.append(
            f"{name}: about {expected.calls:,} calls, {expected.tokens_in:,} tokens in, {expected.tokens_out:,} out, "
            f"{money}; cached replies cost nothing."
        )
    for what, limit, needed in (("max_calls", limits.max_calls, calls), ("max_usd", limits.max_usd, usd)):
        if limit is not None and needed > limit:
            lines.append(f"That is more than runtime.llm.{what}={limit}: the command would stop there.")
    return lines
