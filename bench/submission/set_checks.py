"""Checks of the sets themselves: content, hash, budget."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tdbench.bench.distilled import CARD_FILE, TABLE_FILE, DistilledSet
from tdbench.bench.errors import TDBenchError
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.record import Record
from tdbench.bench.submission.intake import Contents, Report

MOST_ROWS, MOST_TEXT, MOST_COLUMNS = 20_000, 20_000, 10
"""Rows of a set, letters of a text, columns of its table."""
MOST_REASON = 300
"""Letters that say why a set is not kept."""
MOST_BYTES = 64 << 20
"""Of its table in memory."""


def check_sets(contents: Contents, _accepted: Archive, report: Report) -> None:
    """Reads every set into `contents.distilled`, and counts it."""
    distils = {record.id: record for record in contents.records.values() if record.stage == "distil"}
    for set_id in sorted(set(contents.sets) - set(distils)):
        report.error("missing-set", set_id, "a pack holds this set without its record.")
    for set_id in sorted(set(contents.set_files) - set(distils)):
        report.error("missing-set", set_id, "there are files of this set without its record.")
    for record in distils.values():
        where = contents.where(record)
        if record.id not in contents.sets:
            report.error("missing-set", where, "no pack holds this set.")
            continue
        if record.id in contents.set_files and "not_kept" not in contents.sets[record.id]:
            report.error("duplicate", where, "a pack holds this set, and so do files; one of them is enough.")
            continue
        distilled = _read(record, contents, where, report)
        if distilled is not None:
            contents.distilled[record.id] = distilled
            _count(distilled, record, where, report)


def _read(record: Record, contents: Contents, where: str, report: Report) -> DistilledSet | None:
    raw = contents.sets[record.id]
    try:
        if record.id in contents.set_files:
            return _from_files(record, contents.set_files[record.id], where, report)
        named = {"all_rows", "not_kept"} & set(raw)
        if named and (len(raw) > 1 or len(str(raw[min(named)])) > MOST_REASON):
            report.error("set", where, "a set that is only named holds nothing else.")
            return None
        if raw.get("all_rows"):
            if not record.method_facts.full_data:
                report.error("set", where, "it is said to hold all rows, which only training on all data does.")
            return None
        if "not_kept" in raw:
            report.add("unchecked", "set", where, _absent(record))
            return None
        distilled = _from_pack(raw)
    except (TDBenchError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        report.error("set", where, f"its content cannot be read ({type(error).__name__}: {error}).")
        return None
    _check_hash(distilled, record, where, report)
    return distilled


def _absent(record: Record) -> str:
    """Says why a set can only be seen by its hash."""
    result = record.distil
    if result is not None and result.n_train_exact + result.n_public_exact:
        return "some of its texts are said to be those of data sets, so that it is named by its hash alone: its method reproduces it."
    return "its content is not here, only its hash; `tdbench submit` adds it."


def _check_table(content: bytes) -> None:
    """Looks at what a parquet file says of itself before it is read.

    Raises:
        ValueError: It is no table, or would be too large in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = pq.ParquetFile(pa.BufferReader(content)).metadata
    except pa.ArrowException as error:
        raise ValueError(f"its table cannot be read ({error})") from None
    size = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
    if facts.num_rows > MOST_ROWS or facts.num_columns > MOST_COLUMNS or size > MOST_BYTES:
        most = f"{MOST_ROWS:,} rows, {MOST_COLUMNS} columns and {MOST_BYTES >> 20} MiB"
        raise ValueError(
            f"its table has {facts.num_rows:,} rows, {facts.num_columns} columns, {size >> 20} MiB; at most {most}"
        )


def _from_pack(raw: dict[str, Any]) -> DistilledSet:
    """Reads what a pack of a stranger holds.

    Raises:
        RecordError: A part is of the wrong kind or size.
        ValueError: A text is too long.
    """
    distilled = DistilledSet.from_json(raw, MOST_ROWS)
    if any(len(text) > MOST_TEXT for column in (distilled.fields or {}).values() for text in column):
        raise ValueError(f"a text is longer than {MOST_TEXT:,} letters")
    return distilled


def _from_files(record: Record, files: dict[str, bytes], where: str, report: Report) -> DistilledSet | None:
    """Reads a set's own files from memory by way of a private folder that is gone afterwards."""
    hashes = {name: sha for name, sha in record.artefacts.items() if name != CARD_FILE}
    for name, sha in hashes.items():
        if name not in files or hashlib.sha256(files[name]).hexdigest() != sha:
            report.error("set-hash", where, f"its file {name} is missing or not the one recorded.")
            return None
    if TABLE_FILE not in files:
        raise ValueError(f"{TABLE_FILE} is missing")
    _check_table(files[TABLE_FILE])
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(content)
        try:
            return DistilledSet.load(Path(name), hashes)
        except (TDBenchError, OSError) as error:
            raise ValueError(str(error)) from None
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


def _check_hash(distilled: DistilledSet, record: Record, where: str, report: Report) -> None:
    """Writes the set anew and compares its files' hashes; other versions of the writing library may give other bytes."""
    import pyarrow

    with tempfile.TemporaryDirectory() as name:
        hashes = distilled.save(Path(name), {})
    differing = [file for file, sha in hashes.items() if file != CARD_FILE and record.artefacts.get(file) != sha]
    if not differing:
        return
    theirs = record.provenance.packages.get("pyarrow")
    if theirs in {None, pyarrow.__version__}:
        report.error(
            "set-hash",
            where,
            f"its content does not give the recorded hash of {differing[0]}: the set or its record was changed.",
        )
    else:
        message = f"its hash was written by pyarrow {theirs}, here is {pyarrow.__version__}; install that to compare."
        report.add("unchecked", "set-hash", where, message)


def _count(distilled: DistilledSet, record: Record, where: str, report: Report) -> None:
    recorded, cell = record.distil, record.cell
    assert recorded is not None
    counts = np.bincount(distilled.labels_M, minlength=len(recorded.rows_per_class)).tolist()
    if len(distilled) != recorded.n_rows or counts != list(recorded.rows_per_class):
        report.error(
            "count",
            where,
            f"it holds {len(distilled)} rows, {counts} by class; recorded are {recorded.n_rows}, {list(recorded.rows_per_class)}.",
        )
    if cell.per_class is not None and max(counts, default=0) > cell.per_class:
        report.error("budget", where, f"a class has {max(counts)} rows; budget {cell.budget} allows {cell.per_class}.")
    if distilled.output != recorded.output:
        report.error("track", where, f"it holds {distilled.output}, recorded is {recorded.output}.")
    if distilled.track != recorded.track:
        report.error("track", where, f"it belongs to the track {distilled.track}, recorded is {recorded.track}.")
    if distilled.soft_labels_MC is not None and not np.isfinite(distilled.soft_labels_MC).all():
        report.error("set", where, "its soft labels are not finite.")
    if distilled.weights_M is not None and not (
        np.isfinite(distilled.weights_M).all() and (distilled.weights_M > 0).all()
    ):
        report.error("set", where, "its weights are not positive finite numbers.")
