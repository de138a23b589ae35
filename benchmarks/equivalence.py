"""Tests that the engine's number format does not change accuracies: two one-sided tests on paired runs.

    python benchmarks/equivalence.py [--seeds 20] [--margin 0.5] [--json]

Every seed draws its own random set of AG News (5 texts a class) and trains MiniLM on it twice by quick-v1's recipe: as the engine does
(packed, the device's compute type, 16-bit dropout masks) and in float32 with the same masks. Both are tested on the same rows. The
accuracies count as equivalent when the 90 % interval of the mean difference lies within the margin (Schuirmann, 1987).
"""

from __future__ import annotations

import argparse
import json
from statistics import fmean, stdev
from typing import Any

import torch
from jobs import agnews, random_texts
from scipy import stats

from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.training import engine
from tdbench.bench.training.modules import MeanPooledClassifier, load_backbone, tokenizer_for
from tdbench.bench.training.prepared import Prepared, compute_dtype
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.training_set import TrainContext, TrainingSet

MODEL, LENGTH, STEPS, LR, TEST_ROWS, PER_CLASS = "all-MiniLM-L6-v2", 64, 60, 1e-4, 1_000, 5


def accuracy(train: Any, test: Any, encoded_test: Any, seed: int, dtype: torch.dtype) -> float:
    """Trains once and returns the test accuracy in percent."""
    torch.manual_seed(seed)
    ready = Prepared(MeanPooledClassifier(load_backbone(MODEL), train.n_classes, 0.1), "cpu", dtype)
    context = TrainContext(seed, "cpu", CostMeter())
    data = TrainingSet.of(DistilledSet.from_rows(train, list(range(len(train)))), train)
    encoded = tokenizer_for(MODEL)(train.fields, LENGTH)
    with context.cost.phase("run"):
        engine.train(ready, encoded, data, Recipe(LENGTH, STEPS, 64, LR, 0.01, 1.0, 0.5), context)
        logits_NC = engine.predict(ready, encoded_test, context.cost)
    return 100 * float((logits_NC.numpy().argmax(1) == test.labels_N).mean())


def two_one_sided(differences: list[float], margin: float) -> dict[str, float]:
    """Returns the larger p value of the two tests, and the 90 % interval of the mean difference."""
    low: Any = stats.ttest_1samp(differences, -margin, alternative="greater")
    high: Any = stats.ttest_1samp(differences, margin, alternative="less")
    half = stats.t.ppf(0.95, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    mean = fmean(differences)
    return {
        "p": float(max(low.pvalue, high.pvalue)),
        "mean": mean,
        "low": mean - float(half),
        "high": mean + float(half),
    }


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--margin", type=float, default=0.5, help="in percentage points")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    data = agnews()
    test = data.test_draw(TEST_ROWS)
    encoded_test = tokenizer_for(MODEL)(test.fields, LENGTH)
    if compute_dtype("cpu") is torch.float32:
        raise SystemExit(
            "this processor has no bfloat16: the engine computes in float32 here, and there is nothing to compare."
        )
    pairs = []
    for seed in range(given.seeds):
        train = random_texts(data.train, PER_CLASS, seed)
        pairs.append([accuracy(train, test, encoded_test, seed, d) for d in (compute_dtype("cpu"), torch.float32)])
        if not given.json:
            print(f"seed {seed}: engine {pairs[-1][0]:.2f}, float32 {pairs[-1][1]:.2f}", flush=True)
    made = two_one_sided([a - b for a, b in pairs], given.margin)
    equivalent = made["p"] < 0.05
    format_name = str(compute_dtype("cpu")).removeprefix("torch.")
    print(
        json.dumps(
            {"equivalent": equivalent, "margin": given.margin, "engine_format": format_name, "data": data.data_kind}
            | {**made, "n": len(pairs), "accuracies": pairs}
        )
    )


if __name__ == "__main__":
    main()
