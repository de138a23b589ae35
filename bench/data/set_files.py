"""Distilled-set files: JSON lines, CSV or parquet, one text or pair a row.

Columns: the task's text fields (`text` will do where there is one), `label` or `labels` (class id, class name, or a list of class
probabilities), optionally `soft_labels` beside a hard label, and `weight`. Others are left out and named.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdbench.bench.data.task import Task
from tdbench.bench.distilled import SOFT_LABEL_TOLERANCE, DistilledSet
from tdbench.bench.errors import DataError, UsageError

MAX_BYTES = 64 << 20
SHOWN_PROBLEMS = 5
MIN_WEIGHT = 1e-30
_LABEL, _SOFT, _WEIGHT = ("label", "labels"), ("soft_label", "soft_labels"), ("weight", "weights")


@dataclass(frozen=True)
class Schema:
    """What a set's file must fit: the part of a task that it is read by.

    Args:
        text_fields: Names of one or two fields.
        label_names: Names of the classes.
    """

    text_fields: tuple[str, ...]
    label_names: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    where: str
    texts: tuple[str, ...]
    label: int
    soft: tuple[float, ...] | None
    weight: float | None


def read_set(path: Path, task: Task | Schema) -> tuple[DistilledSet, list[str]]:
    """Reads and checks a file.

    Args:
        path: A .jsonl, .csv or .parquet file in UTF-8.
        task: The task it is for.

    Returns:
        The set, and the names of columns that were left out.

    Raises:
        UsageError: There is no such file, or its format is not known.
        DataError: A row cannot be used; the message has its line and the reason.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file; expected a .jsonl, .csv or .parquet file of distilled texts.")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size >> 20} MiB; a distilled set has at most {MAX_BYTES >> 20} MiB."
        )
    readers = {".jsonl": _json_lines, ".csv": _csv_lines, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path} ends in '{path.suffix}'; expected .jsonl, .csv or .parquet.")
    rows: list[_Row] = []
    problems: list[str] = []
    columns_used: set[str] = set()
    columns_seen: dict[str, None] = {}
    for where, raw in readers[path.suffix.lower()](path):
        try:
            if isinstance(raw, str):
                raise ValueError(raw)
            columns_seen |= dict.fromkeys(raw)
            rows.append(_row(where, raw, task, columns_used))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    problems += _uneven(rows)
    if not rows and not problems:
        problems = ["it holds no rows"]
    if problems:
        more = f"\n  and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise DataError(f"{path} cannot be used:\n  " + "\n  ".join(problems[:SHOWN_PROBLEMS]) + more)
    return _assembled(rows, task), [name for name in columns_seen if name not in columns_used]


def _assembled(rows: list[_Row], task: Task | Schema) -> DistilledSet:
    fields = {name: [row.texts[place] for row in rows] for place, name in enumerate(task.text_fields)}
    soft, weights = [row.soft for row in rows], [row.weight for row in rows]
    return DistilledSet.from_texts(
        fields,
        [row.label for row in rows],
        soft_labels_MC=None if soft[0] is None else np.array(soft, dtype=np.float32),
        weights_M=None if weights[0] is None else np.array(weights, dtype=np.float32),
    )


def _uneven(rows: list[_Row]) -> Iterator[str]:
    for name, values in (("class probabilities", [r.soft for r in rows]), ("a weight", [r.weight for r in rows])):
        without = [row.where for row, value in zip(rows, values, strict=True) if value is None]
        if without and len(without) < len(rows):
            yield f"{without[0]}: it has not got {name}, other rows have; give all rows or none."


def _row(where: str, raw: dict[str, Any], task: Task | Schema, columns_used: set[str]) -> _Row:
    """Checks one row; `columns_used` collects the names of the columns that are used.

    Raises:
        ValueError: With the reason.
    """

    def pick(names: tuple[str, ...]) -> Any:
        present = [name for name in names if raw.get(name) not in (None, "")]
        columns_used.update(names)
        if len(present) > 1:
            raise ValueError(f"it has both '{present[0]}' and '{present[1]}'; keep one")
        return raw[present[0]] if present else None

    fields = task.text_fields
    columns = [(fields[0], "text")] if len(fields) == 1 and fields[0] != "text" else [(name,) for name in fields]
    texts = tuple(_text(pick(names), names[0]) for names in columns)
    label, soft, weight = pick(_LABEL), pick(_SOFT), pick(_WEIGHT)
    if isinstance(_parsed(label), list):
        if soft is not None:
            raise ValueError("both its label and its soft_labels are lists; give one of them")
        label, soft = None, label
    probabilities = None if soft is None else _probabilities(soft, task.label_names)
    if label is None and probabilities is None:
        raise ValueError("it has no label; expected a column 'label'")
    hard = _class_id(label, task.label_names) if probabilities is None or label is not None else _largest(probabilities)
    return _Row(where, texts, hard, probabilities, None if weight is None else _weight(weight))


def _text(value: Any, name: str) -> str:
    if value is None:
        raise ValueError(f"text field '{name}' is missing or empty")
    if not isinstance(value, str):
        raise ValueError(f"text field '{name}' is {_shown(value)}; expected a string")
    if not value.strip():
        raise ValueError(f"text field '{name}' is blank")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"text field '{name}' holds a NUL or half a Unicode character; is this text?")
    return value


def _class_id(value: Any, names: tuple[str, ...]) -> int:
    expected = f"expected 0 to {len(names) - 1} or one of {', '.join(names)}"
    if isinstance(value, str):
        by_name = {name.casefold(): number for number, name in enumerate(names)}
        text = value.strip()
        number = _number(_parsed(text))
        is_id = number is not None and number in range(len(names))
        if text in names and is_id and names.index(text) != number:
            raise ValueError(
                f"label {_shown(value)} may be the class of this name or the class id; give ids as numbers in a .jsonl file"
            )
        if text in names:
            return names.index(text)
        if text.casefold() in by_name:
            return by_name[text.casefold()]
        if is_id and number is not None:
            return int(number)
        near = difflib.get_close_matches(text.casefold(), by_name, n=1)
        hint = f" (did you mean '{names[by_name[near[0]]]}'?)" if near else ""
        raise ValueError(f"label is {_shown(value)}; {expected}{hint}")
    number = _number(value)
    if number is None or number != int(number) or not 0 <= number < len(names):
        raise ValueError(f"label is {_shown(value)}; {expected}")
    return int(number)


def _probabilities(value: Any, names: tuple[str, ...]) -> tuple[float, ...]:
    values = _parsed(value)
    if not isinstance(values, list):
        raise ValueError(f"soft_labels is {_shown(value)}; expected a list of {len(names)} probabilities")
    numbers = [_number(item) for item in values]
    if len(numbers) != len(names):
        raise ValueError(f"it has {len(numbers)} class probabilities; expected {len(names)}: {', '.join(names)}")
    shares = [number for number in numbers if number is not None and 0 <= number <= 1]
    if len(shares) != len(numbers):
        raise ValueError(f"its class probabilities are {_shown(values)}; expected numbers from 0 to 1")
    if abs(sum(shares) - 1) > SOFT_LABEL_TOLERANCE:
        raise ValueError(f"its class probabilities add up to {sum(shares):.4g}; expected 1")
    return tuple(shares)


def _largest(probabilities: tuple[float, ...]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _weight(value: Any) -> float:
    number = _number(_parsed(value))
    if number is None or not MIN_WEIGHT < number < 1 / MIN_WEIGHT:
        raise ValueError(f"weight is {_shown(value)}; expected a positive number")
    return number


def _number(value: Any) -> float | None:
    """Returns a finite number; None for everything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _parsed(value: Any) -> Any:
    """Reads a list or number that a CSV file holds as text."""
    if not isinstance(value, str):
        return value.tolist() if isinstance(value, np.ndarray) else value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path} cannot be used:\n  line {line}: not UTF-8; save the file as UTF-8") from None


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key appears twice")
        return dict(pairs)

    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line, object_pairs_hook=distinct)
        except (ValueError, RecursionError) as error:
            yield f"line {number}", f"no valid JSON ({error})"
            continue
        yield f"line {number}", raw if isinstance(raw, dict) else f"{_shown(raw)} is no JSON object of columns"


def _csv_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    reader = csv.reader(io.StringIO(_decoded(path), newline=""), strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield f"line {line}", f"no valid CSV ({error})"
            return
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header):
                yield f"line {line}", "a column name appears twice in the header"
                return
        elif len(cells) != len(header):
            yield f"line {line}", f"it has {len(cells)} cells; the header has {len(header)}"
        else:
            yield f"line {line}", dict(zip(header, cells, strict=True))


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no readable parquet file ({str(error).splitlines()[0][:200]}).") from None
    for number, raw in enumerate(rows, start=1):
        yield f"row {number}", raw
