"""Base class of methods that promise differential privacy."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, field_validator

from tdbench.bench.card import MethodConfig
from tdbench.bench.errors import PluginError
from tdbench.bench.method import Method

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.privacy.oracle import PrivateOracle
    from tdbench.bench.record import PrivacyStatement

SETS_TOGETHER = (2, 3, 5, 20)
"""Numbers of sets for which a statement says what all of them together cost."""


class PrivateConfig(MethodConfig):
    """Options that every private method has."""

    epsilon: NonNegativeFloat | Literal["inf"] = 4.0
    """Budget of one set: `inf` asks the same queries and adds no noise, 0 asks none."""
    delta: float | None = Field(default=None, gt=0, lt=1)
    """Null for 1 / (10 N), for N private rows."""
    group: int = Field(default=1, ge=1)
    """Rows of one person that the promise covers together."""
    oracle: Literal["data", "noise-only"] = "data"
    """`noise-only` is a control: every answer is the noise alone."""

    @field_validator("epsilon", mode="before")
    @classmethod
    def _infinity_is_a_word(cls, value: Any) -> Any:
        return "inf" if isinstance(value, float) and math.isinf(value) and value > 0 else value

    @property
    def reference(self) -> bool:
        """Controls are shown and not ranked."""
        return self.oracle == "noise-only" or self.epsilon == 0


@dataclass(frozen=True)
class Release:
    """A set and its promise."""

    made: DistilledSet
    statement: PrivacyStatement


class PrivateMethod(Method):
    """Makes a set from answers with noise; it never receives a row.

    Subclasses implement `release` in place of `distil`, and give their `Config` the options of `PrivateConfig`.
    """

    Config: ClassVar[type[MethodConfig]] = PrivateConfig
    asks_oracle: ClassVar[bool] = True

    @abstractmethod
    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Makes one distilled set.

        Args:
            oracle: Answers queries about the private rows; `oracle.allocate` divides the budget first.
            budget: How large the set may be.
            ctx: Seeds, cost meter, device, encoder, and `ctx.public` texts.
        """

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Makes one distilled set; the promise is lost, see `release_from`."""
        return release_from(self, real, budget, ctx).made

    @classmethod
    def check_class(cls) -> str | None:
        """Returns what is wrong with this class, or None."""
        problem = super().check_class()
        if problem is not None:
            return problem
        if not cls.card.private:
            return "it is a PrivateMethod and its card does not say so; set private=True."
        if cls.distil is not PrivateMethod.distil:
            return "it replaces distil, which hands out the rows; implement release(oracle, budget, ctx)."
        return None if issubclass(cls.Config, PrivateConfig) else "its Config is no PrivateConfig; subclass that."


def release_from(method: PrivateMethod, real: LabelledText, budget: Budget, ctx: Context) -> Release:
    """Lets a private method ask about rows and writes down what that cost.

    Raises:
        PluginError: The method asked for more than it had planned, or hands over rows.
    """
    from tdbench.bench.privacy.accounting import delta_for
    from tdbench.bench.privacy.oracle import PrivateOracle

    config: PrivateConfig = method.config
    oracle = PrivateOracle(
        real,
        float(config.epsilon),
        config.delta or delta_for(len(real)),
        group=config.group,
        noise_only=config.oracle == "noise-only",
        ctx=ctx,
    )
    made = method.release(oracle, budget, ctx)
    if made.row_ids_M is not None:
        raise PluginError(
            f"method '{method.name}' is private and hands over rows of the train split; release new texts or vectors."
        )
    return Release(made, _statement(oracle, config, made, ctx))


def _statement(oracle: PrivateOracle, config: PrivateConfig, made: DistilledSet, ctx: Context) -> PrivacyStatement:
    from tdbench.bench.privacy.accounting import Mechanism, accountants, epsilon_of, prv_epsilon
    from tdbench.bench.record import PrivacyStatement

    queries = oracle.ledger.queries()
    asked = tuple(Mechanism(one.mechanism, one.noise_multiplier, one.rate, one.steps) for one in queries)
    promise: dict[str, Any] = {"epsilon": "inf"}
    if config.epsilon != "inf" and not oracle.ledger.raw_reads:
        check = prv_epsilon(asked, oracle.delta) if oracle.group == 1 else None
        promise = {
            "epsilon": config.epsilon,
            "epsilon_spent": epsilon_of(asked, oracle.delta, group=oracle.group),
            "epsilon_check": check,
            "epsilon_of_sets": {n: epsilon_of(asked, oracle.delta, group=oracle.group, sets=n) for n in SETS_TOGETHER},
            "accountants": accountants(asked, check is not None),
        }
    return PrivacyStatement(
        **promise,
        delta=oracle.delta,
        group=oracle.group,
        n_rows=oracle.n_rows,
        oracle=config.oracle,
        queries=queries,
        raw_reads=tuple(oracle.ledger.raw_reads),
        public=ctx.resources,
        released=_released(made, ctx),
        noise=oracle.noise_description,
    )


def _released(made: DistilledSet, ctx: Context) -> tuple[str, ...]:
    """Lists what leaves the method's hands."""
    parts = {
        "texts": made.fields is not None,
        "token vectors": made.soft is not None,
        "soft labels": made.soft_labels_MC is not None,
        "weights": made.weights_M is not None,
        "learned step sizes": made.schedule is not None,
        "the method's own diagnostics": bool(ctx.diagnostics or ctx.curves),
    }
    return ("labels", *(name for name, is_there in parts.items() if is_there))
