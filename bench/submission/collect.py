"""Collects the results of one method into a folder that can be submitted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tdbench.bench._version import __version__
from tdbench.bench.canonical import sha256_file
from tdbench.bench.errors import UsageError
from tdbench.bench.experiment.archive import Archive, write_packs
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import Record
from tdbench.bench.submission.intake import FORM, MANIFEST, RECORDS, SETS, blank_form, is_control


def collect(method: str, store: Store, out: Path, accepted: Archive | None = None) -> dict[str, int]:
    """Writes the submission of one method.

    Args:
        method: Name of the plug-in.
        store: The run folder.
        out: Folder to make; it must not exist, or be empty.
        accepted: Accepted results, for sets that runs took from there.

    Returns:
        Numbers of sets, trainings, audits, and trainings of controls.

    Raises:
        UsageError: There are no finished runs of the method under a published protocol, or the folder is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not an empty folder; name another one with --out.")
    records = [record for record in store.records([]) if record.status == "ok"]
    chosen = [record for record in records if record.cell.method == method]
    newest = max((record.cell.method_version for record in chosen), default=0)
    chosen = [record for record in chosen if record.cell.method_version == newest]
    counted = [record for record in chosen if record.stage != "distil" and not record.custom]
    if not counted:
        names = sorted({record.cell.method for record in records if record.stage == "train" and not record.custom})
        raise UsageError(
            f"{store.root} holds no finished runs of '{method}' under a published protocol; it has runs of "
            f"{', '.join(names) or 'no method'}. Make some: tdbench run -m task=sst2,agnews method={method} protocol=lite-v1"
        )
    scopes = {scope_of(record) for record in counted}
    controls = [r for r in records if is_control(r) and r.cell.method != method and _near(r, scopes)]
    out.mkdir(parents=True, exist_ok=True)
    packs = write_packs(store, out / RECORDS, [*chosen, *controls], accepted)
    for lock in (out / RECORDS).rglob("*.lock"):
        lock.unlink()
    _copy_sets(chosen, store, packs, out)
    hardware = sorted({record.provenance.hardware for record in counted})
    tags = counted[-1].method_facts.tags
    (out / FORM).write_text(blank_form(method, tags, ", ".join(hardware)), encoding="utf-8")
    write_manifest(out)
    counts = {"train": 0, "audit": 0}
    for record in counted:
        counts[record.stage] += 1
    sets = {record.distil_id for record in counted if record.stage == "train"}
    return {
        "sets": len(sets),
        "trainings": counts["train"],
        "audits": counts["audit"],
        "controls": sum(record.stage == "train" for record in controls),
    }


def scope_of(record: Record) -> tuple[str, str, str]:
    """Returns task, budget and protocol of a record: where a control stands beside a method."""
    return record.cell.task, record.cell.budget, (record.protocol or {}).get("name", "")


def _near(record: Record, scopes: Iterable[tuple[str, str, str]]) -> bool:
    """Tells whether a control's record belongs beside the method's."""
    if record.stage == "distil":
        return any((record.cell.task, record.cell.budget) == scope[:2] for scope in scopes)
    return record.stage == "train" and not record.custom and scope_of(record) in scopes


def _copy_sets(records: list[Record], store: Store, packs: list[Path], out: Path) -> None:
    """Copies the files of new sets that packs only name by their hash, such as token vectors."""
    packed = Archive(out / RECORDS) if packs else None
    for record in records:
        if packed is None or record.stage != "distil" or packed.get(record.id) is None or packed.keeps(record.id):
            continue
        if record.distil is None or record.distil.n_train_exact or record.distil.n_public_exact:
            continue  # text of data sets is not ours to hand on
        place = out / SETS / record.id
        place.mkdir(parents=True)
        for name in record.artefacts:
            shutil.copyfile(store.folder("distil", record.id) / name, place / name)


def write_manifest(folder: Path) -> None:
    """Writes the hash of every file but the manifest and the form, which authors still edit."""
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() not in {FORM, MANIFEST}
    }
    manifest = {"manifest_version": 1, "suite_version": __version__, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
