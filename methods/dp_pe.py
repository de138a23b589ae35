"""Private evolution: private rows vote, with noise, for the public texts that are nearest to them; more texts like the winners follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, model_validator

from tdbench.api import (
    DistilledSet,
    Estimate,
    LabelledText,
    MethodCard,
    PrivateConfig,
    PrivateMethod,
    Query,
    UsageError,
)
from tdbench.api.llm import NamesModels

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, PrivateOracle
    from tdbench.api.training import Varies

QUESTION = "votes"
IDLE = {
    "nearest": frozenset(("lm", "anew", "top_p", "top_k", "llm")),
    "lm": frozenset(("top_k", "llm")),
    "masked": frozenset(("top_p", "llm")),
    "asked": frozenset(("lm", "anew", "top_k")),
}
"""Options of writing that a variation does not use."""
DECODER_TOKENS = 6_000
"""Commonest tokens that the suite's decoder of public texts knows."""


@dataclass
class Population:
    """Candidates. Shapes: M candidates, D features, C classes.

    Args:
        texts: Candidates, field by field.
        features_MD: Features of length 1.
        open_CM: Classes that each stands for.
    """

    texts: list[tuple[str, ...]]
    features_MD: np.ndarray
    open_CM: np.ndarray

    def won(self, kept_CK: np.ndarray) -> Population:
        """Returns the candidates at some positions, each once and open to the classes that it has won."""
        places = np.unique(kept_CK)
        open_CM = np.array([np.isin(places, kept_K) for kept_K in kept_CK])
        return Population([self.texts[i] for i in places], self.features_MD[places], open_CM)

    def take(self, places: np.ndarray) -> Population:
        """Returns the candidates at some positions."""
        return Population([self.texts[i] for i in places], self.features_MD[places], self.open_CM[:, places])

    def joined(self, other: Population) -> Population:
        """Returns the candidates of both."""
        features = np.concatenate([self.features_MD, other.features_MD])
        return Population([*self.texts, *other.texts], features, np.concatenate([self.open_CM, other.open_CM], axis=1))


class DPPE(PrivateMethod):
    """Aug-PE (Xie et al., 2024) for small sets: few survivors, so that each has many more votes than there is noise.

    Every round asks once: each private row votes for the nearest candidate, so one row changes one count by 1. The candidates that do best
    by their noisy votes survive and bring similar public texts; the last round's winners are the set. No text stands for two classes.
    """

    name = "dp_pe"
    card = MethodCard(
        summary="Public texts, chosen and varied by the noisy votes of private rows.",
        family="private",
        paper="Lin et al., 2024, Private evolution; Xie et al., 2024, Augmented private evolution",
        output="text",
        reads=("encoder", "public"),
        private=True,
        tags=("public-pool",),
        counts_texts=True,
    )

    class Config(PrivateConfig, NamesModels):
        """Options."""

        rounds: int = Field(default=2, ge=1)
        """Votes; each costs its share of the budget."""
        candidates: int = Field(default=1000, ge=1)
        """Candidates in the first round, drawn from the public texts."""
        survivors: float = Field(default=2.0, ge=1)
        """Survivors of a round, as a multiple of the texts that are asked for."""
        variations: int = Field(default=4, ge=0)
        """New candidates that every survivor brings into the next round."""
        variation: Literal["nearest", "lm", "masked", "asked"] = "nearest"
        """`nearest`: public texts that are nearest to it and have not been candidates. As published: `lm`, where a language model keeps its
        beginning and writes on, `masked`, where a masked one fills what is masked of it, and `asked`, where one is asked to rephrase it."""
        lm: str = "task-lm"
        """With variation=lm, the suite's decoder of public texts, or gpt2, phi-1_5, hf:<id or folder>; with variation=masked, a masked
        language model's hf:<id or folder>."""
        llm: str = "task-lm"
        """With variation=asked: openai:<model> of a server (runtime.llm.url), or hf:<id or folder>; it sees survivors, no private row."""
        anew: float = Field(default=0.5, gt=0, le=1)
        """Share of a text's tokens that are written anew, with variation=lm and masked."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from, with variation=lm and asked."""
        top_k: int = Field(default=50, ge=1)
        """Likeliest tokens that are sampled from, with variation=masked."""
        ballot: Literal["shared", "own"] = "shared"
        """`shared`: rows of all classes vote for the same candidates, and those win that a class likes more than the others do. `own`: from
        the second round on each class votes for its own survivors and their kin, and the number of votes decides (as published)."""
        pool: int = Field(default=20_000, ge=1)
        """Public texts that are used at all, drawn at random."""

        @model_validator(mode="after")
        def _fits_together(self) -> DPPE.Config:
            if self.variation == "masked" and self.lm == "task-lm":
                raise ValueError("variation=masked needs a masked language model; give it by lm=hf:<id or folder>")
            if self.variation in ("nearest", "asked") and self.lm != "task-lm":
                raise ValueError(
                    f"variation={self.variation} does not read lm; leave it out, or take variation=lm or masked"
                )
            if (self.variation == "asked") == (self.llm == "task-lm"):
                raise ValueError(
                    "variation=asked, and no other, needs a model to ask: llm=openai:<model> or hf:<id or folder>"
                )
            return self

        @property
        def idle(self) -> frozenset[str]:
            """Options of writing that this variation does not use."""
            return IDLE[self.variation]

    @property
    def reads(self) -> tuple[str, ...]:
        """The suite's decoder, where it writes variations, besides what the card says."""
        more = {"asked": ("llm",), "lm": ("source", "lm") if self.config.lm == "task-lm" else ()}
        return (*self.card.reads, *more.get(self.config.variation, ()))

    @property
    def llms(self) -> tuple[str, ...]:
        """The model that is asked for variations."""
        return (self.config.llm,) if self.config.variation == "asked" else ()

    def estimate(self, real: LabelledText, budget: Budget) -> Estimate | None:
        """A query for each variation of each survivor, of every round but the last."""
        if not self.llms:
            return None
        config, words = self.config, np.mean([len(text.split()) for text in real.joined()] or [20])
        survivors = real.n_classes * round(config.survivors * (budget.per_class or 0))
        calls, length = (config.rounds - 1) * survivors * config.variations, 1.4 * float(words)
        return Estimate(calls, round(calls * (80 + length)), round(calls * (10 + length)))

    @property
    def writes(self) -> bool:
        """Whether variations are new texts."""
        return self.config.variation != "nearest"

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Evolves."""
        assert budget.per_class is not None
        count, config, names = budget.per_class, self.config, oracle.field_names
        pool = ctx.public()
        rows = pool.rows(names, ctx.rng("candidates").permutation(len(pool.texts))[: config.pool])
        labels = np.repeat(np.arange(oracle.n_classes), count)
        if min(len(rows), config.candidates) < len(labels):
            raise UsageError(
                f"{len(labels)} texts are wanted and {min(len(rows), config.candidates)} are candidates; raise method.candidates."
            )
        if oracle.zero_budget:
            return DistilledSet.from_texts(rows.take(np.arange(len(labels))).fields, labels)
        shared = config.ballot == "shared"
        source = _Pool(list(zip(*rows.fields.values(), strict=True)), oracle.embed(rows), oracle.n_classes)
        breeder = source if config.variation == "nearest" else _Writer(self._variations(oracle, ctx), oracle, ctx)
        oracle.allocate(Query(QUESTION, steps=config.rounds))
        population = source.first(config.candidates)
        kept_CK = np.empty((oracle.n_classes, 0), dtype=np.int64)
        for left in reversed(range(config.rounds)):
            votes_CM = oracle.votes(QUESTION, population.features_MD, None if shared else population.open_CM)
            kept_CK = winners(
                lead(votes_CM) if shared else votes_CM, round(config.survivors * count) if left else count
            )
            if left:
                population = breeder.next(population.won(kept_CK), config.variations)
            ctx.progress(1 - left / config.rounds)
        texts = [population.texts[i] for i in kept_CK.ravel()]
        columns = dict(zip(names, map(list, zip(*texts, strict=True)), strict=True))
        return DistilledSet.from_texts(columns, np.repeat(np.arange(oracle.n_classes), kept_CK.shape[1]))

    def _variations(self, oracle: PrivateOracle, ctx: Context) -> Varies:
        """Returns what writes texts like given ones."""
        from tdbench.api.llm import LLMVariations
        from tdbench.api.privacy import public_rows
        from tdbench.api.training import Continuations, MaskedEdits, PublicContinuations

        config = self.config
        if config.variation == "asked":
            return LLMVariations(ctx.llm(config.llm, _rows([], oracle)), ctx.words(), config.top_p, ctx.diagnostics)
        if config.variation == "masked":
            return MaskedEdits(config.lm, config.anew, config.top_k, ctx.device)
        if config.lm != "task-lm":
            return Continuations(config.lm, config.anew, config.top_p, ctx.device)
        public = public_rows(ctx, oracle.field_names, oracle.label_names, DECODER_TOKENS)
        lm = ctx.task_lm(public.rows, public.source)
        return PublicContinuations(lm, public.source, config.anew, config.top_p)


def lead(votes_CM: np.ndarray) -> np.ndarray:
    """Returns by how many votes a class likes each candidate more than the mean other class does."""
    others_CM = (votes_CM.sum(0) - votes_CM) / (len(votes_CM) - 1)
    return votes_CM - others_CM


def winners(scores_CM: np.ndarray, count: int) -> np.ndarray:
    """Returns the (C, K) positions of every class's best candidates, K at most `count`; none wins twice.

    Classes choose in turn. A candidate goes to the class with the highest score for it, as long as that class has room.
    """
    scores_CM = np.nan_to_num(scores_CM, nan=-np.inf)
    n_classes, n_candidates = scores_CM.shape
    room = min(count, n_candidates // n_classes)
    kept: list[list[int]] = [[] for _ in range(n_classes)]
    free_M = np.ones(n_candidates, dtype=bool)
    for wanted_CM in (
        scores_CM == scores_CM.max(0),
        np.ones_like(scores_CM, dtype=bool),
    ):  # first its own, then whatever is left
        for label, taken in enumerate(kept):
            best = np.argsort(np.where(free_M & wanted_CM[label], -scores_CM[label], np.inf), kind="stable")
            chosen = [int(i) for i in best if free_M[i] and wanted_CM[label, i]][: room - len(taken)]
            free_M[chosen] = False
            taken.extend(chosen)
    return np.array(kept, dtype=np.int64)


class _Pool:
    """Public texts, and which of them have been candidates of which class. Shapes: P texts, C classes, D features, M candidates."""

    def __init__(self, texts: list[tuple[str, ...]], features_PD: np.ndarray, n_classes: int) -> None:
        self._texts, self._features_PD = texts, features_PD
        self._fresh_CP = np.ones((n_classes, len(texts)), dtype=bool)

    def first(self, count: int) -> Population:
        """Returns the first candidates, of all classes."""
        count = min(count, len(self._texts))
        self._fresh_CP[:, :count] = False
        open_CM = np.ones((len(self._fresh_CP), count), dtype=bool)
        return Population(self._texts[:count], self._features_PD[:count], open_CM)

    def next(self, parents: Population, variations: int) -> Population:
        """Returns survivors, and the fresh public texts nearest to them, open to the same classes."""
        made = parents.take(np.arange(0))
        for place in range(len(parents.texts)):
            parent = parents.take(np.array([place]))
            made = made.joined(parent).joined(self._near(parent.features_MD[0], parent.open_CM[:, 0], variations))
        return made

    def _near(self, feature_D: np.ndarray, open_C: np.ndarray, count: int) -> Population:
        fresh_P: np.ndarray = np.logical_and.reduce(self._fresh_CP[open_C])
        similar_P = np.where(fresh_P, self._features_PD @ feature_D, -np.inf)
        best = np.argsort(-similar_P, kind="stable")[:count]
        best = best[fresh_P[best]]
        self._fresh_CP[np.ix_(open_C, best)] = False
        return Population([self._texts[i] for i in best], self._features_PD[best], np.tile(open_C[:, None], len(best)))


class _Writer:
    """Language models that write texts like the survivors; a variation that is a survivor again is left out."""

    def __init__(self, vary: Varies, oracle: PrivateOracle, ctx: Context) -> None:
        self._vary, self._oracle, self._ctx, self._round = vary, oracle, ctx, 0

    def next(self, parents: Population, variations: int) -> Population:
        """Returns survivors and their variations, open to the same classes."""
        self._round += 1
        if variations == 0:
            return parents
        with self._ctx.cost.phase("variations"):
            written = [
                text
                for number in range(variations)
                for text in self._vary(
                    parents.texts, self._ctx.torch_seed(f"variation {number} of round {self._round}")
                )
            ]
        seen = set(parents.texts)
        fresh = [i for i, text in enumerate(written) if not (text in seen or seen.add(text))]
        if not fresh:
            return parents
        rows = _rows([written[i] for i in fresh], self._oracle)
        open_CM = np.tile(parents.open_CM, variations)[:, fresh]
        return parents.joined(Population([written[i] for i in fresh], self._oracle.embed(rows), open_CM))


def _rows(texts: list[tuple[str, ...]], oracle: PrivateOracle) -> LabelledText:
    fields = {name: [text[place] for text in texts] for place, name in enumerate(oracle.field_names)}
    return LabelledText(fields, np.full(len(texts), -1), oracle.label_names, np.arange(len(texts)))
