"""What a client needs of whoever answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tdbench.bench.models.llm.asks import Ask, Failure, Reply, Sampling

Keep = Callable[[int, Reply], None]
"""Receives a question's position and its reply, from any thread, as soon as the reply is there."""


class Backend(Protocol):
    """Whoever answers questions."""

    @property
    def served(self) -> dict[str, Any]:
        """Who answers, as replies are kept by: kind, model, revision or weights, address."""
        ...

    @property
    def chats(self) -> bool:
        """Whether it follows instructions; else it continues texts."""
        ...

    @property
    def reads_wanted(self) -> bool:
        """Whether it goes by what a question is after, in place of its words."""
        ...

    def answer(self, asks: Sequence[Ask], sampling: Sampling, seeds: Sequence[int], keep: Keep) -> dict[int, Failure]:
        """Answers questions, handing every reply over as it comes.

        Args:
            asks: Questions, all of one mode.
            sampling: How replies are drawn.
            seeds: A seed for each.
            keep: Receives the replies.

        Returns:
            Position -> why it has none.

        Raises:
            LLMError: There is no use in asking on.
        """
        ...


def cut(text: str, stop: Sequence[str]) -> str:
    """Returns a text up to the first of some marks."""
    ends = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text
