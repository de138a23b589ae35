"""Options of methods that synthesise texts or learn a whole training. Imports no torch, because plug-ins name it when they are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tdbench.bench.card import MethodConfig, Skip

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget

TASK_LM_VERSION = 2
"""Raised whenever the same rows and options give another language model; part of the ids of sets that were made with one."""

MATCHING_VERSION = 1
"""Raised whenever the same options and seeds give other vectors; part of the ids of sets of methods that read the source."""

WORDS_VERSION = 2
"""In its place where a synthesis makes texts, or starts from generated ones; raised whenever those change, or vectors do."""

Distance = Literal["cosine", "whole", "l2"]
"""`cosine`: mean over the tensors of 1 - cosine; `whole`: 1 - cosine of all tensors in one; `l2`: squared Euclidean distance."""

Space = Literal["head", "lora", "all"]
"""Weights whose gradients are matched: the linear head's; those of adapters on the attention too; or all but the token table."""


class EncodersConfig(MethodConfig):
    """Options of methods that look at more than one encoder."""

    encoders: PositiveInt = 1
    """Encoders to match at; the first is the source learner as it is."""
    encoder_kind: Literal["trained", "random"] = "trained"
    """The others: the same fine-tuned on real texts for a few steps, or with random weights above the token table."""
    encoder_steps: PositiveInt = 30
    """Fine-tuning steps of the others."""


class SynthesisConfig(EncodersConfig):
    """Options that all methods of this kind have; docs/notes/matching-measurements.md says on what evidence the defaults rest."""

    output: Literal["text", "embedding"] = "text"
    """Readable text, or token vectors of the source learner."""
    start: Literal["lm", "lm-any", "rows", "words", "noise"] = "lm"
    """Samples of the task's language model that serve the objective best, among the third of their class that a linear head trained on the
    real texts is surest of, or among all; real texts; random words of the train split; or random tokens of the learner's vocabulary."""
    pool: PositiveInt = 40
    """Samples of the language model for each text wanted; at least as many as candidates."""
    candidates: PositiveInt = 2
    """Texts fitted for each one wanted, of which one is kept. Text only."""
    outer: NonNegativeInt = 8
    """ADMM's updates of the words and of the dual; 0 leaves the start as it is."""
    inner: PositiveInt = 15
    """Adam steps between them."""
    lr: PositiveFloat = 0.02
    """Their learning rate."""
    rho: NonNegativeFloat = 0.5
    """Weight of ADMM's ties between vectors and words, as a mean over vectors; 0 for none."""
    balance: Literal["fixed", "residual"] = "fixed"
    """Whether rho follows ADMM's residuals."""
    top_k: PositiveInt = 20
    """Nearest tokens among which the language model picks."""
    replace: NonNegativeInt = 0
    """Places of every text at which other tokens are tried at the end, one after another. Text only."""
    proposals: PositiveInt = 16
    """Tokens tried at a place."""
    likely: PositiveInt = 200
    """Tokens that the language model expects most at a place, of which those are proposed that the gradient points to."""
    fluency: NonNegativeFloat = 0.03
    """Price of a nat per token of a text's negative log-likelihood when tokens are tried, in units of the distance."""
    noise: NonNegativeFloat = 0.1
    """Standard deviation of the noise on token vectors in every step: without it the fit finds directions that only one model reads."""
    real_per_class: PositiveInt | None = None
    """Real texts of a class that are used at all, for the low-resource setting; null for all."""

    @property
    def uses_task_lm(self) -> bool:
        """Whether texts are sampled from a language model, or chosen by one: token vectors that start from rows need none."""
        return self.output == "text" or self.start in ("lm", "lm-any") or self.rho > 0

    @property
    def matching_version(self) -> int:
        """Version of the code that these options run."""
        return WORDS_VERSION if self.uses_task_lm else MATCHING_VERSION

    @model_validator(mode="after")
    def _does_something(self) -> SynthesisConfig:
        if self.outer == 0 and self.output == "embedding" and self.start not in ("rows", "words", "noise"):
            raise ValueError(
                "token vectors are fitted by steps, and outer is 0; use the method's -embedding preset, or outer=1 "
                "(start=rows, words or noise with outer=0 are controls)"
            )
        if self.outer == 0 and self.encoders > 1:
            raise ValueError(
                "further encoders are matched at by steps on token vectors, and outer is 0; give outer, or encoders=1"
            )
        return self

    @model_validator(mode="after")
    def _enough_samples(self) -> SynthesisConfig:
        if self.pool < self.candidates:
            raise ValueError(
                f"pool is {self.pool}, fewer than the {self.candidates} candidates; give at least as many."
            )
        return self


LEARNED_TRAINING_VERSION = 2
"""Raised whenever the same options and seeds give another learned training."""

EXPERTS_VERSION = 1
"""Raised whenever the same rows and options give other experts."""

SCHEDULE_HEADS = 20


class LearnedTrainingConfig(MethodConfig):
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
        return [MATCHING_VERSION, LEARNED_TRAINING_VERSION]

    def skip(self, budget: Budget) -> Skip | None:
        """Says why there is no learned training for a budget, or None."""
        if budget.per_class is None or budget.tokens_per_class is not None:
            return Skip("a learned training needs a budget in texts per class; method.length says how long they are")
        if budget.per_class < self.parts:
            return Skip(f"method.parts={self.parts} needs as many texts of a class")
        return None

    @model_validator(mode="after")
    def _fits(self) -> LearnedTrainingConfig:
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


class ExpertsConfig(LearnedTrainingConfig):
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
