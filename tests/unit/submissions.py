"""Submissions for tests: whole ones, and ways to tamper with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench._paths import RECORDS
from bench.commands.validation import validate
from bench.experiment.accepted import Accepted
from bench.submission.collect import write_manifest
from bench.submission.findings import Report
from bench.submission.form import FORM

FILLED: dict[str, Any] = {
    "form_version": 1,
    "method": "synalign",
    "title": "Texts from descriptions of explored ones",
    "authors": ["A. Researcher", "B. Researcher"],
    "contact": "a.researcher at example.org",
    "division": "closed",
    "code": "",
    "paper": "Ren et al., 2025",
    "tags": ["real-texts-in-prompts"],
    "tuning": {"configurations": 3, "chosen_on": "rotten_tomatoes, hidden rows"},
    "hardware": "2 cores",
    "notes": "",
}
SETS = 5
PACK = "records/lite-v1/sst2/synalign.json"


def write_form(folder: Path, **changes: Any) -> None:
    (folder / FORM).write_text(yaml.safe_dump({**FILLED, **changes}, sort_keys=False, allow_unicode=True))


def from_accepted(folder: Path, methods: tuple[str, ...] = ("synalign", "random"), task: str = "sst2") -> Path:
    """Makes a submission of accepted results: its records are real, and complete."""
    for method in methods:
        place = folder / "records" / "lite-v1" / task / f"{method}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        raw = json.loads((RECORDS / "lite-v1" / task / f"{method}.json").read_text())
        cells = raw["shared"]
        kept = [
            r for r in raw["records"] if cells[r["cell"]]["budget"] == "dpc10" and cells[r["cell"]]["set_index"] < SETS
        ]
        raw["records"] = [record for record in kept if record["stage"] != "audit"]
        raw["sets"] = {key: made for key, made in raw["sets"].items() if any(r["id"] == key for r in kept)}
        place.write_text(json.dumps(raw))
    write_form(folder, method=methods[0])
    write_manifest(folder)
    return folder


def tampered(folder: Path, change: Callable[[dict[str, Any]], Any], pack: str = PACK) -> Path:
    """Changes a pack's JSON and writes a fitting manifest."""
    path = folder / pack
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    write_manifest(folder)
    return folder


def first(raw: dict[str, Any], stage: str) -> dict[str, Any]:
    """Returns the first record of a stage whose set the pack holds."""
    held = {set_id for set_id, made in raw["sets"].items() if "fields" in made or "row_ids" in made}
    return next(record for record in raw["records"] if record["stage"] == stage and record["distil_id"] in held)


def own_copy(raw: dict[str, Any], record: dict[str, Any], key: str) -> dict[str, Any]:
    """Gives a record a part of its own in place of one that records share; returns the part."""
    raw["shared"].append(json.loads(json.dumps(raw["shared"][record[key]])))
    record[key] = len(raw["shared"]) - 1
    return raw["shared"][-1]


def report_of(path: Path, accepted: Accepted | None = None) -> Report:
    return validate(path, accepted or Accepted(path / "nothing accepted"))[0]
