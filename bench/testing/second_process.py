"""Second process of the conformance suite, with another order of strings in sets: it hashes what registered methods make."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable

from tdbench.bench.registry import PLUGINS_VARIABLE

_PROGRAM = "from tdbench.bench.testing import methods, second_process; second_process.serve(methods.content_hash)"
_running: dict[str | None, subprocess.Popen[str]] = {}
"""The process that waits for names, by the plug-in files that it has loaded: one for all methods, because its imports take seconds."""


def hash_elsewhere(name: str) -> str:
    """Returns the hash of what a registered method makes of the small texts in the second process.

    Raises:
        RuntimeError: It failed there; the message is its traceback, or the exit code of the process.
    """
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    reply = process.stdout.readline()
    if not reply:
        raise RuntimeError(f"the process ended with exit code {process.wait()}")
    answer = json.loads(reply)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["hash"]


def _process() -> subprocess.Popen[str]:
    plugins = os.environ.get(PLUGINS_VARIABLE)
    process = _running.get(plugins)
    if process is None or process.poll() is not None:
        stop()
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        process = subprocess.Popen(  # noqa: S603 - fixed words
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        _running[plugins] = process
    return process


@atexit.register
def stop() -> None:
    """Ends the second process."""
    for process in _running.values():
        process.kill()
        process.communicate()
    _running.clear()


def serve(hash_of: Callable[[str], str]) -> None:
    """Answers every name that comes in with a line of JSON; what methods print goes to the other stream."""
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = {"hash": hash_of(line.strip())}
        except BaseException:
            answer = {"error": traceback.format_exc()[-600:]}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()
