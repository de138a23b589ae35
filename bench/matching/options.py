"""Options of methods that synthesise texts; imports no torch, because plug-ins name it when they are listed."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tdbench.bench.card import MethodConfig

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
