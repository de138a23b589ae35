"""The verbs about finished results; see `tdbench.bench.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    """Run one recorded training again, distilled set and all, and compare."""
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
    from tdbench.bench.commands.figures import Wanted, figures_command

    wanted = Wanted(*(tuple(names or ()) for names in (tasks, budgets, tracks, kinds)))
    raise typer.Exit(figures_command(out, form, wanted, root=root, with_runs=with_runs, as_json=json_))


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
    path: Annotated[Path, typer.Argument(help="A submission: folder or .zip file.")],
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
