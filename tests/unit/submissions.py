"""Submissions for tests: whole ones, and ways to tamper with them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tdbench.bench._paths import RECORDS
from tdbench.bench.commands.submit import validate
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.experiment.archive import Archive, _dump, parse_pack
from tdbench.bench.experiment.jobs import set_id, train_id
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.submission.collect import write_manifest
from tdbench.bench.submission.intake import FORM, Report

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


def from_accepted(
    folder: Path, methods: tuple[str, ...] = ("synalign", "random"), task: str = "sst2", audits: bool = False
) -> Path:
    """Makes a submission of accepted results: its records are real, and complete."""
    for method in methods:
        place = folder / "records" / "lite-v1" / task / f"{method}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        raw = json.loads((RECORDS / "lite-v1" / task / f"{method}.json").read_text())
        cells = raw["shared"]
        kept = [
            r for r in raw["records"] if cells[r["cell"]]["budget"] == "dpc10" and cells[r["cell"]]["set_index"] < SETS
        ]
        raw["records"] = [record for record in kept if audits or record["stage"] != "audit"]
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


def report_of(path: Path, accepted: Archive | None = None) -> Report:
    return validate(path, accepted or Archive(path / "nothing accepted"))[0]


Raws = list[dict[str, Any]]


def forged(
    folder: Path, change: Callable[[Raws, dict[str, Any]], Any], method: str = "mymethod", task: str = "sst2"
) -> Path:
    """Changes an accepted method's records as a careful cheat would: every id and hash is derived anew, under another name.

    Args:
        folder: A submission of accepted results; its packs of the method are replaced.
        change: Edits the records and the sets.
        method: The new name.
        task: Of the packs.
    """
    path = folder / "records" / "lite-v1" / task / "synalign.json"
    records, sets = parse_pack(json.loads(path.read_text()), str(path))
    path.unlink()
    raws = [record.model_dump(mode="json") for record in records.values()]
    for raw in raws:
        raw["cell"]["method"] = raw["method_facts"]["label"] = method
        raw["created"] = "2026-11-29T00:00:00+00:00"
    change(raws, sets)
    made, ids = {}, {}
    for raw in (r for r in raws if r["stage"] == "distil"):
        packed, old = sets.pop(raw["id"]), raw["id"]
        if "labels" in packed:
            raw["artefacts"] = hashes_of(packed)
        raw["id"] = raw["distil_id"] = ids[old] = set_id(Record.model_validate(raw).cell)
        sets[raw["id"]], made[raw["id"]] = packed, Record.model_validate(raw)
    for raw in (r for r in raws if r["stage"] == "train"):
        raw["distil_id"] = ids[raw["distil_id"]]
        raw["set_sha256"], train = set_sha256(made[raw["distil_id"]]), raw["train"]
        facts = {"protocol": raw["protocol"]["name"], "custom": None, "test": train["test_fingerprint"]}
        engine = train["engine_numerics"]
        raw["id"] = train_id(
            raw["distil_id"], train["learner_spec"], train["seed_index"], engine_numerics=engine, **facts
        )
        made[raw["id"]] = Record.model_validate(raw)
    place = path.parent.parent / raws[0]["cell"]["task"]
    place.mkdir(exist_ok=True)
    (place / f"{method}.json").write_text(_dump(made, sets))
    write_form(folder, method=method)
    write_manifest(folder)
    return folder


def hashes_of(packed: dict[str, Any]) -> dict[str, str]:
    """Returns the hashes of the files that a packed set gives."""
    with tempfile.TemporaryDirectory() as name:
        return DistilledSet.from_json(packed).save(Path(name), {})
