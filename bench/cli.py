"""The command line: `tdbench VERB`. Heavy modules are imported by the verbs that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tdbench.bench._version import __version__
from tdbench.bench.errors import TDBenchError, UsageError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RootOption = Annotated[Path, typer.Option("--root", help="Run folder.")]
WithRuns = Annotated[bool, typer.Option("--with-runs", help="Add the run folder to the accepted records.")]


def reproduce(
    stage_id: Annotated[str, typer.Argument(metavar="ID", help="Beginning of the id of a training or a set.")],
    root: RootOption = Path("runs"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    save: Annotated[bool, typer.Option("--save", help="Keep the new record for the committed leaderboard.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Reproduce one recorded training, distilled set included, and compare."""
    from tdbench.bench.commands.reproduce import reproduce_command

    raise typer.Exit(reproduce_command(stage_id, root, device, save=save, as_json=json_))


def leaderboard(
    root: RootOption = Path("runs"),
    with_runs: WithRuns = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Build the leaderboard from the accepted records."""
    from tdbench.bench.commands.board import leaderboard_command

    raise typer.Exit(leaderboard_command(root, with_runs, out, json_))


def quality(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; default all.")] = None,
    root: RootOption = Path("runs"),
    accepted: Annotated[bool, typer.Option("--accepted", help="Also the sets of leaderboard/records.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Measure the texts of finished sets that are not measured yet, and write it into their records."""
    from tdbench.bench.commands.quality import quality_command

    raise typer.Exit(quality_command(root, tuple(tasks or ()), accepted, json_))


def pack(
    root: RootOption = Path("runs"),
    out: Annotated[Path | None, typer.Option("--out", help="Pack folder; default leaderboard/records.")] = None,
    protocol: Annotated[str, typer.Option("--protocol", help="Only this protocol.")] = "lite-v1",
) -> None:
    """Pack finished stages of a run folder into records for the committed leaderboard."""
    from tdbench.bench.commands.board import pack_command

    raise typer.Exit(pack_command(root, out, protocol))


def export(
    stage_id: Annotated[str, typer.Argument(metavar="ID", help="Beginning of the id of a distilled set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    root: RootOption = Path("runs"),
    json_: JsonFlag = False,
) -> None:
    """Write a distilled set as a data-set folder with a card, in the layout of the Hugging Face Hub."""
    from tdbench.bench.commands.export import export_command

    raise typer.Exit(export_command(stage_id, out, root, json_))


def figures(  # noqa: PLR0917 - typer's options are parameters
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks; default all.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    form: Annotated[str, typer.Option("--format", help="svg, pdf or png.")] = "svg",
    budgets: Annotated[list[str] | None, typer.Option("--budget", help="Only this budget; may be given again.")] = None,
    tracks: Annotated[list[str] | None, typer.Option("--track", help="Only this track; may be given again.")] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="scores, pareto, heat, privacy, roc, scaling or ranks.")
    ] = None,
    root: RootOption = Path("runs"),
    with_runs: WithRuns = False,
    json_: JsonFlag = False,
) -> None:
    """Draw the leaderboard's figures for a paper."""
    from tdbench.bench.commands.board import FigureSelection, figures_command

    selection = FigureSelection(*(tuple(names or ()) for names in (tasks, budgets, tracks, kinds)))
    raise typer.Exit(figures_command(out, form, selection, root=root, with_runs=with_runs, as_json=json_))


def submit(
    method: Annotated[str, typer.Argument(help="Name of a method with finished runs.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to make; default submission-METHOD.")] = None,
    root: RootOption = Path("runs"),
    json_: JsonFlag = False,
) -> None:
    """Collect a method's records, sets and hashes into a folder that can be proposed."""
    from tdbench.bench.commands.submit import submit_command

    raise typer.Exit(submit_command(method, out, root, json_))


def validate(  # noqa: PLR0917 - typer's options are parameters
    path: Annotated[Path, typer.Argument(help="A submission's folder.")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Add its packs to leaderboard/records where nothing refuses it.")
    ] = False,
    allow_unchecked: Annotated[
        bool, typer.Option("--allow-unchecked", help="Accept though scores or sets could not be checked here.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse also where they could not be checked here.")] = False,
    retrain: Annotated[
        int, typer.Option("--retrain", min=0, help="Trainings to repeat, drawn at random, besides all quick ones.")
    ] = 0,
    json_: JsonFlag = False,
) -> None:
    """Check a submission without running any of its code; print all findings."""
    from tdbench.bench.commands.submit import validate_command

    raise typer.Exit(
        validate_command(
            path, accept=accept, allow_unchecked=allow_unchecked, strict=strict, retrain=retrain, as_json=json_
        )
    )


RESULT_COMMANDS = (reproduce, leaderboard, quality, pack, export, figures, submit, validate)
app = typer.Typer(
    name="tdbench",
    help="TDBench: the benchmark for text dataset distillation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
HELP = frozenset({"--help", "-h"})


@app.callback()
def _app(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"tdbench {__version__}")
        raise typer.Exit


@app.command(context_settings=OVERRIDES)
def run(context: typer.Context) -> None:
    """Run task x method x budget: `tdbench run task=agnews method=kmeans` (`tdbench run --help` says more)."""
    if HELP & set(context.args):
        from tdbench.bench.commands.show import run_help

        typer.echo(run_help())
        raise typer.Exit
    from tdbench.bench.commands.run import run_command

    raise typer.Exit(run_command(list(context.args)))


@app.command(context_settings=OVERRIDES)
def plan(context: typer.Context) -> None:
    """Show what `tdbench run` with the same arguments would do, by method, without doing it."""
    if HELP & set(context.args):
        run(context)
    from tdbench.bench.commands.run import plan_command

    raise typer.Exit(plan_command(list(context.args)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def evaluate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Distilled set: .jsonl, .csv or .parquet with text fields and label.")],
    task: Annotated[str, typer.Option("--task", help="The task it is for.")],
    name: Annotated[str | None, typer.Option("--name", help="Name in tables; default the file's.")] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="Budget it must fit; default its own size.")] = None,
) -> None:
    """Score a distilled set made anywhere: `tdbench evaluate mine.jsonl --task sst2 [learners=[minilm] ...]`."""
    from tdbench.bench.commands.evaluate import evaluate_command

    raise typer.Exit(evaluate_command(file, task, name, budget, list(context.args)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def audit(  # noqa: PLR0917 - typer's options are parameters
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Distilled set, as for evaluate.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="The task it is for.")] = None,
    members: Annotated[
        Path | None, typer.Option("--members", help="Row ids that it was made from, one a line.")
    ] = None,
    draw: Annotated[Path | None, typer.Option("--draw", help="Write row ids to distil from into this file.")] = None,
    number: Annotated[int, typer.Option("--run", help="Which draw; 2k and 2k + 1 are complementary.")] = 0,
    json_: JsonFlag = False,
) -> None:
    """Attack a set made anywhere: `tdbench audit mine.jsonl --task sst2 --members ids.txt`, distilled from `--draw ids.txt --task sst2`."""
    from tdbench.bench.commands.audit import audit_command, draw_command

    words = list(context.args)
    if file is not None and "=" in file.name and not file.exists():  # no FILE: the first override takes its place
        file, words = None, [str(file), *words]
    if draw is not None:
        if file is not None or members is not None:
            raise UsageError(
                "--draw writes rows to distil from, and reads neither FILE nor --members; give one or the other."
            )
        raise typer.Exit(draw_command(draw, task, number, words))
    raise typer.Exit(audit_command(file, task, members, json_, words))


@app.command()
def status(
    words: Annotated[list[str] | None, typer.Argument(metavar="[runtime.root=FOLDER]", help="As for run.")] = None,
    root: RootOption = Path("runs"),
    json_: JsonFlag = False,
) -> None:
    """Count finished and failed stages of a run folder, and show the failures."""
    from tdbench.bench.commands.show import status_command

    for word in words or ():
        if not word.startswith("runtime.root="):
            raise UsageError(f"tdbench status takes runtime.root=FOLDER or --root FOLDER; got '{word}'.")
        root = Path(word.removeprefix("runtime.root="))
    raise typer.Exit(status_command(root, json_))


@app.command(name="list")
def list_(json_: JsonFlag = False) -> None:
    """List tasks, methods, learners, suites, protocols, audits and budgets, broken plug-ins included."""
    from tdbench.bench.commands.show import list_command

    raise typer.Exit(list_command(json_))


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="method, task or learner.")],
    name: Annotated[str, typer.Argument(help="Lower case, words joined by - or _.")],
    package: Annotated[bool, typer.Option("--package", help="Write a package of its own instead.")] = False,
    to: Annotated[Path, typer.Option("--to", help="Folder that receives the package.")] = Path(),
) -> None:
    """Start a plug-in that runs as it is, in the tree or as a package of its own."""
    from tdbench.bench.commands.new import new_command

    raise typer.Exit(new_command(kind, name, package, to))


@app.command()
def check(
    name: str,
    kind: Annotated[str | None, typer.Option("--kind", help="method, task or learner.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Check that a plug-in keeps the contract of its kind; every failure says how to fix it."""
    from tdbench.bench.commands.new import check_command

    raise typer.Exit(check_command(name, kind, json_))


@app.command()
def show(
    name: str,
    kind: Annotated[str | None, typer.Option("--kind", help="Where a name has several meanings.")] = None,
    root: RootOption = Path("runs"),
    json_: JsonFlag = False,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw a set's curves, or an audit's, into this file.")
    ] = None,
) -> None:
    """Show everything about a plug-in, preset, suite, protocol, or a stage by the beginning of its id."""
    from tdbench.bench.commands.show import show_command

    raise typer.Exit(show_command(name, kind, root, json_, figure))


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Tasks and learners, such as agnews spam:enron bert-base.")],
    json_: JsonFlag = False,
) -> None:
    """Get data and weights ahead of time, so that runs need no network."""
    from tdbench.bench.commands.fetch import fetch_command

    raise typer.Exit(fetch_command(names, json_))


@app.command()
def doctor(root: RootOption = Path("runs"), json_: JsonFlag = False) -> None:
    """Look for what is missing on this machine, and say how to get it."""
    from tdbench.bench.commands.show import doctor_command

    raise typer.Exit(doctor_command(root, json_))


for command in RESULT_COMMANDS:
    app.command()(command)


def main() -> None:
    """Runs the command line; errors raised on purpose are printed without a traceback."""
    try:
        app()
    except TDBenchError as error:
        sys.stderr.write(f"tdbench: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(
            f"tdbench: {error.filename} cannot be used: {error.strerror}; choose another folder or free it.\n"
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("\ntdbench: interrupted; the same command goes on where this one stopped.\n")
        sys.exit(130)
