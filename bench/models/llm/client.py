"""Asks a language model: replies that are kept are looked up, the rest is asked for within limits, kept as it comes, and booked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdbench.bench.canonical import seed_from
from tdbench.bench.errors import LLMStopError
from tdbench.bench.models.llm.asks import Ask, Failure, Reply, Sampling
from tdbench.bench.models.llm.reply_store import key_of
from tdbench.bench.models.llm.spending import cost_of
from tdbench.bench.record import PhaseCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.models.llm.backend import Backend
    from tdbench.bench.models.llm.reply_store import ReplyStore
    from tdbench.bench.models.llm.spending import Spending

_MANY = 5
"""Questions that may all fail without an end: one that a server does not like must not cost the set."""


@dataclass(frozen=True)
class LLM:
    """A language model that is asked in words.

    Args:
        name: As records show it.
        backend: Who answers.
        store: Where replies are kept; None for models that are cheap and draw the same again.
        spending: What this command has paid for so far.
        cost: This set's cost meter; every reply is charged as if it had just been asked for.
        paid: Whether limits and prices apply: somebody else's server answers.
    """

    name: str
    backend: Backend
    store: ReplyStore | None
    spending: Spending
    cost: CostMeter
    paid: bool = False

    @property
    def chats(self) -> bool:
        """Whether it follows instructions; else it continues texts."""
        return self.backend.chats

    @property
    def reads_words(self) -> bool:
        """Whether it reads questions at all; the task's own decoder goes by what they are after."""
        return not self.backend.reads_wanted

    def ask(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply | Failure]:
        """Asks questions of one mode.

        Args:
            asks: Questions. The same question with the same draw is asked once.
            sampling: How replies are drawn.

        Returns:
            A reply to each, or why there is none; failures are not kept, so the same question is asked again next time.

        Raises:
            LLMStopError: A limit was reached, the server refuses the key or the model, or all of many questions failed.
        """
        served = self.backend.served
        keys = [key_of(served, ask, sampling) for ask in asks]
        first = dict(zip(keys, asks, strict=True))
        found = {key: reply for key in first if (reply := self._kept(key)) is not None}
        n_kept = len(found)
        kept_replies = list(found.values())
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        failed: dict[str, Failure] = {}
        try:
            while missing:
                chunk = missing[: self._allowed([first[key] for key in missing], sampling)]
                missing = missing[len(chunk) :]
                failed |= self._asked(chunk, first, sampling, found)
        finally:
            self._book(list(found.values()), kept_replies, n_kept)
        return [found[key] if key in found else failed[key] for key in keys]

    def _allowed(self, asks: list[Ask], sampling: Sampling) -> int:
        """Returns how many questions may be asked at once; of models that nobody is paid for all, so that limits change no draw."""
        return self.spending.allowed(asks, sampling) if self.paid else len(asks)

    def _kept(self, key: str) -> Reply | None:
        return None if self.store is None else self.store.get(key)

    def _asked(
        self, chunk: list[str], first: dict[str, Ask], sampling: Sampling, found: dict[str, Reply]
    ) -> dict[str, Failure]:
        """Asks for what is not kept, and puts replies into `found`."""
        asks = [first[key] for key in chunk]

        def keep(place: int, reply: Reply) -> None:
            if self.store is not None:
                self.store.put(chunk[place], asks[place], reply)
            found[chunk[place]] = reply
            if self.paid:
                self.spending.pay(reply)

        seeds = [seed_from("draw", key) for key in chunk]
        failures = self.backend.answer(asks, sampling, seeds, keep)
        if len(failures) == len(chunk) >= _MANY:
            why = next(iter(failures.values())).reason
            raise LLMStopError(f"{self.name} answered none of {len(chunk)} questions: {why}.")
        return {chunk[place]: failure for place, failure in failures.items()}

    def _book(self, replies: list[Reply], kept: list[Reply], n_kept: int) -> None:
        """Books tokens and money of all replies, and the time of those that were not waited for this time."""
        if not replies:
            return
        self.cost.add_llm(cost_of(replies, n_kept, self.spending.limits if self.paid else None, self.name))
        if kept:
            known = [reply.cpu_s for reply in kept]
            parallel = self.spending.limits.parallel if self.paid else 1
            self.cost.charge(
                PhaseCost(
                    phase="kept replies",
                    wall_s=sum(reply.wall_s for reply in kept) / parallel,
                    cpu_s=None if None in known else sum(s for s in known if s is not None),
                )
            )
