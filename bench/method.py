"""The base class of method plug-ins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.task import Task
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.experiment.record import Output
    from tdbench.bench.models.llm.method import Estimate

TASK_LM = "task-lm"
"""Value of a method's option `lm`: the language model that is trained on the task's own train split."""


class MethodConfig(BaseModel):
    """Options of a method; a method with options subclasses it as its nested `Config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def idle(self) -> frozenset[str]:
        """Names of options that have no effect beside the others: they are left out of a set's identity, and of its row."""
        return frozenset()

    @model_serializer(mode="wrap")
    def _without_idle(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name not in self.idle}


@dataclass(frozen=True)
class Skip:
    """Why a method does not run on a task or budget; shown in the plan."""

    reason: str


@dataclass(frozen=True)
class MethodCard:
    """What a reader of the leaderboard must know about a method.

    Args:
        summary: One sentence.
        family: Family in tables, such as `coreset` or `gradient matching`.
        paper: Citation, or empty.
        output: Kind of the distilled set: rows of the train split, new text, or token vectors; None where an option `output` decides.
        cost_class: Order of magnitude of one distillation on 2 CPU cores; it decides how many sets a protocol asks for.
        deterministic: True when the set does not depend on the seed: one set is then trained with several seeds.
        reads: What the method uses besides the train split: `encoder` (features of the source learner), `source` (its gradients or token
            table; say `encoder` too), `lm` (the task's language model), `llm` (language models that are asked in words), `public` (texts
            of other tasks).
        counts_texts: True for methods that must know the number of texts beforehand; budgets in tokens alone are left out.
        uses_budget: False for references that ignore the budget (majority, full).
        full_data: True for training on all real data, which has a recipe of its own.
        reference: True for references that are shown and never ranked.
        private: True when the method claims differential privacy; it is then a `PrivateMethod`.
        external: True for sets read from a file, whose cost is unknown; they are shown and never ranked.
        tags: Facts for which someone would reasonably exclude a method.
        owner: Who answers questions.
    """

    summary: str
    family: str
    paper: str = ""
    output: Output | None = "rows"
    cost_class: Literal["seconds", "minutes", "hours"] = "seconds"
    deterministic: bool = False
    reads: tuple[str, ...] = ()
    counts_texts: bool = False
    uses_budget: bool = True
    full_data: bool = False
    reference: bool = False
    private: bool = False
    external: bool = False
    tags: tuple[str, ...] = ()
    owner: str = "TDBench"


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
        """Pretrained language model that this configuration asks, by its option `lm`; None for the task's own or for none."""
        name = getattr(self.config, "lm", TASK_LM)
        return None if name == TASK_LM else str(name)

    @property
    def llms(self) -> tuple[str, ...]:
        """Names of the language models that this configuration asks in words; none but for methods that do."""
        return ()

    def estimate(self, real: LabelledText, budget: Budget) -> Estimate | None:  # noqa: ARG002 - most methods ask nobody
        """Guesses what one set takes of the language models that are asked in words; None where none is.

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
    def check_class(cls, plugin: type[Method]) -> str | None:
        """Returns what is wrong with a method class, or None."""
        if not isinstance(getattr(plugin, "card", None), MethodCard):
            return "the class attribute 'card' is missing; set it to a MethodCard."
        if not issubclass(plugin.Config, MethodConfig):
            return "the nested class 'Config' is no MethodConfig; subclass MethodConfig."
        if plugin.card.output is None and "output" not in plugin.Config.model_fields:
            return "its card names no output and its Config has no option 'output'; give one of them."
        from tdbench.bench.privacy.private_method import PrivateMethod

        if plugin.card.private and not issubclass(plugin, PrivateMethod):
            return "its card says private=True and it receives rows; subclass PrivateMethod."
        if "name" in plugin.Config.model_fields:
            return "the option 'name' is reserved; rename it."
        return None
