"""`tdbench check`: the conformance suite on one plug-in."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from tdbench.bench.errors import PluginError, UsageError, unknown_name
from tdbench.bench.registry import REGISTRIES

if TYPE_CHECKING:
    from tdbench.bench.testing import Report


def find_plugin(name: str, kind: str | None = None) -> tuple[str, type]:
    """Looks a name up among methods, tasks and learners.

    Returns:
        The kind, and the class.

    Raises:
        UsageError: There is no such plug-in, or several kinds have one.
        PluginError: It cannot be loaded.
    """
    registries = [registry for registry in REGISTRIES if kind in (None, registry.kind)]
    if not registries:
        raise unknown_name("kind", str(kind), [registry.kind for registry in REGISTRIES])
    found = [(registry.kind, registry.entries()[name]) for registry in registries if name in registry.entries()]
    if not found:
        raise unknown_name("plug-in", name, {known for registry in registries for known in registry.names()})
    usable = [(found_kind, entry) for found_kind, entry in found if entry.plugin is not None]
    found = usable or found[:1]  # a file that cannot be imported is listed under every kind
    if len(found) > 1:
        raise UsageError(f"'{name}' is a {' and a '.join(kind for kind, _ in found)}; add --kind {found[0][0]}.")
    ((found_kind, entry),) = found
    if entry.plugin is None:
        raise PluginError(f"{found_kind} '{name}' ({entry.origin}) cannot be used: {entry.error}")
    return found_kind, entry.plugin


def check_command(name: str, kind: str | None, as_json: bool) -> int:
    """Runs the suite and lists its findings. Returns 0 when all checks hold, 1 when one fails, 3 when it could not be run."""
    from tdbench.bench.testing import check
    from tdbench.bench.training.resolve import presets, resolve_learner

    if name in presets() and kind in (None, "learner"):
        kind, report = "learner", check(resolve_learner(name))
    else:
        kind, plugin = find_plugin(name, kind)
        report = check(plugin)
    if as_json:
        findings = [asdict(finding) for finding in report.findings]
        print(json.dumps({"name": name, "kind": kind, "ok": report.ok, "findings": findings, "notes": report.notes}))  # noqa: T201
        return _exit_code(report)
    for finding in report.findings:
        print(f"{'ok    ' if finding.ok else 'FAILED'} {finding.what}")  # noqa: T201
        if not finding.ok:
            print(f"       {finding.fix}")  # noqa: T201
    for note in report.notes:
        print(f"note   {note}")  # noqa: T201
    failed = sum(not finding.ok for finding in report.findings)
    verdict = "conforms" if report.ok else "was NOT run, so nothing is proven"
    print(f"{kind} '{name}': {f'{failed} of {len(report.findings)} checks failed' if failed else verdict}.")  # noqa: T201
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    if report.ok:
        return 0
    return 3 if all(finding.ok for finding in report.findings) else 1
