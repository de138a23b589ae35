"""Replies on disk: one sqlite file beside the other caches, written as replies come, shared by processes."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tdbench.bench.canonical import canonical_json, sha256_text
from tdbench.bench.errors import RecordError
from tdbench.bench.models.llm.asks import Ask, Reply, Sampling

VERSION = 1
"""Part of every key; raised when the same question is to be asked anew."""
_TABLE = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, asked TEXT NOT NULL, created TEXT NOT NULL)"


def key_of(served: dict[str, Any], ask: Ask, sampling: Sampling) -> str:
    """Returns what a reply is kept under.

    Args:
        served: Who answers: model, revision or weights, address.
        ask: The question, its draw included. What it is after, and how the reply is read, are no part of it, unless the model
            sees nothing else.
        sampling: How the reply is drawn.
    """
    asked = ask.model_dump(mode="json", exclude={"form"} if served.get("reads_wanted") else {"form", "wanted"})
    parts = [VERSION, served, ask.mode, asked, sampling.model_dump(mode="json")]
    return sha256_text(canonical_json(parts))


class ReplyStore:
    """Keeps replies; failures are never handed to it.

    Args:
        path: The sqlite file.

    Raises:
        RecordError: The file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a crash of the process loses nothing; of the machine, perhaps the last replies
            self._db.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None

    def get(self, key: str) -> Reply | None:
        """Returns the reply under a key, or None."""
        try:
            with self._lock:
                found = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None
        return None if found is None else Reply.model_validate_json(found[0])

    def put(self, key: str, ask: Ask, reply: Reply) -> None:
        """Keeps a reply at once; the first one under a key stays."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = (key, reply.model_dump_json(), ask.model_dump_json(), now)
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _unreadable(self, error: Exception) -> RecordError:
        return RecordError(
            f"{self._path} cannot be read ({error}); move it away: replies in it are then asked for again."
        )
