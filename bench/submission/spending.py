"""Computes what queries spend in a process of its own, because numbers of strangers can make an accountant slow and large."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TypeAlias

from tdbench.bench.errors import TDBenchError
from tdbench.bench.record import PrivacyStatement

Asked: TypeAlias = tuple[PrivacyStatement, int]
"""A statement, and how many sets with its queries are released together."""
MOST_S = 300.0
"""Seconds for all statements of a submission."""
MOST_BYTES = 12 << 30
"""Address space of the process, of which libraries take a part."""


def spent_by(asked: Sequence[Asked]) -> list[float | str | None]:
    """Computes epsilon for every statement.

    Args:
        asked: Statements, each with a number of sets.

    Returns:
        For each, epsilon, or why it cannot be computed, or None where it took too long.
    """
    if not asked:
        return []
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_compute, args=(theirs, list(asked)), daemon=True)
    child.start()
    theirs.close()
    found: list[float | str | None] = []
    try:
        while len(found) < len(asked) and mine.poll(MOST_S / len(asked) if found else MOST_S):
            found.append(mine.recv())
    except EOFError:
        pass
    finally:
        child.kill()
        child.join()
    return [*found, *([None] * (len(asked) - len(found)))]


def _compute(answers: Connection, asked: list[Asked]) -> None:
    """Sends one answer after the other."""
    from tdbench.bench.privacy.accounting import Mechanism, epsilon_of

    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    for said, sets in asked:
        mechanisms = [Mechanism(one.mechanism, one.noise_multiplier, one.rate, one.steps) for one in said.queries]
        try:
            answers.send(float(epsilon_of(mechanisms, said.delta, group=said.group, sets=sets)))
        except MemoryError:
            answers.send("it takes too much memory")
        except (TDBenchError, ValueError, OverflowError, ArithmeticError) as error:
            answers.send(f"{type(error).__name__}: {error}")
