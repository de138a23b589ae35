"""The board's markdown files as one text."""

from __future__ import annotations

from typing import Any

from tdbench.leaderboard.markdown import render_markdown


def markdown_text(*args: Any) -> str:
    """Returns all files of a board for readers, one after the other."""
    return "\n".join(render_markdown(*args).values())
