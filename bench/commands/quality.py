"""`tdbench quality`: measures the texts of sets that were made before there was a measure, or while weights were missing."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tdbench.bench._paths import RECORDS
from tdbench.bench.errors import DataError, PrerequisiteError, RecordError
from tdbench.bench.experiment.archive import SetKey, amend_packs, measured, set_key
from tdbench.bench.experiment.cell_data import data_of
from tdbench.bench.experiment.provenance import choose_device
from tdbench.bench.experiment.results import Results
from tdbench.bench.quality.evaluator import ENCODER, QUALITY_VERSION, evaluator_of
from tdbench.bench.record import Record, TextQuality
from tdbench.bench.registry import TASKS
from tdbench.bench.training.resolve import resolve_learner


def quality_command(root: Path, tasks: tuple[str, ...], accepted: bool, as_json: bool) -> int:
    """Measures what is not measured yet and writes it into the records. Returns the exit code: 1 when all that was found was left out.

    Args:
        root: Run folder.
        tasks: Names of tasks; empty for all.
        accepted: Whether the sets of leaderboard/records are measured too.
        as_json: Whether to print one JSON object.

    Raises:
        UsageError: There is no such task.
    """
    for name in tasks:
        TASKS.get(name)
    warnings: list[str] = []
    results = Results(root, RECORDS if accepted else None)
    store, archive = results.store, results.archive
    local = [record for record in store.records(warnings) if _unmeasured(record)]
    for warning in warnings:
        sys.stderr.write(f"left out: {warning}\n")
    archived = [] if archive is None else [record for record in archive.records() if _unmeasured(record)]
    by_task: dict[str, dict[SetKey, Record]] = defaultdict(dict)
    for record in [*archived, *local]:
        if not tasks or record.cell.task in tasks:
            of_task = json.dumps([record.cell.task, record.cell.task_options, record.cell.data_kind])
            by_task[of_task][set_key(record)] = record
    n_measured, left_out = 0, Counter[str]()
    for records in by_task.values():
        measures: dict[SetKey, TextQuality] = {}
        try:
            for key, quality in _measured(list(records.values()), results, left_out):
                measures[key] = quality
                store.amend("distil", key[0], lambda record, key=key, quality=quality: measured(record, key, quality))
        finally:  # also when interrupted: what was measured is kept
            if accepted:
                amend_packs(RECORDS, measures)
        n_measured += len(measures)
    if as_json:
        print(json.dumps({"measured": n_measured, "left_out": dict(left_out)}))  # noqa: T201
    else:
        print(f"{n_measured} sets measured.")  # noqa: T201
        for reason, count in left_out.most_common():
            print(f"{count} left out: {reason}")  # noqa: T201
    return 1 if left_out and not n_measured else 0


def _unmeasured(record: Record) -> bool:
    if record.stage != "distil" or record.distil is None or record.method_facts.full_data:
        return False
    known = record.distil.quality
    if record.distil.output == "embedding":
        return False
    sentences = resolve_learner(ENCODER).available() is None
    return known is None or known.version != QUALITY_VERSION or (known.encoder is None and sentences)


def _measured(records: list[Record], results: Results, left_out: Counter[str]) -> Iterator[tuple[SetKey, TextQuality]]:
    """Measures sets of one task; why some are left out is counted in `left`."""
    try:
        data = data_of(records[0].cell)
    except (DataError, PrerequisiteError) as error:
        left_out[str(error)] += len(records)
        return
    evaluator = evaluator_of(data, results.store.cache, choose_device("auto"))
    for number, record in enumerate(records):
        sys.stderr.write(f"[{number + 1}/{len(records)}] {record.cell.task} · {record.method_facts.label}\n")
        if record.cell.data_fingerprint != data.fingerprint:
            left_out[f"made from other data than the {record.cell.task} at hand"] += 1
            continue
        try:
            distilled = results.distilled(record, data.train)
        except RecordError:
            left_out["its texts are not kept, or have changed"] += 1
            continue
        quality = evaluator.measure(distilled)
        if quality is None:
            left_out["more texts than are measured, or all that they could be compared with"] += 1
        else:
            yield set_key(record), quality
