"""Options of methods that learn a whole training: token vectors, labels, step sizes, attention. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from tdbench.bench.card import MethodConfig, Skip
from tdbench.bench.matching.options import MATCHING_VERSION

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget

LESSONS_VERSION = 2
"""Raised whenever the same options and seeds give another learned training."""

EXPERTS_VERSION = 1
"""Raised whenever the same rows and options give other experts."""

SCHEDULE_HEADS = 20


class LessonConfig(MethodConfig):
    """Options that all methods of this kind have; docs/notes/matching-measurements.md says on what evidence the defaults rest."""

    output: Literal["embedding", "text"] = "embedding"
    """Token vectors of the source learner, or the words that they are nearest to."""
    train: Literal["schedule", "recipe"] = "schedule"
    """How token vectors are to be trained on: by the steps that were learned with them, or by the protocol's recipe."""
    start: Literal["rows", "class-mean", "words", "noise"] = "rows"
    """Random real texts, mean vectors of random parts of each class, random words of the train split, or noise of the table's scale."""
    inputs: Literal["learned", "fixed"] = "learned"
    """`fixed` leaves the vectors as they start and learns the rest: the reference that shows what the vectors add."""
    length: PositiveInt | None = 32
    """Vectors of every text, fields together; null for as many as the real text has that it starts from."""
    labels: Literal["hard", "soft", "free"] = "free"
    """One-hot, learned class shares, or learned numbers without a constraint ("unrestricted")."""
    attention: Literal["none", "first", "all"] = "all"
    """Learned attention of the first token, or of all tokens, in every layer and head, as further labels."""
    head: Literal["random", "fixed"] = "random"
    """Every training starts from a new head, or from one head that is part of the set."""
    steps: PositiveInt = 2
    """Steps of SGD in a training."""
    head_first: bool = False
    """The first step moves next to nothing below the head, at first: without attention, all that a new head sends there is noise."""
    parts: PositiveInt = 1
    """Parts that every class's texts are dealt to; a step trains on one part, in turn."""
    rate: PositiveFloat = 0.001
    """Step size of the weights below the head, at first: small, or a new head's first steps undo what the head alone has learned."""
    head_rate: PositiveFloat = 1.0
    """Step size of the head, at first."""
    lr: PositiveFloat = 0.03
    """Adam's learning rate of the vectors."""
    label_lr: PositiveFloat = 0.03
    """Of labels, in their own units or in logits."""
    rate_lr: PositiveFloat = 0.03
    """Of step sizes, before softplus."""
    attention_lr: PositiveFloat = 1.0
    """Of attention, in logits."""
    noise: NonNegativeFloat = 0.0
    """Standard deviation of normal noise on the vectors whenever they are read during distillation."""
    checkpoint: bool = False
    """Computes every step again on the way back instead of keeping its graph: less memory, a fifth more time."""
    top_k: PositiveInt = 1
    """Nearest tokens among which the task's language model picks the words; 1 takes the nearest. Text only."""

    @property
    def uses_task_lm(self) -> bool:
        """Whether a language model picks the words."""
        return self.output == "text" and self.top_k > 1

    @property
    def schedule(self) -> bool:
        """Whether sets bring their training with them."""
        return self.output == "embedding" and self.train == "schedule"

    @property
    def reference(self) -> bool:
        """Vectors that stay as they start show what learned ones add."""
        return self.inputs == "fixed"

    @property
    def seeds_per_set(self) -> int | None:
        """Heads that a learned training is tried with. One training takes seconds, so there is no reason to rest a set on few."""
        return SCHEDULE_HEADS if self.schedule and self.head == "random" else None

    @property
    def matching_version(self) -> list[int]:
        """Versions of the code that these options run."""
        return [MATCHING_VERSION, LESSONS_VERSION]

    def skip(self, budget: Budget) -> Skip | None:
        """Says why there is no learned training for a budget, or None."""
        if budget.per_class is None or budget.tokens_per_class is not None:
            return Skip("a learned training needs a budget in texts per class; method.length says how long they are")
        if budget.per_class < self.parts:
            return Skip(f"method.parts={self.parts} needs as many texts of a class")
        return None

    @model_validator(mode="after")
    def _fits(self) -> LessonConfig:
        if not self.schedule and (self.labels == "free" or self.attention != "none" or self.head == "fixed"):
            what = "text" if self.output == "text" else "the recipe"
            raise ValueError(
                f"{what} has no place for labels without a constraint, attention or a head of its own: give labels=hard (or soft, for "
                "token vectors), attention=none and head=random"
            )
        if self.parts > self.steps:
            raise ValueError(f"{self.parts} parts for {self.steps} steps: some texts would never be trained on")
        if self.output == "text" and (self.labels != "hard" or self.inputs == "fixed"):
            raise ValueError("text is made with labels=hard and inputs=learned")
        if self.output == "embedding" and self.top_k > 1:
            raise ValueError("top_k picks words; token vectors need none")
        return self


class ExpertsConfig(LessonConfig):
    """Options of methods that imitate experts."""

    experts: PositiveInt = 8
    """Experts."""
    epochs: PositiveInt = 14
    """Stretches of an expert; its weights are kept before the first and after each."""
    epoch_steps: PositiveInt = 50
    """Steps of SGD in a stretch."""
    expert_lr: PositiveFloat = 0.01
    """Step size of an expert below the head."""
    expert_head_lr: PositiveFloat = 0.3
    """Step size of its head."""
    expert_batch: PositiveInt = 64
    """Real texts of a step."""
    buffer_gb: PositiveFloat = 2.0
    """Largest size of all kept weights together."""

    @property
    def matching_version(self) -> list[int]:
        """Versions of the code that these options run, experts included."""
        return [*super().matching_version, EXPERTS_VERSION]
