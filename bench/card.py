"""Method card, base of method options, and what a plan needs to know of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

if TYPE_CHECKING:
    from tdbench.bench.record import Output, Role

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
            table; say `encoder` too), `lm` (the task's language model), `llm` (language models that are prompted), `public` (texts
            of other tasks).
        counts_texts: True for methods that must know the number of texts beforehand; budgets in tokens alone are left out.
        uses_budget: False for references that ignore the budget (majority, full).
        full_data: True for training on all real data, which has a recipe of its own.
        reference: True for references that are shown and never ranked.
        role: What other rows are compared with it for, see `Role`; empty for most methods.
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
    role: Role = ""
    private: bool = False
    external: bool = False
    tags: tuple[str, ...] = ()
    owner: str = "TDBench"


@dataclass(frozen=True)
class Estimate:
    """Expected language-model use of one set.

    Args:
        calls: Requests.
        tokens_in: Tokens of the prompts.
        tokens_out: Tokens of replies.
    """

    calls: int
    tokens_in: int
    tokens_out: int
