"""Expert trajectories: the weights that plain SGD on real texts passes through, saved for methods that imitate it.

Cazenavette et al. (2022), section 3.2. Plain SGD, because a learned schedule is plain SGD: steps of Adam cannot be imitated by it. Every
expert is a file of its own, made once for the same rows and options, so an interrupted buffer goes on where it stopped. Shapes: N real
texts, B of a batch, C classes, D head inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.errors import UsageError
from tdbench.bench.kept import kept
from tdbench.bench.matching.gradients import Head, Heads, head_gradients
from tdbench.bench.matching.learned_training import NewHeads
from tdbench.bench.matching.options import EXPERTS_VERSION
from tdbench.bench.matching.outer import RealLoss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.matching.options import ExpertsConfig
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.training.inner import InnerModel, Weights

HOW = ("epochs", "epoch_steps", "expert_lr", "expert_head_lr", "expert_batch")
"""Options that decide what an expert is; their number does not, so a larger buffer keeps the experts of a smaller one."""
IN_MEMORY_GB = 0.1
"""Buffers up to this size are kept in memory."""
CHECKED = 512
"""Real texts on which an expert's accuracy is noted after every epoch."""


@dataclass(frozen=True, eq=False)
class Expert:
    """What an expert trains: a start, a gradient, a reading.

    Args:
        start: Maps a seed to weights before the first step.
        slope: Maps weights and rows to a loss and its gradient.
        correct: Maps weights and rows to the share of them that is classified right.
        is_head: Tells weights of the head by name.
        n_rows: N.
    """

    start: Callable[[int], Weights]
    slope: Callable[[Weights, np.ndarray], tuple[float, Weights]]
    correct: Callable[[Weights, np.ndarray], float]
    is_head: Callable[[str], bool]
    n_rows: int


class ExpertBuffer:
    """Trajectories on disk. Weights below the head are kept as half-precision differences from those that all experts start with.

    Args:
        expert: What is trained.
        config: How many, how, and in how much space.
        folder: Cache folder, shared by concurrent runs.
        identity: Everything else that decides the weights: rows, learner, space.

    Raises:
        UsageError: It would be larger than the limit.
    """

    def __init__(self, expert: Expert, config: ExpertsConfig, folder: Path, identity: dict[str, Any]) -> None:
        self._config, self._expert = config, expert
        weights = expert.start(0)
        self._names, self._device = list(weights), next(iter(weights.values())).device
        self._base = {name: weight for name, weight in weights.items() if not expert.is_head(name)}
        state = sum(w.numel() * (4 if expert.is_head(name) else 2) for name, w in weights.items())
        self.size_gb = 1e-9 * config.experts * (config.epochs + 1) * state
        if self.size_gb > config.buffer_gb:
            raise UsageError(
                f"{config.experts} experts with {config.epochs + 1} states each would take {self.size_gb:.2f} GB, more than "
                f"method.buffer_gb={config.buffer_gb:g}; use fewer experts or epochs, method.space=lora or head, or a larger limit."
            )
        how = config.model_dump(mode="json", include=set(HOW))
        self._folder = folder / content_id({**identity, **how, "version": EXPERTS_VERSION})
        self._loaded: dict[tuple[int, int], Weights] = {}

    def fill(self, cost: CostMeter, tick: Callable[[float], None] = lambda _: None) -> list[list[float]]:
        """Trains what is missing; what is there is charged at its cold cost. Returns every expert's accuracy at every state."""
        accuracies = []
        for number in range(self._config.experts):
            _, facts = kept(
                self._path(number),
                self._path(number).with_suffix(".json"),
                cost,
                "experts",
                make=lambda n=number: self._train(n, lambda done: tick((n + done) / self._config.experts)),
                save=self._save,
                load=lambda path, facts: None,  # noqa: ARG005 - states are read when they are asked for
            )
            accuracies.append(facts["accuracy"])
        return accuracies

    def state(self, number: int, epoch: int) -> Weights:
        """Returns an expert's weights after some epochs; small buffers are read once."""
        if self.size_gb > IN_MEMORY_GB:
            return self._load(number, epoch)
        if (number, epoch) not in self._loaded:
            self._loaded[number, epoch] = self._load(number, epoch)
        return self._loaded[number, epoch]

    def _load(self, number: int, epoch: int) -> Weights:
        from safetensors import safe_open

        with safe_open(self._path(number), "pt") as stream:
            # What is read lies in the file until it is copied.
            found = {name: stream.get_tensor(f"{epoch}/{name}") for name in self._names}
        return {
            name: self._base[name] + kept.to(self._base[name])
            if name in self._base
            else kept.to(self._device, copy=True)
            for name, kept in found.items()
        }

    def _path(self, number: int) -> Path:
        return self._folder / f"expert-{number}.safetensors"

    def _train(self, number: int, tick: Callable[[float], None]) -> tuple[list[Weights], dict[str, Any]]:
        expert, config = self._expert, self._config
        seed = seed_from("expert", number)
        rng = np.random.default_rng(seed)
        checked = rng.permutation(expert.n_rows)[:CHECKED]
        weights = expert.start(seed)
        path, accuracy = [weights], [expert.correct(weights, checked)]
        for epoch in range(config.epochs):
            for step in range(config.epoch_steps):
                loss, slope = expert.slope(weights, rng.integers(0, expert.n_rows, config.expert_batch))
                with torch.no_grad():
                    weights = {
                        name: weight
                        - (config.expert_head_lr if expert.is_head(name) else config.expert_lr) * slope[name]
                        for name, weight in weights.items()
                    }
                if not np.isfinite(loss) or not all(bool(weight.isfinite().all()) for weight in weights.values()):
                    raise UsageError(
                        f"expert {number} diverged in epoch {epoch + 1}: its loss or weights are not finite; lower "
                        "method.expert_lr or method.expert_head_lr."
                    )
                tick((epoch + (step + 1) / config.epoch_steps) / config.epochs)
            path.append(weights)
            accuracy.append(expert.correct(weights, checked))
        return path, {"accuracy": accuracy}

    def _save(self, path: list[Weights] | None, file: Path) -> None:
        """Writes an expert's states; weights that the learner starts with by their change, at half the precision."""
        from safetensors.torch import save_file

        assert path is not None
        tensors = {
            f"{epoch}/{name}": (weight - self._base[name]).half() if name in self._base else weight.clone()
            for epoch, weights in enumerate(path)
            for name, weight in weights.items()
        }
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, file)


def head_expert(source: SourceModel, inner: InnerModel, real: LabelledText) -> Expert:
    """Returns the training of a head alone: real texts count by their head inputs, which are computed once."""
    h_ND = torch.from_numpy(source.real_features(real)).to(source.device)
    labels_N = torch.tensor(real.labels_N, device=source.device)

    def read(weights: Weights, rows: NDArray[np.int64]) -> tuple[Head, torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(rows).to(source.device)
        return Head(*inner.head_of(weights)), h_ND[index], labels_N[index]

    def slope(weights: Weights, rows: NDArray[np.int64]) -> tuple[float, Weights]:
        head, h_BD, labels_B = read(weights, rows)
        loss = nn.functional.cross_entropy(h_BD @ head.weight_CD.t() + head.bias_C, labels_B)
        one_hot_BC = nn.functional.one_hot(labels_B, len(head.bias_C)).float()
        found = head_gradients(Heads.of([head]), h_BD, one_hot_BC, torch.zeros_like(labels_B), 1)
        return float(loss), inner.head(torch.cat([found.weight_KGCD[0, 0], found.bias_KGC[0, 0].unsqueeze(1)], dim=1))

    def correct(weights: Weights, rows: NDArray[np.int64]) -> float:
        head, h_BD, labels_B = read(weights, rows)
        return float(((h_BD @ head.weight_CD.t() + head.bias_C).argmax(1) == labels_B).float().mean())

    def start(seed: int) -> Weights:
        weights = NewHeads(inner, seed, fixed=True).draw()
        return {name: weight for name, weight in weights.items() if inner.group_of(name)}

    return Expert(start, slope, correct, lambda name: bool(inner.group_of(name)), len(real))


def whole_expert(source: SourceModel, inner: InnerModel, real: LabelledText, cost: CostMeter) -> Expert:
    """Returns the training of all that `inner` trains: all weights but the token table, or adapters and the head."""
    loss = RealLoss(source.new_module(), source.tokenise(real), real.labels_N, source.device, cost)

    def slope(weights: Weights, rows: NDArray[np.int64]) -> tuple[float, Weights]:
        value, found = loss(inner.whole(weights), rows)
        return value, inner.of_whole(found)

    return Expert(
        lambda seed: NewHeads(inner, seed, fixed=True).draw(),
        slope,
        lambda weights, rows: loss.correct(inner.whole(weights), rows),
        lambda name: bool(inner.group_of(name)),
        len(real),
    )
