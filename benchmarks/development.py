"""Scores options of methods where defaults may be chosen: the development task, and its hidden validation rows instead of the test split.

    python benchmarks/development.py [--sets 5] [--budget dpc10] [--json] METHOD [METHOD OPTION=VALUE ...] [-- METHOD ...]

    python benchmarks/development.py --sets 5 kmeans -- gradmm -- gradmm method.rho=0 method.top_k=50

Every set is made and trained exactly as `tdbench run task=rotten_tomatoes protocol=lite-v1 learners=[minilm]` would, with the same seeds
for all; only the rows that are predicted differ. Encoder features and language models are kept under `--root`. The test split is never
read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

from tdbench.bench.config import settings_for
from tdbench.bench.experiment.executor import Executor
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.experiment.results import Results
from tdbench.bench.progress import Reporter

TASK = "rotten_tomatoes"


def measure(options: list[str], args: argparse.Namespace) -> tuple[list[float], list[dict[str, float]], float]:
    """Returns every set's accuracy, its diagnostics, and the mean seconds of a distillation without what is kept."""
    overrides = [f"task={TASK}", f"method={options[0]}", *options[1:], f"budget={args.budget}", "protocol=lite-v1"]
    runs = settings_for([*overrides, f"learners=[{args.learners}]", f"sets={args.sets}", f"runtime.root={args.root}"])
    accuracies, diagnostics, started = [], [], time.perf_counter()
    train_s = 0.0
    runtime = runs[0].runtime.model_copy(update={"force": True, "device": "cpu"})
    executor = Executor(Results(args.root), runtime, Reporter())
    for planned, trains in Planner().plan(runs).cells:
        data = dataclasses.replace(planned.data, test=planned.data.validation, _draws={})
        distil = dataclasses.replace(planned, data=data)
        record = executor.ensure(distil)
        assert record.distil is not None, record.error
        diagnostics.append(record.distil.diagnostics)
        begun = time.perf_counter()
        for train in trains:
            scored = executor.ensure(dataclasses.replace(train, distil=distil)).train
            assert scored is not None
            accuracies.append(scored.accuracy_frac)
        train_s += time.perf_counter() - begun
    return accuracies, diagnostics, (time.perf_counter() - started - train_s) / max(1, len(diagnostics))


def main() -> None:
    """Measures every group of options and prints a line, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("runs/development"))
    parser.add_argument("--learners", default="minilm")
    parser.add_argument("--budget", default="dpc10")
    parser.add_argument("--json", action="store_true")
    args, rest = parser.parse_known_args()
    groups: list[list[str]] = [[]]
    for word in rest:
        if word == "--":
            groups.append([])
        else:
            groups[-1].append(word)
    results = []
    for options in groups:
        accuracies, diagnostics, distil_s = measure(options, args)
        means = {
            name: fmean(d[name] for d in diagnostics if name in d)
            for name in sorted({n for d in diagnostics for n in d})
        }
        results.append({"options": options, "accuracy_frac": accuracies, "distil_s": distil_s, "diagnostics": means})
        error = stdev(accuracies) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else math.nan
        line = f"{' '.join(options)}: {fmean(accuracies):.1%} ± {error:.1%} ({len(accuracies)} sets, {distil_s:.0f} s a set)"
        print(
            line, {n: round(v, 3) for n, v in means.items()}, file=sys.stderr if args.json else sys.stdout, flush=True
        )
    if args.json:
        print(json.dumps({"task": TASK, "results": results}))


if __name__ == "__main__":
    main()
