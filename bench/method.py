"""Base class of method plug-ins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from tdbench.bench.card import TASK_LM, Estimate, MethodCard, MethodConfig, Skip

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.task import Task
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.record import Output


class Method(ABC):
    """Turns a train split into a distilled set.

    A method sees the train split only: never the validation or test split. All randomness comes from `ctx.rng`.
    Raise `version` when the same options give another set than before.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    card: ClassVar[MethodCard]

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    """The method's options; replace it by a nested class that subclasses MethodConfig."""
    asks_oracle: ClassVar[bool] = False
    """True for a `PrivateMethod`, which receives an oracle in place of the rows."""

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    @property
    def output(self) -> Output:
        """Kind of the sets that this configuration makes."""
        return self.card.output or self.config.output

    @property
    def reads(self) -> tuple[str, ...]:
        """What this configuration uses besides the train split: all that the card says, or less."""
        return self.card.reads

    @property
    def pretrained_lm(self) -> str | None:
        """Pretrained language model that this configuration prompts, by its option `lm`; None for the task's own or for none."""
        name = getattr(self.config, "lm", TASK_LM)
        return None if name == TASK_LM else str(name)

    @property
    def llms(self) -> tuple[str, ...]:
        """Names of the language models that this configuration prompts; none but for methods that do."""
        return ()

    def estimate(self, real: LabelledText, budget: Budget) -> Estimate | None:  # noqa: ARG002 - most methods prompt none
        """Guesses what one set takes of the language models that are prompted; None where none is.

        Args:
            real: The train split; for a private method public texts.
            budget: How large the set may be.
        """
        return None

    @property
    def reference(self) -> bool:
        """Whether this configuration is there for others to be compared with; a property of that name of its Config may say so."""
        return self.card.reference or getattr(self.config, "reference", False)

    @property
    def seeds_per_set(self) -> int | None:
        """Trainings of every set, by a property of that name of its Config; None for as many as the protocol asks for."""
        return getattr(self.config, "seeds_per_set", None)

    @property
    def external(self) -> bool:
        """Whether this configuration takes its texts from a file, whose cost is unknown."""
        return self.card.external

    @property
    def writes(self) -> bool:
        """Whether this configuration has a language model write texts of its own; the harness then lets another one judge them."""
        return "lm" in self.reads or "llm" in self.reads

    @property
    def uses_task_lm(self) -> bool:
        """Whether this configuration reads the task's language model; a property of that name of its Config may deny it."""
        return "lm" in self.reads and self.pretrained_lm is None and getattr(self.config, "uses_task_lm", True)

    def supports(self, task: Task, budget: Budget) -> Skip | None:  # noqa: ARG002 - the default depends on the budget alone
        """Returns why this method cannot run on a task with a budget, or None when it can."""
        if self.card.counts_texts and budget.per_class is None:
            return Skip(f"{self.name} needs a budget in texts per class")
        return None

    @abstractmethod
    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Makes one distilled set.

        Args:
            real: The train split.
            budget: How large the set may be; the harness counts again.
            ctx: Seeds, cost meter, device, encoder.
        """

    @classmethod
    def check_class(cls) -> str | None:
        """Returns what is wrong with this class, or None."""
        if not isinstance(getattr(cls, "card", None), MethodCard):
            return "the class attribute 'card' is missing; set it to a MethodCard."
        if not issubclass(cls.Config, MethodConfig):
            return "the nested class 'Config' is no MethodConfig; subclass MethodConfig."
        if cls.card.output is None and "output" not in cls.Config.model_fields:
            return "its card names no output and its Config has no option 'output'; give one of them."
        if cls.card.private and not cls.asks_oracle:
            return "its card says private=True and it receives rows; subclass PrivateMethod."
        if "name" in cls.Config.model_fields:
            return "the option 'name' is reserved; rename it."
        return None
