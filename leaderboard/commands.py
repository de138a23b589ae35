"""The command that makes a row's runs again."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from tdbench.bench.record import Cell

_BARE = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "nan", "inf"})
"""Bare words that would be read as something other than text."""


def run_command(cell: Cell, protocol: str) -> str:
    """Writes the `tdbench run` command for a method, its options, task and budget.

    Args:
        cell: A cell of the row.
        protocol: Name of a published protocol.

    Returns:
        A line for a shell. Every word that comes from a record is quoted.
    """
    words = [f"task={cell.task}", f"method={cell.method}", f"budget={cell.budget}", f"protocol={protocol}"]
    if cell.budget == "all":
        words.pop(2)
    words += [f"method.{key}={hydra_value(value)}" for key, value in sorted(cell.options.items())]
    words += [f"task.{key}={hydra_value(value)}" for key, value in sorted(cell.task_options.items())]
    words += ["data.kind=standin"] if cell.data_kind == "standin" else []
    return " ".join(["tdbench run", *map(shlex.quote, words)])


def hydra_value(value: Any) -> str:
    """Writes a JSON value in Hydra's override grammar."""
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        escaped = value.replace("\\", "\\\\") if value.endswith("\\") or "\\'" in value else value
        return "'" + escaped.replace("'", "\\'").replace("${", "\\${") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{hydra_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value)
