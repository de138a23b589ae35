"""What a conformance suite found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tdbench.bench.errors import TDBenchError


@dataclass(frozen=True)
class Finding:
    """One check.

    Args:
        ok: Whether it holds.
        what: What was checked.
        fix: How to fix it; empty where it holds.
    """

    ok: bool
    what: str
    fix: str = ""


@dataclass
class Report:
    """All checks of one plug-in.

    Args:
        name: The plug-in.
        findings: In the order in which they were made.
        notes: What could not be checked here, and why.
        n_runs: How often the plug-in was run.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_runs: int = 0

    @property
    def ok(self) -> bool:
        """Whether every check holds, and the plug-in was run at all."""
        return self.n_runs > 0 and all(finding.ok for finding in self.findings)

    def check(self, ok: bool, what: str, fix: str) -> bool:
        """Notes a check and returns whether it holds."""
        self.findings.append(Finding(ok, what, "" if ok else fix))
        return ok

    @contextmanager
    def step(self, what: str, fix: str = "") -> Iterator[None]:
        """Notes that some work raises no error; what was raised becomes part of the fix and goes no further."""
        try:
            yield
        except (Exception, SystemExit) as error:  # a plug-in may raise anything
            reason = str(error) if isinstance(error, TDBenchError) else f"{type(error).__name__}: {error}"
            self.findings.append(Finding(False, what, f"{reason} {fix}".strip()))
        else:
            self.findings.append(Finding(True, what))


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: tiny models gain nothing from more, and on busy cores lose much."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scramble(seed: int) -> None:
    """Sets all global random generators, so that a plug-in that draws from them gives another result."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is the point
    torch.manual_seed(seed)
