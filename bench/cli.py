"""The command line: `tdbench VERB`. Heavy modules are imported by the verbs that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench import __version__
from bench.errors import TDBenchError

app = typer.Typer(
    name="tdbench",
    help="TDBench: the benchmark for text dataset distillation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RootOption = Annotated[Path, typer.Option("--root", help="Run folder.")]


@app.callback()
def _app(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"tdbench {__version__}")
        raise typer.Exit


@app.command(context_settings=OVERRIDES)
def run(context: typer.Context) -> None:
    """Run task x method x budget: `tdbench run task=agnews method=kmeans` (`tdbench run --help` lists all options)."""
    from bench.commands.run import run_command

    raise typer.Exit(run_command(list(context.args)))


@app.command(context_settings=OVERRIDES)
def plan(context: typer.Context) -> None:
    """Show what `tdbench run` with the same arguments would do, without doing it."""
    from bench.commands.run import plan_command

    raise typer.Exit(plan_command(list(context.args)))


@app.command()
def status(root: RootOption = Path("runs"), json_: JsonFlag = False) -> None:
    """Count finished and failed stages of a run folder, and show the failures."""
    from bench.commands.inspect import status_command

    raise typer.Exit(status_command(root, json_))


@app.command(name="list")
def list_(json_: JsonFlag = False) -> None:
    """List tasks, methods, learners, suites, protocols and budgets, broken plug-ins included."""
    from bench.commands.inspect import list_command

    raise typer.Exit(list_command(json_))


@app.command()
def leaderboard(
    root: RootOption = Path("runs"),
    with_runs: Annotated[bool, typer.Option("--with-runs", help="Add the run folder to the accepted records.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Build the leaderboard from the accepted records."""
    from bench.commands.board import leaderboard_command

    raise typer.Exit(leaderboard_command(root, with_runs, out, json_))


@app.command()
def pack(
    root: RootOption = Path("runs"),
    out: Annotated[Path | None, typer.Option("--out", help="Pack folder; default leaderboard/records.")] = None,
    protocol: Annotated[str, typer.Option("--protocol", help="Only this protocol.")] = "lite-v1",
) -> None:
    """Pack finished stages of a run folder into records for the committed leaderboard."""
    from bench.commands.board import pack_command

    raise typer.Exit(pack_command(root, out, protocol))


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
