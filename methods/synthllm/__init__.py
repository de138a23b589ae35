"""SynthLLM for classification: texts grounded in real ones, in recombined concepts of one, and in walks over the concepts of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from tdbench.api import LabelledText
from tdbench.api.llm import (
    LLMConfig,
    LLMMethod,
    PromptSpec,
    RequestCounts,
    Sampling,
    keywords,
    llm_card,
    read_object,
    request_for_concepts,
    request_for_texts,
)
from tdbench.methods.synthllm.graph import ConceptGraph, Concepts, canonical_concepts

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet
    from tdbench.api.llm import Session

PICKED, N_KEYWORDS = 3, 8
"""Concepts of a text that a level-2 request recombines at most, and words that stand for a text's concepts where none can be asked for."""


class SynthLLM(LLMMethod):
    """SynthLLM (Qin et al., 2025), its three levels adapted from questions of mathematics to texts of a class.

    Level 1 shows a real text. Level 2 shows one with a random choice of its own concepts. Level 3 walks a graph of the class's topics and
    concepts and shows the real texts that overlap most with the walk. The check of a text's class stands where answers were generated.
    Concepts are asked for, or where the model cannot be asked, are the words of greatest tf-idf weight.
    """

    name = "synthllm"
    card = llm_card(
        summary="Texts written from real texts and from walks over a graph of their concepts.",
        paper="Qin et al., 2025, SynthLLM",
        shows_real=True,
    )

    class Config(LLMConfig):
        """Options."""

        documents: PositiveInt = 100
        """Real texts of a class that concepts are extracted from."""
        level: Literal["1", "2", "3", "all"] = "all"
        """`all` goes round the three."""

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """One request for `per_ask` texts, one a document for its concepts, one check a text."""
        requests, n_texts, checks = self.expected(n_classes, per_class)
        extracted = 0 if self.config.llm == "task-lm" or self.config.level == "1" else n_classes * self.config.documents
        return RequestCounts(requests, extracted + checks, n_texts, 1.5)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Extracts concepts, builds the graphs, has texts written."""
        assert budget.per_class is not None
        session = self.session(real, ctx)
        documents = [
            ctx.shared_rng(f"documents {label}").permutation(real.positions_of_class(label))[: self.config.documents]
            for label in range(real.n_classes)
        ]
        with ctx.cost.phase("concepts"):
            concepts = self._concepts(session, documents)
            graphs = [ConceptGraph(own) for own in concepts]
        levels = [1, 2, 3] if self.config.level == "all" else [int(self.config.level)]
        ctx.diagnostics["concepts_per_text"] = float(np.mean([len(one.all) for own in concepts for one in own]))

        def build_request(label: int, number: int):
            rng, level = ctx.rng(f"question {label} {number}"), levels[number % len(levels)]
            shown = [int(rng.integers(len(documents[label])))]
            names: tuple[str, ...] = ()
            if level == 2:
                own = concepts[label][shown[0]].all
                names = tuple(rng.permutation(own)[:PICKED].tolist()) if own else ()
            elif level == 3:
                names = graphs[label].walk(rng)
                shown = graphs[label].nearest(names, 2) if names else shown
            examples = session.texts(documents[label][shown])
            spec = PromptSpec(label, self.config.per_ask, examples, concepts=names)
            return request_for_texts(session.llm, session.words, spec, session.draw(label, number)), examples

        return self.distilled(self.generated(session, budget.per_class, build_request), session)

    def _concepts(self, session: Session, documents: list[np.ndarray]) -> list[list[Concepts]]:
        """Returns what every document is about, class by class, names that mean the same made one."""
        if self.config.level == "1":
            return [[Concepts((), ())] * len(rows) for rows in documents]
        counted = not session.llm.supports_chat
        raw = [
            self._counted(session, rows) if counted else self._asked(session, label, rows)
            for label, rows in enumerate(documents)
        ]

        def embed(names: list[str]) -> np.ndarray:
            columns, labels = dict.fromkeys(session.real.fields, names), np.zeros(len(names), dtype=np.int64)
            return session.embed(LabelledText(columns, labels, session.real.label_names, np.arange(len(names))))

        return [canonical_concepts(own, embed if session.rowwise else None) for own in raw]

    def _asked(self, session: Session, label: int, rows: np.ndarray) -> list[Concepts]:
        # The draw does not name the set: concepts of a text are asked for once, for all sets.
        requests = [request_for_concepts(session.words, text, label, "concepts") for text in session.texts(rows)]
        replies = session.llm.complete(requests, Sampling(temperature=0.0, max_tokens=256))
        found = [read_object(getattr(reply, "text", "")) or {} for reply in replies]
        return [Concepts(_names(one.get("topics"), 3), _names(one.get("concepts"), 8)) for one in found]

    def _counted(self, session: Session, rows: np.ndarray) -> list[Concepts]:
        """Takes the words of greatest weight: the first is the topic."""
        texts = [" ".join(text) for text in session.texts(rows)]
        return [Concepts(words[:1], words[1:]) for words in keywords(texts, N_KEYWORDS)]


def _names(value: object, most: int) -> tuple[str, ...]:
    return tuple(str(one)[:60] for one in value[:most] if isinstance(one, str)) if isinstance(value, list) else ()
