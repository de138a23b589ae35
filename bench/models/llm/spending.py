"""What calls of language models cost, and where they must stop."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import LLMError
from bench.experiment.record import LLMCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.models.llm.asks import Reply
    from bench.settings import LLMSettings

_PER_PRICE = 1_000_000
_CHUNK = 256


@dataclass
class Spending:
    """Calls that this command has paid for, over all stages.

    Args:
        limits: Caps and prices.
        n_calls: Calls so far.
        usd: What they cost; None once a call's price is unknown.
    """

    limits: LLMSettings
    n_calls: int = 0
    usd: float | None = 0.0
    _largest_usd: float = field(default=0.0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allowed(self, wanted: int) -> int:
        """Returns how many of `wanted` calls may be made before looking again.

        Raises:
            LLMError: None; a limit has been reached.
        """
        limits = self.limits
        left = wanted if limits.max_calls is None else limits.max_calls - self.n_calls
        if left <= 0:
            raise LLMError(
                f"runtime.llm.max_calls={limits.max_calls} calls have been made and {wanted} more are needed; raise it. "
                "The same command goes on from here: replies are kept."
            )
        if limits.max_usd is None:
            return min(wanted, left, _CHUNK)
        spent = self.usd or 0.0
        if spent + self._largest_usd > limits.max_usd:
            raise LLMError(
                f"{spent:.4f} of runtime.llm.max_usd={limits.max_usd} have been spent, one more may exceed it, and {wanted} are needed; "
                "raise it. The same command goes on from here: replies are kept."
            )
        # As many as fit at the price of the dearest one so far; a few at first.
        fits = limits.parallel if self._largest_usd == 0 else math.floor((limits.max_usd - spent) / self._largest_usd)
        return max(1, min(wanted, left, _CHUNK, fits))

    def pay(self, reply: Reply) -> None:
        """Books a call that has just been answered."""
        cost = price_of([reply], self.limits)
        with self._lock:
            self.n_calls += 1
            self.usd = None if cost is None or self.usd is None else self.usd + cost
            self._largest_usd = max(self._largest_usd, cost or 0.0)


def price_of(replies: Sequence[Reply], limits: LLMSettings) -> float | None:
    """Returns the price of replies in US dollars; None where a price or a count of tokens is not known."""
    if limits.price_in is None or limits.price_out is None:
        return None
    total = 0.0
    for reply in replies:
        if reply.tokens_in is None or reply.tokens_out is None:
            return None
        total += (reply.tokens_in * limits.price_in + reply.tokens_out * limits.price_out) / _PER_PRICE
    return total


def cost_of(replies: Sequence[Reply], n_kept: int, limits: LLMSettings, model: str) -> LLMCost:
    """Returns what replies cost when they were first asked for.

    Args:
        replies: All of them.
        n_kept: How many of them were found among kept replies.
        limits: Prices.
        model: Who answered.
    """
    ins, outs = [reply.tokens_in for reply in replies], [reply.tokens_out for reply in replies]
    return LLMCost(
        models=(model,),
        calls=len(replies),
        calls_kept=n_kept,
        tokens_in=None if None in ins else sum(n for n in ins if n is not None),
        tokens_out=None if None in outs else sum(n for n in outs if n is not None),
        usd=price_of(replies, limits),
    )
