"""The board as a pandas frame."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from tdbench.bench.errors import RecordError
from tdbench.leaderboard.build import frame_of
from tdbench.leaderboard.json_schema import INFINITE
from tdbench.leaderboard.schema import BOARD_SCHEMA_VERSION

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
