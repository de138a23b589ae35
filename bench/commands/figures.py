"""`tdbench figures`: the board's figures for papers."""

from __future__ import annotations

import json
from pathlib import Path

from bench.commands.board import board_records
from bench.errors import UsageError


def figures_command(out: Path, kind: str, tasks: tuple[str, ...], *, root: Path, with_runs: bool, as_json: bool) -> int:
    """Draws every figure that has something to show. Returns the exit code.

    Args:
        out: Folder to write to.
        kind: `svg`, `pdf` or `png`.
        tasks: Only these tasks; all where empty.
        root: Run folder.
        with_runs: Whether its records join the accepted ones.
        as_json: Whether to print one JSON object.

    Raises:
        UsageError: There is no such format, or no result for a task.
    """
    from leaderboard.audits import set_curves
    from leaderboard.paper import FORMATS, all_figures, save
    from leaderboard.rows import find
    from leaderboard.tables import build_tables

    if kind not in FORMATS:
        raise UsageError(f"--format is '{kind}'; expected one of {', '.join(FORMATS)}.")
    records, _, _ = board_records(root, with_runs)
    known = {record.cell.task for record in records}
    if unknown := [task for task in tasks if task not in known]:
        raise UsageError(f"there are no results for {', '.join(unknown)}; there are for {', '.join(sorted(known))}.")
    records = [record for record in records if not tasks or record.cell.task in tasks]
    found = find(records)
    drawn = all_figures(build_tables(found.rows), found.curves, found.rankings, set_curves(records))
    files = [path for name, draw in drawn.items() if save(draw, path := out / f"{name}.{kind}")]
    if as_json:
        print(json.dumps({"folder": str(out), "files": [path.name for path in files]}))  # noqa: T201
    else:
        print(f"{len(files)} figures in {out}.")  # noqa: T201
    return 0
