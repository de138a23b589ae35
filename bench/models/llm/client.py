"""Asks a language model: replies that are kept are looked up, the rest is asked for within limits, kept as it comes, and booked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.canonical import seed_from
from bench.errors import LLMError
from bench.experiment.record import PhaseCost
from bench.models.llm.asks import Ask, Failure, Reply, Sampling
from bench.models.llm.reply_store import key_of
from bench.models.llm.spending import cost_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cost import CostMeter
    from bench.models.llm.backend import Backend
    from bench.models.llm.reply_store import ReplyStore
    from bench.models.llm.spending import Spending


@dataclass(frozen=True)
class LLM:
    """A language model that is asked in words.

    Args:
        name: As records show it.
        backend: Who answers.
        store: Where replies are kept; None for models that are cheap and draw the same again.
        spending: What this command has paid for so far.
        cost: This set's cost meter; every reply is charged as if it had just been asked for.
    """

    name: str
    backend: Backend
    store: ReplyStore | None
    spending: Spending
    cost: CostMeter

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
            LLMError: A limit was reached, the server refuses the key or the model, or all of many questions failed.
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
                chunk = missing[: self.spending.allowed(len(missing))]
                missing = missing[len(chunk) :]
                failed |= self._asked(chunk, first, sampling, found)
        finally:
            self._book(list(found.values()), kept_replies, n_kept)
        return [found[key] if key in found else failed[key] for key in keys]

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
            self.spending.pay(reply)

        seeds = [seed_from("draw", key) for key in chunk]
        failures = self.backend.answer(asks, sampling, seeds, keep)
        if len(failures) == len(chunk):
            raise LLMError(
                f"{self.name} answered none of {len(chunk)} questions: {next(iter(failures.values())).reason}."
            )
        return {chunk[place]: failure for place, failure in failures.items()}

    def _book(self, replies: list[Reply], kept: list[Reply], n_kept: int) -> None:
        """Books tokens and money of all replies, and the time of those that were not waited for this time."""
        if not replies:
            return
        self.cost.add_llm(cost_of(replies, n_kept, self.spending.limits, self.name))
        if kept:
            known = [reply.cpu_s for reply in kept]
            parallel = self.spending.limits.parallel if None in known else 1
            self.cost.charge(
                PhaseCost(
                    phase="kept replies",
                    wall_s=sum(reply.wall_s for reply in kept) / parallel,
                    cpu_s=None if None in known else sum(s for s in known if s is not None),
                )
            )
