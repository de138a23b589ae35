"""Keeps keys out of what people read: records, logs, messages."""

from __future__ import annotations

import os
import re

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
