"""Chooses the learning rates of the protocols: random sets of the development task, real and stand-in, every rate on the same sets.

    python benchmarks/learning_rates.py [--root runs/learning-rates] [--sets 5] [--json]

The development task (rotten_tomatoes) is on no leaderboard. A learner's rate, for all methods, tasks and budgets, is the largest one
whose mean accuracy is within one paired standard error of the best (the recipe has few steps). The table shows what other rates give.
Resumes like any run.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from tdbench.bench.config import settings_for
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.experiment.results import Results
from tdbench.bench.experiment.runner import Runner
from tdbench.bench.experiment.store import Store
from tdbench.bench.progress import reporter

GRID = {
    "textcnn": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "bilstm": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "minilm": (3e-5, 1e-4, 3e-4, 1e-3),
}
BUDGET = "dpc10"


def measure(root: Path, n_sets: int, silent: bool) -> dict[str, dict[float, dict[str, list[float]]]]:
    """Returns learner -> rate -> data kind -> accuracy of every set."""
    found: dict[str, dict[float, dict[str, list[float]]]] = {}
    for learner, rates in GRID.items():
        found[learner] = {}
        for rate in rates:
            by_kind: dict[str, list[float]] = defaultdict(list)
            for kind in ("auto", "standin"):
                overrides = [
                    "task=rotten_tomatoes",
                    "method=random",
                    f"budget={BUDGET}",
                    "protocol=lite-v1",
                    f"++protocol.lr.{learner}={rate}",
                    f"learners=[{learner}]",
                    f"sets={n_sets}",
                    f"data.kind={kind}",
                    f"runtime.root={root}",
                ]
                runs = settings_for(overrides)
                plan = Planner().plan(runs)
                Runner(Results(root), runs[0].runtime, reporter(silent)).run(plan)
                for _, trains in plan.cells:
                    for job in trains:
                        record = Store(root).get("train", job.id)
                        if record is not None and record.train is not None:
                            by_kind[record.cell.data_kind].append(record.train.accuracy_frac)
            found[learner][rate] = dict(by_kind)
    return found


def choose(rates: dict[float, dict[str, list[float]]]) -> float:
    """Applies the one-standard-error rule to a learner's rates, paired by distilled set."""
    flat = {rate: [value for kind in sorted(kinds) for value in kinds[kind]] for rate, kinds in rates.items()}
    best = max(flat, key=lambda rate: fmean(flat[rate]))

    def close(rate: float) -> bool:
        deficits = [top - value for top, value in zip(flat[best], flat[rate], strict=True)]
        return rate == best or fmean(deficits) <= stdev(deficits) / math.sqrt(len(deficits))

    return max(rate for rate in flat if close(rate))


def main() -> None:
    """Measures and prints the table and the choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/learning-rates"))
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.root, args.sets, args.json)
    choice = {learner: choose(rates) for learner, rates in found.items()}
    if args.json:
        print(json.dumps({"budget": BUDGET, "accuracy_frac": found, "choice": choice}))
        return
    for learner, rates in found.items():
        for rate, kinds in rates.items():
            cells = [f"{kind} {fmean(v):.1%} ± {stdev(v):.1%}" for kind, v in kinds.items()]
            print(f"{learner:8} {rate:7.0e}  {'   '.join(cells)}{'   <- chosen' if choice[learner] == rate else ''}")


if __name__ == "__main__":
    main()
