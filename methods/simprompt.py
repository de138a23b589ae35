"""One prompt a class, nothing else: what a language model writes when it is told the class alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api.llm import Brief, LLMConfig, LLMMethod, Questions, ask_for_texts, llm_card

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText


class SimPrompt(LLMMethod):
    """SimPrompt, the baseline of AttrPrompt (Yu et al., 2023): the class's name is all that the model is told; no real text is shown."""

    name = "simprompt"
    card = llm_card(
        summary="Texts that a language model writes when it is told the class alone.",
        paper="Yu et al., 2023, AttrPrompt (its baseline SimPrompt); Ye et al., 2022, ZeroGen",
        shows_real=False,
    )

    class Config(LLMConfig):
        """Those that all such methods share."""

    def questions(self, n_classes: int, per_class: int) -> Questions:
        """One question for `per_ask` texts, one check a text."""
        asks, n_texts, checks = self.expected(n_classes, per_class)
        return Questions(asks, checks, n_texts)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Asks."""
        assert budget.per_class is not None
        session = self.session(real, ctx)

        def asking(label: int, number: int):
            brief = Brief(label, self.config.per_ask)
            return ask_for_texts(session.llm, session.words, brief, session.draw(label, number)), ()

        return self.made(self.filled(session, budget.per_class, asking), session)
