"""Errors that the suite raises on purpose.

    TDBenchError
    ├── UsageError             exit 2: a wrong option, name or value
    ├── PrerequisiteError      exit 3: data, a model or an extra is missing; names the command that provides it
    ├── DataError              exit 1: a data file is there but cannot be used
    ├── PluginError            exit 1: a plug-in broke its contract
    │   └── BudgetError        exit 1: a distilled set is larger than its budget
    ├── RecordError            exit 1: a stored record cannot be read
    └── LLMError               exit 1: a language model gave nothing that could be used
        └── LLMStopError            exit 1: there is no use in asking on: a limit, a refused key, a server that is gone; ends the command

Every message says what was met, what was expected, and how to fix it. The command line prints these errors without a traceback.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable


class TDBenchError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UsageError(TDBenchError):
    """The command or configuration is wrong."""

    exit_code = 2


class PrerequisiteError(TDBenchError):
    """Something outside the suite is missing: a data file, model weights, an optional package."""

    exit_code = 3


class DataError(TDBenchError):
    """A data file exists and cannot be used."""


class PluginError(TDBenchError):
    """A plug-in broke its contract."""


class BudgetError(PluginError):
    """A distilled set does not fit its budget."""


class RecordError(TDBenchError):
    """A stored record or artefact cannot be read."""


class LLMError(TDBenchError):
    """A language model gave nothing that could be used."""


class LLMStopError(LLMError):
    """There is no use in asking on: a limit was reached, a key was refused, a server is gone. It ends the command and leaves no record."""


MOST_NAMES = 40
"""More are not listed beside a suggestion."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Builds the error for an unknown name, with the nearest known one.

    Args:
        kind: What is looked up, such as `method`.
        name: The name that was given.
        known: The names that exist.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    listed = ", ".join(names) or "none"
    all_of_them = f" Known: {listed}." if len(names) <= MOST_NAMES else ""
    return UsageError(f"unknown {kind} '{name}'{hint}{all_of_them} `tdbench list` lists plug-ins and settings.")


KEY_VARIABLES = ("TDBENCH_LLM_KEY", "OPENAI_API_KEY")
"""Environment variables that hold keys of language models' servers."""
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_BEARER = re.compile(r"(?i)(bearer\s+|\bsk-)[\w.\-]{6,}")
_SHORTEST = 6
"""Shorter values of a key variable are placeholders such as `none`; replacing them would garble messages."""


def redacted(text: str) -> str:
    """Returns a text without keys: values of key variables, passwords in addresses, bearer tokens."""
    for name in KEY_VARIABLES:
        key = os.environ.get(name, "")
        if len(key) >= _SHORTEST:
            text = text.replace(key, "[key]")
    return _BEARER.sub(r"\1[key]", _IN_ADDRESS.sub("[key]@", text))
