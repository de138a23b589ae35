"""Metrics as fractions, and the same as `evaluate.Metric` objects that never touch the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.errors import unknown_name

if TYPE_CHECKING:
    import evaluate
    from numpy.typing import ArrayLike

METRICS = ("accuracy_frac", "macro_f1_frac")


def score(predictions: ArrayLike, references: ArrayLike, n_classes: int) -> dict[str, float]:
    """Computes all metrics of predicted class ids.

    Args:
        predictions: N predicted class ids.
        references: N true class ids.
        n_classes: Number of classes C; macro-F1 averages over all of them, a class nobody predicts counting 0.

    Returns:
        Metric name -> value in 0..1.
    """
    predicted, true = np.asarray(predictions), np.asarray(references)
    if predicted.shape != true.shape or predicted.size == 0:
        raise ValueError(
            f"got {predicted.shape} predictions for {true.shape} references; expected the same, at least 1."
        )
    table_CC = np.bincount(true * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)
    hits_C = np.diag(table_CC)
    size_C = table_CC.sum(axis=0) + table_CC.sum(axis=1)
    f1_C = np.divide(2 * hits_C, size_C, out=np.zeros(n_classes), where=size_C > 0)
    return {"accuracy_frac": float(hits_C.sum() / predicted.size), "macro_f1_frac": float(f1_C.mean())}


def load(name: str, n_classes: int) -> evaluate.Metric:
    """Returns a metric for the `evaluate` library, built locally.

    Args:
        name: `accuracy_frac` or `macro_f1_frac`.
        n_classes: Number of classes.

    Raises:
        UsageError: There is no such metric.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    import datasets
    import evaluate

    class Local(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=f"{name}, as TDBench records it",
                citation="",
                inputs_description="predictions and references: class ids",
                features=datasets.Features(
                    {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
                ),
            )

        def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, *, predictions: Sequence[int], references: Sequence[int], **_: Any
        ) -> dict[str, float]:
            return {name: score(predictions, references, n_classes)[name]}

    return Local(keep_in_memory=True)
