"""One prompt a class, nothing else: what a language model writes when it is told the class alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api.llm import LLMConfig, LLMMethod, PromptSpec, RequestCounts, llm_card, request_for_texts

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

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """One request for `per_ask` texts, one check a text."""
        requests, n_texts, checks = self.expected(n_classes, per_class)
        return RequestCounts(requests, checks, n_texts)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Asks."""
        assert budget.per_class is not None
        session = self.session(real, ctx)

        def build_request(label: int, number: int):
            spec = PromptSpec(label, self.config.per_ask)
            return request_for_texts(session.llm, session.words, spec, session.draw(label, number)), ()

        return self.distilled(self.generated(session, budget.per_class, build_request), session)
