"""Texts in the manner of real ones that the language model is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from tdbench.api.llm import LLMConfig, LLMMethod, PromptSpec, RequestCounts, llm_card, request_for_texts

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText


class FewShot(LLMMethod):
    """Few-shot prompting: every request shows other real texts of the class, drawn at random."""

    name = "fewshot"
    card = llm_card(
        summary="Texts that a language model writes after a few real ones, drawn anew for every question.",
        paper="Brown et al., 2020; Zhu et al., 2025, BARE (its baselines)",
        shows_real=True,
    )

    class Config(LLMConfig):
        """Options."""

        shots: PositiveInt = 3
        """Real texts that a request shows."""

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """One request for `per_ask` texts, one check a text."""
        requests, n_texts, checks = self.expected(n_classes, per_class)
        return RequestCounts(requests, checks, n_texts, self.config.shots)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Draws examples and asks."""
        assert budget.per_class is not None
        session = self.session(real, ctx)
        orders = [
            ctx.rng(f"examples {label}").permutation(real.positions_of_class(label)) for label in range(real.n_classes)
        ]

        def build_request(label: int, number: int):
            start = number * self.config.shots % len(orders[label])
            examples = session.texts(orders[label][start : start + self.config.shots])
            spec = PromptSpec(label, self.config.per_ask, examples)
            return request_for_texts(session.llm, session.words, spec, session.draw(label, number)), examples

        return self.distilled(self.generated(session, budget.per_class, build_request), session)
