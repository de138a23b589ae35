"""What calls of language models cost, and where they must stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.errors import LLMStopError
from tdbench.bench.record import LLMCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.models.llm.asks import Ask, Reply, Sampling
    from tdbench.bench.settings import LLMSettings

_PER_PRICE = 1_000_000
_CHUNK = 256
_FRAME = 16
"""Tokens around a message, more than any known template takes."""
_GOES_ON = "The same command goes on from here: replies are kept."


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
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allowed(self, asks: Sequence[Ask], sampling: Sampling) -> int:
        """Returns how many of the questions may be asked before looking again: no limit is passed, whatever the replies are.

        Raises:
            LLMStopError: None; a limit has been reached, or a price cannot be told.
        """
        limits = self.limits
        left = len(asks) if limits.max_calls is None else limits.max_calls - self.n_calls
        if left <= 0:
            raise LLMStopError(
                f"runtime.llm.max_calls={limits.max_calls} calls have been made and {len(asks)} more are needed now; raise it. {_GOES_ON}"
            )
        most = min(left, len(asks), _CHUNK)
        if limits.max_usd is None:
            return most
        if self.usd is None:
            raise LLMStopError(
                "the server does not count tokens, so runtime.llm.max_usd cannot be kept; leave it out, and use max_calls."
            )
        bounds = np.cumsum([self._bound(ask, sampling) for ask in asks[:most]])
        fits = int((self.usd + bounds <= limits.max_usd).sum())
        if not fits:
            raise LLMStopError(
                f"{self.usd:.4f} of runtime.llm.max_usd={limits.max_usd} have been spent, one more call may exceed it, and {len(asks)} are "
                f"needed now; raise it. {_GOES_ON}"
            )
        return fits

    def _bound(self, ask: Ask, sampling: Sampling) -> float:
        """Returns the most that a call may cost: no token is shorter than a character, and some frame every message."""
        asked = ask.n_characters + _FRAME * (1 + len(ask.messages))
        return dollars(asked, sampling.max_tokens, self.limits) or 0.0

    def pay(self, reply: Reply) -> None:
        """Books a call that has just been answered."""
        cost = price_of([reply], self.limits)
        with self._lock:
            self.n_calls += 1
            self.usd = None if cost is None or self.usd is None else self.usd + cost


def price_of(replies: Sequence[Reply], limits: LLMSettings) -> float | None:
    """Returns the price of replies in US dollars; None where a price or a count of tokens is not known."""
    each = [dollars(reply.tokens_in, reply.tokens_out, limits) for reply in replies]
    return None if None in each else sum(one for one in each if one is not None)


def dollars(tokens_in: float | None, tokens_out: float | None, limits: LLMSettings) -> float | None:
    """Returns the price of tokens in US dollars; None where a price or a count is not known."""
    if limits.price_in is None or limits.price_out is None or tokens_in is None or tokens_out is None:
        return None
    return (tokens_in * limits.price_in + tokens_out * limits.price_out) / _PER_PRICE


def cost_of(replies: Sequence[Reply], n_kept: int, limits: LLMSettings | None, model: str) -> LLMCost:
    """Returns what replies cost when they were first asked for.

    Args:
        replies: All of them.
        n_kept: How many of them were found among kept replies.
        limits: Prices; None for models that nobody is paid for.
        model: Who answered.
    """
    ins, outs = [reply.tokens_in for reply in replies], [reply.tokens_out for reply in replies]
    return LLMCost(
        models=(model,),
        calls=len(replies),
        calls_kept=n_kept,
        tokens_in=None if None in ins else sum(n for n in ins if n is not None),
        tokens_out=None if None in outs else sum(n for n in outs if n is not None),
        usd=None if limits is None else price_of(replies, limits),
    )
