"""Texts in the manner of real ones that the language model is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from tdbench.api.llm import Brief, LLMConfig, LLMMethod, Questions, ask_for_texts, llm_card

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText


class FewShot(LLMMethod):
    """Few-shot prompting: every question shows other real texts of the class, drawn at random."""

    name = "fewshot"
    card = llm_card(
        summary="Texts that a language model writes after a few real ones, drawn anew for every question.",
        paper="Brown et al., 2020; Zhu et al., 2025, BARE (its baselines)",
        shows_real=True,
    )

    class Config(LLMConfig):
        """Options."""

        shots: PositiveInt = 3
        """Real texts that a question shows."""

    def questions(self, n_classes: int, per_class: int) -> Questions:
        """One question for `per_ask` texts, one check a text."""
        asks, n_texts, checks = self.expected(n_classes, per_class)
        return Questions(asks, checks, n_texts, self.config.shots)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Draws examples and asks."""
        assert budget.per_class is not None
        session = self.session(real, ctx)
        orders = [
            ctx.rng(f"examples {label}").permutation(real.positions_of_class(label)) for label in range(real.n_classes)
        ]

        def asking(label: int, number: int):
            start = number * self.config.shots % len(orders[label])
            examples = session.texts(orders[label][start : start + self.config.shots])
            brief = Brief(label, self.config.per_ask, examples)
            return ask_for_texts(session.llm, session.words, brief, session.draw(label, number)), examples

        return self.made(self.filled(session, budget.per_class, asking), session)
