"""BARE: a base model's drafts for variety, an instructed model's refinement for quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from tdbench.api.llm import (
    LLMConfig,
    LLMMethod,
    PromptSpec,
    RequestCounts,
    llm_card,
    request_for_refinement,
    request_for_texts,
)

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText
    from tdbench.api.llm import Session


class Bare(LLMMethod):
    """Base-refine (Zhu et al., 2025): two requests a text, three real examples a class and no other look at the data.

    The base model continues a list of the examples; the refiner improves each draft beside the same examples. Other than in the published
    code, texts are checked for their class (`check=none` does not) and for repeats, and what is lost is asked for again.
    """

    name = "bare"
    card = llm_card(
        summary="Drafts that continue three real texts of the class, refined one by one.",
        paper="Zhu et al., 2025, BARE: Base-Refine",
        shows_real=True,
    )

    class Config(LLMConfig):
        """The published values."""

        base: str = "task-lm"
        """Model that drafts; a server must offer it for completion."""
        temperature: float = Field(default=0.7, ge=0, le=2)
        """Of both steps."""
        top_p: float = Field(default=1.0, gt=0, le=1)
        """Of both steps."""
        shots: PositiveInt = 3
        """Real examples of a class: the same in all requests, and for both steps."""
        steps: Literal["both", "base", "instruct"] = "both"
        """`base` leaves drafts as they are; `instruct` has the refiner write from the examples alone."""

        @property
        def idle(self) -> frozenset[str]:
            """The base model where nothing is drafted, the refiner where nothing is refined or checked."""
            if self.steps == "instruct":
                return frozenset(("base",))
            return frozenset(("per_ask", "llm") if self.steps == "base" and self.check == "none" else ("per_ask",))

    def request_counts(self, n_classes: int, per_class: int) -> RequestCounts:
        """A draft, a refinement and a check for each text."""
        drafts = self.config.steps != "instruct"
        requests, n_texts, checks = self.expected(n_classes, per_class, 1 if drafts else None)
        n_steps = 2 if self.config.steps == "both" else 1
        return RequestCounts(n_steps * requests, checks, n_steps * n_texts, self.config.shots)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Drafts and refines."""
        assert budget.per_class is not None
        config = self.config
        drafts = config.steps != "instruct"
        base = self.session(real, ctx, config.base if drafts else config.llm)
        session = base if not drafts or "llm" in config.idle else self.session(real, ctx)
        examples = [
            session.texts(ctx.rng(f"examples {label}").permutation(real.positions_of_class(label))[: config.shots])
            for label in range(real.n_classes)
        ]

        def build_request(label: int, number: int):
            spec = PromptSpec(label, 1 if drafts else config.per_ask, examples[label])
            request = request_for_texts(base.llm, session.words, spec, session.draw(label, number), continued=drafts)
            return request, examples[label]

        pool = self.generated(
            base,
            budget.per_class,
            build_request,
            per_request=1 if drafts else None,
            checker=session,
            rewriter=self._refiner(session) if config.steps == "both" else None,
        )
        return self.distilled(pool, session)

    def _refiner(self, session: Session):
        """Returns what refines drafts; a draft whose refinement cannot be read is thrown away."""

        def refine(texts, labels, shown) -> list[tuple[str, ...] | str]:
            requests = [
                request_for_refinement(
                    session.llm,
                    session.words,
                    PromptSpec(int(label), 1, tuple(examples)),
                    text,
                    session.draw("refine", i, label),
                )
                for i, (text, label, examples) in enumerate(zip(texts, labels, shown, strict=True))
            ]
            replies = session.llm.complete(requests, self.sampling())
            return [session.one_text(request, reply) for request, reply in zip(requests, replies, strict=True)]

        return refine
