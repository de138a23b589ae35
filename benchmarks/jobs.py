"""What the benchmarks of the engine share: AG News and random sets of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tdbench.bench.data.loading import TaskData, load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.registry import TASKS


def agnews() -> TaskData:
    """Loads AG News from TDBENCH_DATA, or the next best source; the stand-in where nothing else is there."""
    folder = os.environ.get("TDBENCH_DATA")
    return load_task(TASKS.get("agnews")(), "auto", Path(folder) if folder else None)


def random_texts(train: LabelledText, per_class: int, seed: int) -> LabelledText:
    """Draws the same number of train rows of every class."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(train.labels_N == c), per_class, replace=False) for c in range(train.n_classes)]
    return train.take(np.concatenate(rows))
