"""Writes the board: machine-readable rows, tables for readers, and the page."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tdbench.bench.errors import RecordError
from tdbench.bench.record import Record
from tdbench.leaderboard.audits import set_curves
from tdbench.leaderboard.columns import joined
from tdbench.leaderboard.fields import FIELDS, INFINITE, ROW_KEYS
from tdbench.leaderboard.json_schema import board_schema, ranking_json
from tdbench.leaderboard.markdown import TABLES, render_markdown
from tdbench.leaderboard.page import PageContext, render_page
from tdbench.leaderboard.reported import reported
from tdbench.leaderboard.rows import Findings, find
from tdbench.leaderboard.schema import BOARD_SCHEMA_VERSION, Row, Texts
from tdbench.leaderboard.tables import build_tables

DECIMALS = 6

_SMALL = frozenset(field.name for field in FIELDS if field.small)
_DTYPES: dict[Any, str] = {
    str: "string",
    Texts: "string",
    bool: "bool",
    int: "Int64",
    int | None: "Int64",
    float | None: "Float64",
}

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Board:
    """A finished board and the files it was written to."""

    rows: tuple[Row, ...]
    files: tuple[Path, ...]


def build(
    records: Iterable[Record],
    out_dir: Path,
    site_dir: Path,
    built_from: list[str],
    *,
    context: PageContext | None = None,
    reproductions: Iterable[Record] = (),
) -> Board:
    """Computes the board and writes all its files; equal records give equal bytes.

    Args:
        records: Records of both stages, in any order.
        out_dir: Receives `leaderboard.json` with its schema, `leaderboard.csv`, `LEADERBOARD.md` and its `tables/`.
        site_dir: Receives `index.html` and `leaderboard.parquet`.
        built_from: Names of the places the records came from.
        context: What the page says besides rows.
        reproductions: Trainings that were made a second time.

    Raises:
        RecordError: A train record does not hold a whole protocol.
    """
    given = list(records)
    found = find(given, reproductions)
    rows, tables = found.rows, build_tables(found.rows)
    places = sorted(set(built_from))
    frame, texts = frame_of(rows), render_markdown(tables, found.curves, found.rankings)
    contents = {
        out_dir / "leaderboard.json": _json_bytes(found, places),
        out_dir / "leaderboard.schema.json": _dumped(board_schema()),
        out_dir / "leaderboard.csv": _csv_bytes(frame),
        **{out_dir / name: text.encode() for name, text in texts.items()},
        site_dir / "index.html": render_page(tables, found, places, set_curves(given), context).encode(),
        site_dir / "leaderboard.parquet": _parquet_bytes(frame),
    }
    for path, content in contents.items():
        _write_atomic(path, content)
    for path in (out_dir / TABLES).glob("*.md"):
        if path not in contents:  # of a task that the board no longer has
            path.unlink()
    return Board(tuple(rows), tuple(contents))


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Returns the rounded rows as a frame with the declared type of every field; several texts are joined by `; `."""
    written = [
        {key: joined(v) if isinstance(v, tuple | list) else v for key, v in _rounded(row).items()} for row in rows
    ]
    frame = pd.DataFrame(written, columns=pd.Index(ROW_KEYS))
    return frame.astype({field.name: _DTYPES[field.type] for field in FIELDS})


def _rounded(row: Row) -> dict[str, Any]:
    """Rounds floats and turns what is not a number into null; infinity stays."""
    return {key: _rounded_value(key, row[key]) for key in ROW_KEYS}


def _rounded_value(key: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    return float(f"{value:.{DECIMALS}g}") if key in _SMALL else round(value, DECIMALS) + 0.0


def json_row(row: Row) -> dict[str, Any]:
    """Returns a row for strict JSON: an infinite epsilon becomes text, because JSON has no infinity."""
    return {key: "inf" if value == math.inf else value for key, value in _rounded(row).items()}


def _json_bytes(found: Findings, built_from: list[str]) -> bytes:
    return _dumped(
        {
            "schema_version": BOARD_SCHEMA_VERSION,
            "built_from": built_from,
            "rows": [json_row(row) for row in found.rows],
            "rankings": [ranking_json(ranking) for ranking in found.rankings],
            "reported": [figure.model_dump() for figure in reported()],
        }
    )


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _csv_bytes(frame: pd.DataFrame) -> bytes:
    """Writes CSV in which no text can act as a spreadsheet formula."""
    inert = frame.copy()
    for name in frame.select_dtypes("string"):
        texts = frame[name]
        inert[name] = texts.where(~texts.str.startswith(_FORMULA_STARTS), "'" + texts)
    return inert.to_csv(index=False, lineterminator="\n").encode()


def _parquet_bytes(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _write_atomic(path: Path, content: bytes) -> None:
    """Replaces a file in one step, so that no reader meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


COMMITTED = Path(__file__).with_name("leaderboard.json")


def results(path: Path | str = COMMITTED) -> pd.DataFrame:
    """Reads a board: one row for each method, budget, protocol and learner.

    Args:
        path: A `leaderboard.json`; the one of accepted results by default.

    Returns:
        A frame with the fields of `leaderboard.schema.json` as columns, null where something is unknown. An infinite epsilon or
        break-even point is the float infinity.

    Raises:
        RecordError: The file is no board of this version.
    """
    try:
        board = json.loads(Path(path).read_text(encoding="utf-8"))
        version, rows = board["schema_version"], board["rows"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{path} is no leaderboard.json ({error}); write one with `tdbench leaderboard`.") from None
    if version != BOARD_SCHEMA_VERSION:
        raise RecordError(
            f"{path} has board schema {version}, expected {BOARD_SCHEMA_VERSION}; write it anew with `tdbench leaderboard`."
        )
    for row in rows:
        row.update({key: math.inf for key in INFINITE if row.get(key) == "inf"})
    return frame_of(rows)
