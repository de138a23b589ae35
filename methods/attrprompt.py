"""AttrPrompt: every text has its own attributes, so that texts of one class differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from pydantic import PositiveInt

from tdbench.api.llm import (
    LLMConfig,
    LLMMethod,
    PromptSpec,
    RequestCounts,
    Sampling,
    keywords,
    llm_card,
    read_object,
    request_for_texts,
    request_for_values,
)

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText
    from tdbench.api.llm import Session

OF_CLASS = "subtopic"
LENGTHS = (0.1, 0.9)
"""Quantiles between which lengths of texts are drawn."""


class AttrPrompt(LLMMethod):
    """AttrPrompt (Yu et al., 2023): the model names values of attributes once, and writes each text for one value of each, drawn evenly.

    Values of the attribute that depends on the class are left out where the model names them for another class too. A model that cannot be
    asked gets subtopics (words of the greatest tf-idf weight) and lengths from the train split.
    """

    name = "attrprompt"
    card = llm_card(
        summary="Texts that a language model writes for randomly drawn attributes, whose values it has named before.",
        paper="Yu et al., 2023, Large language model as attributed training data generator",
        shows_real=False,
    )

    class Config(LLMConfig):
        """Options."""

        attributes: tuple[str, ...] = ("writing style", "tone", "length in words")
        """Attributes with the same values for all classes; each class has subtopics besides."""
        values: PositiveInt = 10
        """Values of an attribute."""

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """Every text has a request of its own."""
        requests, n_texts, checks = self.expected(n_classes, per_class, 1)
        named = 0 if self.config.llm == "task-lm" else n_classes + len(self.config.attributes)
        return RequestCounts(requests, checks + named, n_texts)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Has attributes named, draws values, asks for texts."""
        assert budget.per_class is not None
        session = self.session(real, ctx)
        with ctx.cost.phase("attributes"):
            subtopics, shared = self._named(session) if session.llm.supports_chat else self._counted(session)

        def build_request(label: int, number: int):
            draws = ctx.rng(f"attributes {label} {number}")
            features = {name: str(draws.choice(values)) for name, values in shared.items()}
            subtopic = str(draws.choice(subtopics[label])) if subtopics[label] else ""
            length = features.pop("words", "")
            spec = PromptSpec(
                label,
                features=features | ({OF_CLASS: subtopic} if subtopic and session.llm.supports_chat else {}),
                concepts=(subtopic,) if subtopic and not session.llm.supports_chat else (),
                n_words=int(length) if length else None,
            )
            return request_for_texts(session.llm, session.words, spec, session.draw(label, number)), ()

        return self.distilled(self.generated(session, budget.per_class, build_request, per_request=1), session)

    def _named(self, session: Session) -> tuple[list[list[str]], dict[str, list[str]]]:
        """Asks the model for values: of subtopics class by class, of all other attributes once."""
        config, words, n_classes = self.config, session.words, session.real.n_classes
        wanted = [(OF_CLASS, label) for label in range(n_classes)] + [(name, None) for name in config.attributes]
        requests = [
            request_for_values(words, name, config.values, label, session.draw("values", name))
            for name, label in wanted
        ]
        replies = session.llm.complete(
            requests, Sampling(temperature=config.temperature, top_p=config.top_p, max_tokens=512)
        )
        found = [_values(reply.text if hasattr(reply, "text") else "", config.values) for reply in replies]  # type: ignore[union-attr]
        topics, shared = found[:n_classes], dict(zip(config.attributes, found[n_classes:], strict=True))
        folded = [{value.lower() for value in values} for values in topics]
        own = [
            [value for value in values if not any(value.lower() in folded[k] for k in range(n_classes) if k != label)]
            for label, values in enumerate(topics)
        ]
        return own, {name: values for name, values in shared.items() if values}

    def _counted(self, session: Session) -> tuple[list[list[str]], dict[str, list[str]]]:
        """Takes subtopics and lengths from the train split."""
        real, rng = session.real, session.ctx.rng("subtopics")
        topics = []
        for label in range(real.n_classes):
            rows = rng.permutation(real.positions_of_class(label))[:2000]
            found = [word for words in keywords([" ".join(text) for text in session.texts(rows)], 1) for word in words]
            names, counts = np.unique(found, return_counts=True)
            topics.append([str(name) for name in names[np.argsort(-counts, kind="stable")][: self.config.values]])
        lengths = [len(text.split()) for text in real.joined()]
        steps = np.quantile(lengths, np.linspace(*LENGTHS, self.config.values))
        return topics, {"words": [str(max(1, round(step))) for step in steps]}


def _values(reply: str, most: int) -> list[str]:
    """Returns the different values that a reply lists."""
    found = (read_object(reply) or {}).get("values", [])
    listed = (
        [json.dumps(one) if isinstance(one, dict) else str(one) for one in found] if isinstance(found, list) else []
    )
    return list(dict.fromkeys(" ".join(one.split())[:80] for one in listed if one.strip()))[:most]
