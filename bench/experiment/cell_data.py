"""From a record's cell back to its task and data."""

from __future__ import annotations

import os
from pathlib import Path

from tdbench.bench.data.loading import TaskData, load_task
from tdbench.bench.data.sources import DATA_VARIABLE
from tdbench.bench.data.task import Task
from tdbench.bench.errors import DataError
from tdbench.bench.record import Cell
from tdbench.bench.registry import TASKS


def task_of(cell: Cell) -> Task:
    """Builds the task that a cell names, with its options.

    Raises:
        DataError: There is no such task.
    """
    if cell.task not in TASKS.entries():
        raise DataError(f"there is no task '{cell.task}'")
    plugin = TASKS.get(cell.task)
    return plugin(plugin.Config(**cell.task_options))


def data_of(cell: Cell) -> TaskData:
    """Loads the data at hand for a cell's task: the stand-in for cells on it, else the first source that has them.

    They may be others than the cell's; its fingerprint tells.

    Raises:
        DataError: There is no such task, or its files cannot be used.
        PrerequisiteError: The data are not at hand.
    """
    folder = os.environ.get(DATA_VARIABLE)
    kind = "standin" if cell.data_kind == "standin" else "auto"
    return load_task(task_of(cell), kind, Path(folder) if folder else None)
