"""What a differentially private set promises, and everything that the promise rests on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tdbench.bench.experiment.audit_record import Frozen

Mechanism = Literal["gaussian", "sampled-gaussian", "laplace"]
Epsilon = float | Literal["inf"]
UNIT = "one row of the train split"
RELATION = "add or remove one"


class PrivateQuery(Frozen):
    """One mechanism as it was used: what it released is a noisy sum over rows."""

    name: str
    """What for, such as `votes`."""
    mechanism: Mechanism
    sensitivity: float = Field(gt=0)
    """Most that one row can change the sum: L2 norm for Gaussian noise, L1 norm for Laplace noise."""
    noise_multiplier: float = Field(ge=0)
    """Standard deviation (Gaussian) or scale (Laplace) of the noise in units of the sensitivity; 0 without a promise."""
    rate: float = Field(default=1.0, gt=0, le=1)
    """Probability with which every row takes part in a step (Poisson sampling); 1 for all rows."""
    steps: int = Field(ge=0)
    """How often it was answered."""


class PublicResource(Frozen):
    """Something that a private method used besides the private rows."""

    name: str
    sha256: str
    overlap: str
    """What it may share with the private rows."""


class PrivacyStatement(Frozen):
    """One set's promise: (epsilon, delta) differential privacy of everything that the method released."""

    epsilon: Epsilon
    """The budget that was asked for, where what was spent is within it; else what was spent. `inf` is no promise."""
    delta: float = Field(gt=0, lt=1)
    epsilon_spent: float | None = None
    """Of the queries as they were answered, by the first accountant; null without a promise."""
    epsilon_check: float | None = None
    """The same by the second accountant, which knows Gaussian noise only; null where it does not apply."""
    epsilon_of_sets: dict[int, float] = Field(default_factory=dict)
    """Number of sets made from the same rows and all released -> epsilon of them together, at the same delta."""
    unit: str = UNIT
    relation: str = RELATION
    group: int = Field(default=1, ge=1)
    """The promise covers so many rows together (those of one person, say)."""
    n_rows: int = Field(ge=1)
    """Number of private rows, declared public."""
    accountants: tuple[str, ...] = ()
    oracle: Literal["data", "noise-only"] = "data"
    """`noise-only`: every answer was the noise alone, a control that has read no row."""
    queries: tuple[PrivateQuery, ...] = ()
    raw_reads: tuple[str, ...] = ()
    """Reasons of reads outside of any mechanism: one voids the promise."""
    public: tuple[PublicResource, ...] = ()
    released: tuple[str, ...] = ()
    """Everything that leaves the method's hands."""
    noise: str
    """Where the noise came from."""

    @model_validator(mode="after")
    def _no_promise_without_grounds(self) -> PrivacyStatement:
        if self.epsilon == "inf":
            if self.epsilon_spent is not None or self.epsilon_of_sets:
                raise ValueError("epsilon is infinite, so nothing finite can have been spent")
            return self
        if self.raw_reads:
            raise ValueError("rows were read outside of any mechanism: epsilon can only be 'inf'")
        if self.epsilon_spent is None or self.epsilon_spent > self.epsilon:
            raise ValueError(f"epsilon {self.epsilon} is promised and {self.epsilon_spent} was spent")
        return self
