"""Markdown of foreign texts and of tables."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#])")


def escape(text: str) -> str:
    """Makes a foreign string inert in a markdown table: no markup, no HTML, no new line."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def row(cells: Sequence[str]) -> str:
    """Writes one line of a table."""
    return f"| {' | '.join(cells)} |"
