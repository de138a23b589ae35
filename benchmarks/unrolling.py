"""Times an update of a learned training against the obvious way: one graph through all steps and the real batch, in float32.

    python benchmarks/unrolling.py [--steps 2] [--batch 32] [--rounds 3] [--json]

Both sides compute, for MiniLM and the stand-in of AG News, the derivatives of a real batch's loss for the token vectors, labels and step
sizes of a training with one text of 32 vectors a class. Three ratios, medians of alternating rounds:

- `update_ratio`: one graph, with padded float32 attention written out everywhere (what `torch.func.functional_call` and
  `create_graph=True` give, as in the published code), over ours: steps walked back one at a time, the real batch by the packed engine;
- `head_ratio`: an update of ours that moves all weights over one that moves the head alone;
- `checkpoint_ratio`: an update that makes its graphs again over one that keeps them.

`cosine` compares the derivatives for the token vectors (the engine's matrix products are bfloat16 where the processor has units for it); it
must be above 0.98.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tdbench.bench.config import settings_for
from tdbench.bench.cost import CostMeter
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.matching.outer import RealLoss
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.matching.unroll import Back, unroll, unroll_head
from tdbench.bench.training.inner import InnerLoop, InnerModel, Weights
from tdbench.bench.training.resolve import resolve_learner

LENGTH, COSINE = 32, 0.98


def main() -> None:
    """Measures, prints, and fails where the two sides differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cost = CostMeter()
    with cost.phase("benchmark"), tempfile.TemporaryDirectory() as folder:
        bench = _Bench(arguments.steps, arguments.batch, cost, Path(folder))
        plain, ours = bench.one_graph(), bench.update()
        made = {
            "update_ratio": _ratio(bench.one_graph, bench.update, arguments.rounds),
            "head_ratio": _ratio(bench.update, bench.head_update, arguments.rounds),
            "checkpoint_ratio": _ratio(lambda: bench.update(keep=False), bench.update, arguments.rounds),
            "cosine": float(torch.nn.functional.cosine_similarity(plain.flatten(), ours.flatten(), dim=0)),
        }
    print(json.dumps(made) if arguments.json else "\n".join(f"{k:18} {v:.4g}" for k, v in made.items()))
    if made["cosine"] < COSINE:
        raise SystemExit(f"the derivatives differ: cosine {made['cosine']:.4f}, expected at least {COSINE}")


def _ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> float:
    ratios = []
    for _ in range(rounds):
        times = []
        for work in (slow, fast):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


class _Bench:
    def __init__(self, steps: int, batch: int, cost: CostMeter, folder: Path) -> None:
        (settings,) = settings_for(["task=agnews", "data.kind=standin", "method=random", "protocol=lite-v1"])
        real = Planner().plan([settings]).data[0].train
        self.source = SourceModel(
            resolve_learner("minilm"), real, name="minilm", max_length=64, device="cpu", cost=cost, cache=folder, seed=0
        )
        few = real.take(np.array([real.positions_of_class(label)[0] for label in range(real.n_classes)]))
        words = [(np.resize(text[0], LENGTH),) for text in words_of(self.source, few)]
        soft = vectors_of(self.source, words)
        encoded = self.source.special_tokens.around_vectors(soft, len(self.source.table_VE))
        self.inner = InnerModel(self.source.new_module(), encoded, "cpu")
        tokens = self.source.tokenise(real)
        self.rows = np.random.default_rng(0).integers(0, len(real), batch)
        self.loss = RealLoss(self.source.new_module(), tokens, real.labels_N, "cpu", cost)
        self.real, self.labels_B = tokens.collate(self.rows, "cpu"), torch.tensor(real.labels_N[self.rows])
        self.h_BD = torch.randn(1024, self.inner.head_of(self.inner.weights())[0].shape[1])
        self.start = self.inner.weights()
        rates_T2 = torch.tensor([[0.01, 1.0]] * steps)
        every = np.arange(real.n_classes)
        self.loop = InnerLoop(rates_T2, torch.from_numpy(soft.vectors_SD), torch.eye(real.n_classes), [every] * steps)
        for leaf in self.loop.leaves():
            leaf.requires_grad_(True)
        self.plain = self.source.new_module().eval()
        self.plain.backbone.set_attn_implementation("eager")  # type: ignore[union-attr, operator]

    def one_graph(self) -> torch.Tensor:
        """The derivative for the token vectors, by automatic differentiation of everything at once."""
        weights: Weights = {name: weight.detach().requires_grad_(True) for name, weight in self.start.items()}
        for step, rows in enumerate(self.loop.rows_of):
            loss = self.inner.loss(weights, self.loop, rows)
            grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {
                name: weight - self.loop.rates_T2[step, self.inner.group_of(name)] * grad
                for (name, weight), grad in zip(weights.items(), grads, strict=True)
            }
        scores = torch.func.functional_call(self.plain, weights, (), self.real)
        outer = torch.nn.functional.cross_entropy(scores, self.labels_B)
        return torch.autograd.grad(outer, self.loop.leaves())[1]

    def update(self, *, keep: bool = True) -> torch.Tensor:
        """The same, step by step."""
        back = Back(keep=keep)
        return unroll(self.inner, self.start, self.loop, lambda w: self.loss(w, self.rows), back=back).leaves[1]

    def head_update(self) -> torch.Tensor:
        """The derivative where the head alone moves; real texts count by their head inputs."""
        labels = torch.arange(len(self.h_BD)) % len(self.loop.targets_MC)
        return unroll_head(
            lambda x_SE: self.source.soft_features(self.inner.encoded, x_SE),
            self.inner.head_of(self.start),
            self.loop,
            lambda weight_CD, bias_C: torch.nn.functional.cross_entropy(self.h_BD @ weight_CD.t() + bias_C, labels),
        ).leaves[1]


if __name__ == "__main__":
    main()
