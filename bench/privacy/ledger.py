"""The books of a private run: what was planned, what was asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tdbench.bench.errors import PluginError
from tdbench.bench.record import PrivateQuery

if TYPE_CHECKING:
    from tdbench.bench.privacy.accounting import Mechanism
    from tdbench.bench.record import Mechanism as Kind


@dataclass(frozen=True)
class Planned:
    """A question that a method is going to ask.

    Args:
        name: What for; the same name is used when it is asked.
        steps: How often it is asked.
        kind: `gaussian`, `sampled-gaussian` or `laplace`.
        rate: Probability with which every row takes part in a step, for `sampled-gaussian`.
        weight: How exact the answers are to be in comparison with the other questions': twice the weight is half the noise.
    """

    name: str
    steps: int = 1
    kind: Kind = "gaussian"
    rate: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.weight < math.inf and self.steps >= 1):
            raise PluginError(f"question '{self.name}' needs a positive weight and at least one step; got {self}.")


@dataclass
class Ledger:
    """What was planned and what was asked."""

    noise: dict[str, Mechanism] = field(default_factory=dict)
    """Name -> the mechanism, with its noise multiplier and the number of answers that the budget holds."""
    sensitivity: dict[str, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    raw_reads: list[str] = field(default_factory=list)

    def queries(self) -> tuple[PrivateQuery, ...]:
        """Returns the questions as they were answered."""
        return tuple(
            PrivateQuery(
                name=name,
                mechanism=self.noise[name].kind,
                sensitivity=self.sensitivity[name],
                noise_multiplier=self.noise[name].noise,
                rate=self.noise[name].rate,
                steps=steps,
            )
            for name, steps in self.asked.items()
        )
