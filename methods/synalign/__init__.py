"""SynAlign: real texts are explored, described by their features, written anew, and the new texts' distribution is aligned with theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt

from tdbench.api import DistilledSet
from tdbench.api.llm import (
    LLMConfig,
    LLMMethod,
    PromptSpec,
    RequestCounts,
    Sampling,
    keywords,
    llm_card,
    read_object,
    request_for_features,
    request_for_texts,
)
from tdbench.methods.synalign.exploration import Explorer, length_scale

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, LabelledText
    from tdbench.api.llm import Session

FEATURES = (
    "topic and subtopic",
    "intent",
    "tone",
    "register",
    "length in words",
    "sentence structure",
    "vocabulary level",
    "point of view",
    "quirks of case, punctuation and spelling",
    "types of named things",
)


class SynAlign(LLMMethod):
    """SynAlign (Ren et al., 2025), three steps for each class.

    1. Exploration: a Gaussian process over the encoder's features chooses the real text that it knows least about, again and again.
    2. Latent attributes: the model describes a chosen text, and writes texts of the same description without seeing it.
    3. Alignment: of all that was written, those are kept whose distribution is nearest to the real one (`align`).

    Published defects that are not repeated: a length scale so small that all texts look alike far, whose choices follow the file's order;
    samples lost to parsing; no quota. A model that cannot be asked is given keywords and length in place of a description.
    """

    name = "synalign"
    card = llm_card(
        summary="Texts written from descriptions of explored real texts, aligned with the real distribution (MMD).",
        paper="Ren et al., 2025, SynAlign",
        shows_real=True,
    )

    class Config(LLMConfig):
        """Options."""

        over: PositiveInt = 10
        """Texts that are written for each one that is kept."""
        least: PositiveInt = 200
        """Texts of a class that are written at least."""
        neighbours: int = Field(default=1, ge=0)
        """Nearest texts that are used up with each one that is explored."""
        length: float = Field(default=0.75, gt=0)
        """Length scale of the exploration, as a multiple of the median distance in a class."""
        explore: Literal["process", "random"] = "process"
        """`random` draws the texts that are described."""
        reduce: Literal["herding", "resample", "kmeans", "none"] = "herding"
        """Alignment, as in `align`: `resample` draws from the weights, as published; `none` keeps the first texts."""

    def written(self, per_class: int) -> int:
        """Returns the texts of a class that are written."""
        return max(self.config.over * per_class, self.config.least)

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """Two requests for each group, one check for each text."""
        requests, n_texts, checks = self.expected(n_classes, self.written(per_class))
        described = 0 if self.config.llm == "task-lm" else requests
        return RequestCounts(requests, described + checks, n_texts)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Explores, describes, has texts written, aligns."""
        from tdbench.api.matching import choose_aligned

        assert budget.per_class is not None
        session, wanted = self.session(real, ctx), self.written(budget.per_class)
        real_ND = ctx.encoder().embed(real)
        n_groups = max(1, -(-wanted // self.per_request(session)))
        with ctx.cost.phase("explore"):
            chosen = [
                self._explored(real_ND, real.positions_of_class(label), label, n_groups, ctx)
                for label in range(real.n_classes)
            ]
        with ctx.cost.phase("describe"):
            specs = self._described(session, chosen) if session.llm.supports_chat else self._counted(session, chosen)

        def build_request(label: int, number: int):
            spec, place = specs[label][number % len(specs[label])]
            request = request_for_texts(session.llm, session.words, spec, session.draw(label, number))
            return request, session.texts([place])

        pool = self.generated(session, wanted, build_request).rows(session.words)
        real_ND, pool_MD = ctx.encoder().embed_both(real, pool)
        with ctx.cost.phase("align"):
            kept = choose_aligned(
                pool_MD,
                pool.labels_N,
                real_ND,
                real.labels_N,
                per_class=budget.per_class,
                reduce=self.config.reduce,
                ctx=ctx,
            )
        rows = pool.take(kept)
        return DistilledSet.from_texts(rows.fields, rows.labels_N)

    def _explored(self, real_ND: np.ndarray, rows: np.ndarray, label: int, count: int, ctx: Context) -> list[int]:
        """Returns the real texts of a class that are described."""
        rng = ctx.rng(f"explore {label}")
        if self.config.explore == "random":
            return [int(i) for i in rng.permutation(rows)[:count]]
        length = length_scale(real_ND[rows], self.config.length, rng)
        groups = Explorer(real_ND[rows], length).explore(count, int(rng.integers(len(rows))), self.config.neighbours)
        return [int(rows[group[0]]) for group in groups]

    def _described(self, session: Session, chosen: list[list[int]]) -> list[list[tuple[PromptSpec, int]]]:
        """Has the texts described; one whose description cannot be read is left out, and a class without any is asked for by its name."""
        config, places = self.config, [(label, place) for label, own in enumerate(chosen) for place in own]
        requests = [
            request_for_features(
                session.words, session.texts([place])[0], label, FEATURES, session.draw("describe", place)
            )
            for label, place in places
        ]
        replies = session.llm.complete(
            requests, Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=400)
        )
        specs: list[list[tuple[PromptSpec, int]]] = [[] for _ in chosen]
        for (label, place), reply in zip(places, replies, strict=True):
            found = read_object(getattr(reply, "text", "")) or {}
            features = {
                str(name)[:60]: str(value)[:200]
                for name, value in found.items()
                if isinstance(value, str | int | float)
            }
            if features:
                specs[label].append((PromptSpec(label, config.per_ask, features=features), place))
        session.ctx.diagnostics["described_frac"] = sum(map(len, specs)) / len(places)
        return [own or [(PromptSpec(label, config.per_ask), chosen[label][0])] for label, own in enumerate(specs)]

    def _counted(self, session: Session, chosen: list[list[int]]) -> list[list[tuple[PromptSpec, int]]]:
        """Describes the texts by two keywords and their length."""
        specs = []
        for label, own in enumerate(chosen):
            texts = [" ".join(text) for text in session.texts(own)]
            specs.append(
                [
                    (PromptSpec(label, self.config.per_ask, concepts=words, n_words=max(1, len(text.split()))), place)
                    for place, text, words in zip(own, texts, keywords(texts, 2), strict=True)
                ]
            )
        return specs
