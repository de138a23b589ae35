"""`tdbench leaderboard`, `tdbench figures` and `tdbench pack`, and the board that `tdbench run` ends with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdbench.bench._paths import RECORDS, SUBMISSIONS, VERIFIED, default_board
from tdbench.bench._version import __version__
from tdbench.bench.errors import UsageError
from tdbench.bench.experiment.archive import Archive, write_packs
from tdbench.bench.experiment.method_info import about_methods
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.samples import generated_samples
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import Record
from tdbench.bench.registry import TASKS


def build_board(root: Path, with_runs: bool, out: Path) -> list[Any]:
    """Builds the leaderboard's files and returns its rows.

    Args:
        root: Run folder.
        with_runs: Whether its records join the accepted ones (of one id, the newer record wins).
        out: Folder of leaderboard.json and LEADERBOARD.md; the page goes to its `site/`.
    """
    from tdbench.leaderboard.build import build
    from tdbench.leaderboard.page import PageContext

    records, results = board_records(root, with_runs)
    built_from = ["accepted records", *(["local runs"] if with_runs else [])]
    samples = generated_samples(records, results)
    reproductions = Archive(VERIFIED).records()
    method_info = about_methods((record.cell.method for record in records), SUBMISSIONS)
    return list(
        build(
            records,
            out,
            out / "site",
            built_from,
            context=PageContext(samples, method_info, __version__),
            reproductions=reproductions,
        ).rows
    )


def board_records(root: Path, with_runs: bool) -> tuple[list[Record], Results]:
    """Reads what a board is built from; records that cannot be read are named on the error stream.

    Args:
        root: Run folder.
        with_runs: Whether its records join the accepted ones.

    Returns:
        The records, and where their sets are.
    """
    warnings: list[str] = []
    results = Results(root if with_runs else None, RECORDS)
    records = results.records(warnings)
    for warning in warnings:
        sys.stderr.write(f"left out of the leaderboard: {warning}\n")
    return [r for r in records if not _is_development(r.cell.task) or with_runs], results


def _is_development(task: str) -> bool:
    """Tasks on which protocol settings were chosen appear on no accepted leaderboard."""
    entry = TASKS.entries().get(task)
    return entry is not None and entry.plugin is not None and entry.plugin.facts.development


def leaderboard_command(root: Path, with_runs: bool, out: Path | None, as_json: bool) -> int:
    """Builds the leaderboard and says where it is. Returns the exit code."""
    board = out or default_board(root)
    rows = build_board(root, with_runs, board)
    if as_json:
        print(json.dumps({"board": str(board), "n_rows": len(rows)}))  # noqa: T201
    else:
        print(f"{len(rows)} rows: {board / 'LEADERBOARD.md'}, page: {board / 'site' / 'index.html'}")  # noqa: T201
    return 0


def pack_command(root: Path, out: Path | None, protocol: str) -> int:
    """Packs finished stages and lists the files. Returns the exit code."""
    records = Store(root).records()
    selection = [
        record
        for record in records
        if not _is_development(record.cell.task)
        and (record.stage == "distil" or (record.protocol or {}).get("name") == protocol)
    ]
    files = write_packs(Store(root), out or RECORDS, selection)
    for path in files:
        print(path)  # noqa: T201
    print(f"{len(files)} files.")  # noqa: T201
    return 0


@dataclass(frozen=True)
class FigureSelection:
    """Which figures; all where a field is empty."""

    tasks: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


def figures_command(
    out: Path, form: str, selection: FigureSelection, *, root: Path, with_runs: bool, as_json: bool
) -> int:
    """Draws every figure that has something to show. Returns the exit code.

    Args:
        out: Folder to write to.
        form: `svg`, `pdf` or `png`.
        selection: Which figures.
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
    records, _ = board_records(root, with_runs)
    _check("tasks", selection.tasks, {record.cell.task for record in records})
    records = [record for record in records if not selection.tasks or record.cell.task in selection.tasks]
    findings = find(records)
    tables = build_tables(findings.rows)
    _check("budgets", selection.budgets, {table.budget for table in tables})
    _check("tracks", selection.tracks, {table.track for table in tables})
    _check("kinds", selection.kinds, set(KINDS))
    tables = [table for table in tables if table.budget in (selection.budgets or (table.budget,))]
    tables = [table for table in tables if table.track in (selection.tracks or (table.track,))]
    rankings = [rank for rank in findings.rankings if rank.budget in (selection.budgets or (rank.budget,))]
    figures = all_figures(tables, findings.curves, rankings, set_curves(records), selection.kinds or KINDS)
    files = [f"{name}.{form}" for name in figures]
    for name, file in zip(figures, files, strict=True):
        save(figures[name], out / file)
    if as_json:
        print(json.dumps({"folder": str(out), "files": files}))  # noqa: T201
    else:
        print(f"{len(files)} figures in {out}.")  # noqa: T201
    return 0


def _check(what: str, names: Iterable[str], known: set[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"there are no results for the {what} {', '.join(unknown)}; there are {', '.join(sorted(known))}."
        )
