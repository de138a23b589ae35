"""`tdbench figures`: the board's figures for papers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tdbench.bench.commands.board import board_records
from tdbench.bench.errors import UsageError


@dataclass(frozen=True)
class Wanted:
    """Which figures; all where a field is empty."""

    tasks: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


def figures_command(out: Path, form: str, wanted: Wanted, *, root: Path, with_runs: bool, as_json: bool) -> int:
    """Draws every figure that has something to show. Returns the exit code.

    Args:
        out: Folder to write to.
        form: `svg`, `pdf` or `png`.
        wanted: Which figures.
        root: Run folder.
        with_runs: Whether its records join the accepted ones.
        as_json: Whether to print one JSON object.

    Raises:
        UsageError: There is no such format or kind, or no result for a task, budget or track.
    """
    from tdbench.leaderboard.audits import set_curves
    from tdbench.leaderboard.drawing import FORMATS, save
    from tdbench.leaderboard.figures import KINDS, all_figures
    from tdbench.leaderboard.rows import find
    from tdbench.leaderboard.tables import build_tables

    if form not in FORMATS:
        raise UsageError(f"--format is '{form}'; expected one of {', '.join(FORMATS)}.")
    records, _, _ = board_records(root, with_runs)
    _check("tasks", wanted.tasks, {record.cell.task for record in records})
    records = [record for record in records if not wanted.tasks or record.cell.task in wanted.tasks]
    found = find(records)
    tables = build_tables(found.rows)
    _check("budgets", wanted.budgets, {table.budget for table in tables})
    _check("tracks", wanted.tracks, {table.track for table in tables})
    _check("kinds", wanted.kinds, set(KINDS))
    tables = [table for table in tables if table.budget in (wanted.budgets or (table.budget,))]
    tables = [table for table in tables if table.track in (wanted.tracks or (table.track,))]
    ranks = [one for one in found.rankings if one.budget in (wanted.budgets or (one.budget,))]
    drawn = all_figures(tables, found.curves, ranks, set_curves(records), wanted.kinds or KINDS)
    files = [f"{name}.{form}" for name in drawn]
    for name, file in zip(drawn, files, strict=True):
        save(drawn[name], out / file)
    if as_json:
        print(json.dumps({"folder": str(out), "files": files}))  # noqa: T201
    else:
        print(f"{len(files)} figures in {out}.")  # noqa: T201
    return 0


def _check(what: str, asked: Iterable[str], known: set[str]) -> None:
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(
            f"there are no results for the {what} {', '.join(unknown)}; there are {', '.join(sorted(known))}."
        )
