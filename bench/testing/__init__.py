"""Conformance of plug-ins, for `tdbench check` and for the tests of any project that ships one.

    from tdbench.bench.testing import assert_conforms

    def test_my_method():
        assert_conforms(MyMethod)

Everything runs on small stand-in texts: no data, weights or network are needed.
"""

from __future__ import annotations

from typing import Any

from tdbench.bench.data.task import Task
from tdbench.bench.errors import UsageError
from tdbench.bench.method import Method
from tdbench.bench.testing.learners import check_learner
from tdbench.bench.testing.methods import check_method
from tdbench.bench.testing.report import Finding, Report
from tdbench.bench.testing.tasks import check_task
from tdbench.bench.training.learner import Learner

__all__ = ["Finding", "Report", "assert_conforms", "check", "check_learner", "check_method", "check_task"]


def check(plugin: Any) -> Report:
    """Runs the suite that belongs to a plug-in's kind.

    Args:
        plugin: A subclass of Method, Task or Learner, or an object of one, to check other options than the defaults.

    Raises:
        UsageError: It is none of them.
    """
    kind, config = (plugin, None) if isinstance(plugin, type) else (type(plugin), getattr(plugin, "config", None))
    if issubclass(kind, Method):
        return check_method(kind, config)
    if issubclass(kind, Task):
        return check_task(kind, config)
    if issubclass(kind, Learner):
        return check_learner(kind, config)
    raise UsageError(f"{plugin!r} is no plug-in; expected a subclass of Method, Task or Learner.")


def assert_conforms(plugin: Any) -> None:
    """Raises AssertionError with every failed check of a plug-in and how to fix it, or when it could not be run at all."""
    report = check(plugin)
    failed = [f"{finding.what}: {finding.fix}" for finding in report.findings if not finding.ok]
    assert report.ok, "\n".join(failed or [f"{report.name} was not run", *report.notes])
