"""Checks of single trainings and audits: what the protocol and the seeds of the suite make of them."""

from __future__ import annotations

import re

from tdbench.bench.budget import ALL
from tdbench.bench.experiment.jobs import learner_seed, train_id
from tdbench.bench.record import Record, set_sha256
from tdbench.bench.registry import LEARNERS
from tdbench.bench.submission.contents import Contents
from tdbench.bench.submission.findings import Report

_SHA = re.compile(r"[0-9a-f]{64}")


def check_train(record: Record, contents: Contents, where: str, report: Report) -> None:
    """Checks identity, seed, learner, recipe and set of a training."""
    train, protocol = record.train, record.protocol
    assert train is not None
    if protocol is None:
        report.error("protocol", where, "it has no protocol.")
        return
    expected = train_id(
        record.distil_id,
        train.learner_spec,
        train.seed_index,
        protocol=str(protocol.get("name")),
        custom=None,
        test=train.test_fingerprint,
        engine_numerics=train.engine_numerics,
    )
    if record.id != expected:
        report.error(
            "id",
            where,
            "its id is not that of its set, learner, seed, protocol and test rows: one of them was changed.",
        )
    if (record.learner, record.seed_index) != (train.learner, train.seed_index):
        report.error("seed", where, "its learner or seed index is not that of its result.")
    seed = learner_seed(record.cell.set_index, train.seed_index)
    if train.seed != seed:
        report.error("seed", where, f"its seed is {train.seed}; the suite derives {seed}.")
    if train.learner not in protocol.get("learners", ()):
        report.error("learner", where, f"{train.learner} is no learner of {protocol.get('name')}.")
    if train.is_source != (train.learner == protocol.get("source")):
        report.error("learner", where, f"the source learner of {protocol.get('name')} is {protocol.get('source')}.")
    _check_recipe(record, contents, where, report)
    distil = contents.records.get(record.distil_id)
    if distil is None:
        report.error("missing-set", where, f"the record of its set, {record.distil_id}, is not there.")
    elif distil.cell.model_dump() != record.cell.model_dump():
        report.error("cell", where, "its cell is not that of its set.")
    elif record.set_sha256 != set_sha256(distil):
        report.error("set-hash", where, "it was trained on a set of another content than the one recorded.")


def _check_recipe(record: Record, contents: Contents, where: str, report: Report) -> None:
    from tdbench.bench.training.recipe import ENGINE_NUMERICS

    train, protocol = record.train, record.protocol or {}
    assert train is not None
    if train.engine_numerics != ENGINE_NUMERICS:
        report.error(
            "engine",
            where,
            f"its engine's numbers are version {train.engine_numerics}, those of today {ENGINE_NUMERICS}; run it again.",
        )
    if record.cell.budget == ALL.name:
        return
    distil = contents.records.get(record.distil_id)
    if train.mode != "recipe":
        if distil is not None and distil.distil is not None and distil.distil.track != "learner-bound":
            report.error("recipe", where, "only token vectors bring their own training steps.")
        return
    name, steps = protocol.get("name"), protocol.get("steps")
    lr = (protocol.get("lr") or {}).get(train.learner, protocol.get("default_lr"))
    if not _uses_lr(train.learner):
        steps, lr = 0, None
    if steps is not None and train.steps not in {steps, *_one_class(train.notes)}:
        report.error("recipe", where, f"it trained {train.steps} steps; {name} has {steps}.")
    if (train.lr is None) != (lr is None) or (lr is not None and abs((train.lr or 0.0) - lr) > 1e-12):
        report.error("recipe", where, f"its learning rate is {train.lr}; {name} has {lr} for {train.learner}.")


def _uses_lr(learner: str) -> bool:
    """Tells whether a learner takes steps at a rate; one that the suite does not have is taken to."""
    entry = LEARNERS.entries().get(learner)
    return entry is None or entry.plugin is None or entry.plugin.uses_lr


def _one_class(notes: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the steps of a constant predictor, where the notes say that one was used."""
    return (0,) if any(note.startswith("one class") for note in notes) else ()


def check_audit(record: Record, contents: Contents, where: str, report: Report) -> None:
    """Compares an audit with its set as far as that tells; the sets that it attacked are not here."""
    audit, cell = record.audit, record.cell
    assert audit is not None
    distil = contents.records.get(record.distil_id)
    if distil is None or distil.cell.model_dump(exclude={"set_index"}) != cell.model_dump(exclude={"set_index"}):
        report.error("audit", where, "the set that it is about is not here.")
        return
    classes = len(distil.distil.rows_per_class) if distil.distil else 0
    if cell.per_class is not None and max(audit.n_released, default=0) > cell.per_class * classes:
        report.error(
            "audit",
            where,
            f"a run released {max(audit.n_released)} texts; {cell.budget} allows {cell.per_class * classes}.",
        )
    if any(copied > made for copied, made in zip(audit.exact_members, audit.n_released, strict=True)):
        report.error("audit", where, "more texts are said to be members than were released.")
    if len(set(audit.set_sha256s)) < len(audit.set_sha256s) or not all(map(_SHA.fullmatch, audit.set_sha256s)):
        report.add("warning", "audit", where, "sets that it attacked are the same, or no hashes.")
    said = "its figures come from sets made for the attack, which are not here; `tdbench run ... audit=model` makes them again."
    report.add("unchecked", "audit", where, said)
