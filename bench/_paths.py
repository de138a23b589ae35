"""Where the suite's own files are, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""Folder that holds `bench`, `conf`, `leaderboard`, `methods` and `tasks`: the checkout, or the installed package."""

IS_CHECKOUT = (ROOT / "pyproject.toml").is_file()

CONF = ROOT / "conf"
"""The Hydra configuration tree."""

RECORDS = ROOT / "leaderboard" / "records"
"""Accepted results."""

VERIFIED = ROOT / "leaderboard" / "verified"
"""Accepted results that were reproduced, in the same form."""


SUBMISSIONS = ROOT / "leaderboard" / "submissions"
"""Forms of accepted submissions."""


def default_board(runs: Path) -> Path:
    """Returns where the leaderboard of a run folder is written.

    The checkout's own `runs/` feeds the checkout's `leaderboard/`; any other run folder gets its own `board/`.
    """
    if IS_CHECKOUT and runs.resolve() == ROOT / "runs":
        return ROOT / "leaderboard"
    return runs / "board"
