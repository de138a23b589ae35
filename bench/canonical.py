"""Canonical JSON and content ids: equal inputs give equal ids on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ID_LENGTH = 16


def canonical_json(value: Any) -> str:
    """Serialises a JSON value with sorted keys and no spaces; refuses NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(value: Any) -> str:
    """Returns the first 16 hex digits of the sha256 of a value's canonical JSON."""
    return sha256_text(canonical_json(value))[:ID_LENGTH]


def sha256_text(text: str) -> str:
    """Returns the sha256 of a text's UTF-8 bytes as hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the sha256 of a file's bytes as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def seed_from(*parts: str | int) -> int:
    """Derives a 63-bit seed from a tuple of names and numbers; independent streams for different tuples."""
    return int(sha256_text(canonical_json(list(parts)))[:16], 16) >> 1
