"""`tdbench list` and `tdbench status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tdbench.bench._paths import CONF
from tdbench.bench.registry import REGISTRIES


def listing() -> dict[str, list[dict[str, Any]]]:
    """Returns every plug-in and every choice of the other groups."""
    found: dict[str, list[dict[str, Any]]] = {}
    for registry in REGISTRIES:
        found[f"{registry.kind}s"] = [
            {"name": name, "origin": entry.origin, "about": _about(entry.plugin), "error": entry.error}
            for name, entry in registry.entries().items()
        ]
    for group in ("method", "task", "learner"):
        known = {item["name"] for item in found[f"{group}s"]}
        for path in sorted((CONF / group).glob("*.yaml")):
            if path.stem not in known:
                found[f"{group}s"].append(
                    {"name": path.stem, "origin": "preset", "about": _comment(path), "error": None}
                )
    for group in ("suite", "protocol", "audit", "budget", "experiment"):
        found[f"{group}s"] = [
            {"name": path.stem, "origin": "preset", "about": _comment(path), "error": None}
            for path in sorted((CONF / group).glob("*.yaml"))
        ]
    return found


def _about(plugin: Any) -> str:
    if plugin is None:
        return ""
    if hasattr(plugin, "card"):
        return plugin.card.summary
    return (plugin.__doc__ or "").strip().splitlines()[0]


def _comment(path: Path) -> str:
    lines = [line.lstrip("# ").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return next((line for line in lines if not line.startswith("@package")), "")


def list_command(as_json: bool) -> int:
    """Prints the listing. Returns the exit code."""
    found = listing()
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return 0
    for group, items in found.items():
        print(f"{group}:")  # noqa: T201
        for item in items:
            text = f"CANNOT BE USED: {item['error']} ({item['origin']})" if item["error"] else item["about"]
            print(f"  {item['name']:18} {text}")  # noqa: T201
    return 0


def status_command(root: Path, as_json: bool) -> int:
    """Prints counts of stages by task, method and budget, and the failures. Returns the exit code."""
    from tdbench.bench.experiment.store import ALL_STAGES, Store

    warnings: list[str] = []
    records = Store(root).records(warnings, ALL_STAGES)
    counts: dict[tuple[str, ...], dict[str, int]] = {}
    for record in records:
        protocol = (record.protocol or {}).get("name", "")
        key = (record.cell.task, record.method_facts.label, record.cell.budget, record.stage, protocol)
        counts.setdefault(key, {"ok": 0, "failed": 0})[record.status] += 1
    failures = [
        {"id": r.id, "stage": r.stage, "task": r.cell.task, "method": r.method_facts.label, "error": r.error.message}
        for r in records
        if r.error is not None
    ]
    if as_json:
        rows = [{"key": list(key), **value} for key, value in sorted(counts.items())]
        print(json.dumps({"root": str(root), "stages": rows, "failures": failures, "unreadable": warnings}))  # noqa: T201
        return 0
    if not records:
        print(f"{root} holds no finished stages; start with: tdbench run task=agnews")  # noqa: T201
    for key, value in sorted(counts.items()):
        failed = f", {value['failed']} FAILED" if value["failed"] else ""
        print(f"{' · '.join(part for part in key if part):60} {value['ok']} finished{failed}")  # noqa: T201
    for item in failures:
        where = root / item["stage"] / item["id"] / "record.json"
        print(f"FAILED {item['task']} · {item['method']}: {item['error'].splitlines()[0][:120]}  ({where})")  # noqa: T201
    for warning in warnings:
        print(f"UNREADABLE {warning}")  # noqa: T201
    return 0
