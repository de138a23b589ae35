"""How often the intervals of audits hold the truth: simulated on the design that audits have.

Complementary pairs of runs over one pool, candidates with scores of their own, and runs that leak alike or differ; or sets that copy some
members. Prints the share of 95 % intervals that hold the truth, with their mean width.

    python benchmarks/audit_coverage.py --repeats 600 --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import numpy as np
from scipy import stats

from tdbench.bench.privacy.statistics import estimate_auc

N_GROUPS, N_COPIED = 800, 20
DESIGNS = {  # own scores' standard deviation, mean leak of a run, its standard deviation over runs
    "nothing leaks": (0.0, 0.0, 0.0),
    "runs alike": (1.0, 0.3, 0.0),
    "runs differ a little": (1.0, 0.3, 0.05),
    "runs differ by half": (1.0, 0.3, 0.15),
    "own scores dominate": (3.0, 0.3, 0.1),
}


def _pairs(rng: np.random.Generator, n_pairs: int) -> np.ndarray:
    coins = rng.random((n_pairs, N_GROUPS)) < 0.5
    return np.array([coins[pair] ^ bool(side) for pair in range(n_pairs) for side in (0, 1)])


def _scored(rng: np.random.Generator, n_pairs: int, design: str) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Yields scores, members and the true AUC for ever."""
    own, leak, spread = DESIGNS[design]
    truth = float(stats.norm.cdf(rng.normal(leak, spread, 400_000) / np.sqrt(2 * (1 + own**2))).mean())
    while True:
        members = _pairs(rng, n_pairs)
        shift = rng.normal(leak, spread, (2 * n_pairs, 1)) * members
        yield own * rng.normal(size=N_GROUPS) + shift + rng.normal(size=members.shape), members, truth


def _copied(rng: np.random.Generator, n_pairs: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """The same for sets that copy some members: few candidates score 1, all others 0."""
    while True:
        members = _pairs(rng, n_pairs)
        scores = np.zeros(members.shape)
        for run, inside in enumerate(members):
            scores[run, rng.choice(np.flatnonzero(inside), N_COPIED, replace=False)] = 1
        yield scores, members, 0.5 + N_COPIED / 2 * float(np.mean(1 / members.sum(axis=1)))


def main() -> None:
    """Simulates all designs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    found = []
    for n_pairs in (4, 3, 2, 1):
        draws = {design: _scored(rng, n_pairs, design) for design in DESIGNS} | {"copies": _copied(rng, n_pairs)}
        for design, draw in draws.items():
            held, widths = 0, []
            for _ in range(args.repeats):
                scores, members, truth = next(draw)
                estimate = estimate_auc(scores, members, np.repeat(np.arange(n_pairs), 2).tolist())
                held += estimate.low <= truth <= estimate.high
                widths.append(estimate.high - estimate.low)
            found.append(
                {
                    "pairs": n_pairs,
                    "design": design,
                    "coverage_frac": held / args.repeats,
                    "width": float(np.mean(widths)),
                }
            )
            if not args.json:
                print(f"{n_pairs} pairs, {design:22} {held / args.repeats:.3f}, width {np.mean(widths):.3f}")
    if args.json:
        print(json.dumps({"repeats": args.repeats, "n_groups": N_GROUPS, "designs": found}))


if __name__ == "__main__":
    main()
