"""Language-model client: requests and replies, reply store, spending limits, and the backend protocol."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tdbench.bench.canonical import canonical_json, seed_from, sha256_text
from tdbench.bench.errors import LLMStopError, RecordError
from tdbench.bench.record import LLMCost, PhaseCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.settings import LLMSettings

Mode = Literal["complete", "chat"]

Form = Literal["json", "plain"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(_Frozen):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(_Frozen):
    """Sampling of replies."""

    temperature: float = Field(default=1.0, ge=0)
    """0 takes the likeliest token each time."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)


class GenerationSpec(_Frozen):
    """Specification of the texts that a request is after, for generators that cannot read prompts."""

    kind: Literal["write", "refine", "classify"] = "write"
    label: int = 0
    """Class of the texts."""
    count: int = Field(default=1, ge=1)
    """Texts."""
    mentions: tuple[str, ...] = ()
    """Words that the texts should hold."""
    n_words: int | None = None
    """Words a text should have."""
    draft: tuple[str, ...] = ()
    """Text to be refined or classified, field by field."""


class Request(_Frozen):
    """One request: a conversation to be answered (chat), or a text to be continued (complete)."""

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    stop: tuple[str, ...] = ()
    """A reply ends before the first of these."""
    draw: str = ""
    """Tells draws of the same request apart; the same draw always gets the same reply."""
    form: Form = "json"
    """How the reply is read: JSON objects, or the reply as it is."""
    wanted: GenerationSpec | None = None
    """What is asked for, for generators that cannot read it."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Request:
        if bool(self.messages) == bool(self.prompt):
            raise ValueError("a question is either messages (chat) or a prompt (complete)")
        return self

    @property
    def mode(self) -> Mode:
        """Whether it is a conversation or a text to be continued."""
        return "chat" if self.messages else "complete"

    @property
    def n_characters(self) -> int:
        """Length of all that is sent."""
        return len(self.prompt) + sum(len(message.content) for message in self.messages)


class Reply(_Frozen):
    """Reply, and what it cost when it was first computed."""

    text: str
    finish: str
    """Why it ended: `stop`, `length`, or what the server says."""
    tokens_in: int | None
    tokens_out: int | None
    """None where the server does not count."""
    wall_s: float
    """Time until it was there; an equal share of its batch's where several were computed together."""
    cpu_s: float | None = None
    """Processor time of the same; None for servers."""
    served_by: str = ""
    """The model's name as the server reports it."""


class Failure(_Frozen):
    """Why there is no reply; never stored."""

    reason: str


_MANY = 5
"""Requests that may all fail without an end: one that a server does not like must not cost the set."""


@dataclass(frozen=True)
class LLM:
    """Language model that is prompted.

    Args:
        name: As records show it.
        backend: What answers.
        store: Stored replies; None for models that are cheap and draw the same again.
        spending: What this command has paid for so far.
        cost: This set's cost meter; every reply is charged as if it had just been computed.
        paid: Whether limits and prices apply: somebody else's server answers.
    """

    name: str
    backend: Backend
    store: ReplyStore | None
    spending: Spending
    cost: CostMeter
    paid: bool = False

    @property
    def supports_chat(self) -> bool:
        """Whether it follows instructions; else it continues texts."""
        return self.backend.supports_chat

    @property
    def reads_words(self) -> bool:
        """Whether it reads prompts at all; the task's own decoder goes by their specification."""
        return not self.backend.reads_spec

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Reply | Failure]:
        """Completes requests of one mode: replies in the store are looked up, the rest is requested within limits, stored and charged.

        Args:
            requests: Requests. The same request with the same draw is sent once.
            sampling: How replies are drawn.

        Returns:
            A reply to each, or why there is none; failures are not stored, so the same request is sent again next time.

        Raises:
            LLMStopError: A limit was reached, the server refuses the key or the model, or all of many requests failed.
        """
        backend_id = self.backend.backend_id
        keys = [key_of(backend_id, request, sampling) for request in requests]
        first = dict(zip(keys, requests, strict=True))
        found = {key: reply for key in first if (reply := self._cached(key)) is not None}
        n_cached = len(found)
        cached_replies = list(found.values())
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        failed: dict[str, Failure] = {}
        try:
            while missing:
                chunk = missing[: self._allowed([first[key] for key in missing], sampling)]
                missing = missing[len(chunk) :]
                failed |= self._requested(chunk, first, sampling, found)
        finally:
            self._charge(list(found.values()), cached_replies, n_cached)
        return [found[key] if key in found else failed[key] for key in keys]

    def _allowed(self, requests: list[Request], sampling: Sampling) -> int:
        """Returns how many requests may be sent at once; of models that nobody is paid for all, so that limits change no draw."""
        return self.spending.allowed(requests, sampling) if self.paid else len(requests)

    def _cached(self, key: str) -> Reply | None:
        return None if self.store is None else self.store.get(key)

    def _requested(
        self, chunk: list[str], first: dict[str, Request], sampling: Sampling, found: dict[str, Reply]
    ) -> dict[str, Failure]:
        """Requests what is not in the store, and puts replies into `found`."""
        requests = [first[key] for key in chunk]

        def on_reply(place: int, reply: Reply) -> None:
            if self.store is not None:
                self.store.put(chunk[place], requests[place], reply)
            found[chunk[place]] = reply
            if self.paid:
                self.spending.pay(reply)

        seeds = [seed_from("draw", key) for key in chunk]
        failures = self.backend.answer(requests, sampling, seeds, on_reply)
        if len(failures) == len(chunk) >= _MANY:
            why = next(iter(failures.values())).reason
            raise LLMStopError(f"{self.name} answered none of {len(chunk)} questions: {why}.")
        return {chunk[place]: failure for place, failure in failures.items()}

    def _charge(self, replies: list[Reply], cached: list[Reply], n_cached: int) -> None:
        """Charges tokens and money of all replies, and the time of those that were not waited for this time."""
        if not replies:
            return
        self.cost.add_llm(cost_of(replies, n_cached, self.spending.limits if self.paid else None, self.name))
        if cached:
            known = [reply.cpu_s for reply in cached]
            parallel = self.spending.limits.parallel if self.paid else 1
            self.cost.charge(
                PhaseCost(
                    phase="kept replies",
                    wall_s=sum(reply.wall_s for reply in cached) / parallel,
                    cpu_s=None if None in known else sum(s for s in known if s is not None),
                )
            )


OnReply = Callable[[int, Reply], None]
"""Receives a request's position and its reply, from any thread, as soon as the reply is there."""


class Backend(Protocol):
    """Language-model backend."""

    @property
    def backend_id(self) -> dict[str, Any]:
        """What identifies the backend in the store of replies: kind, model, revision or weights, address."""
        ...

    @property
    def supports_chat(self) -> bool:
        """Whether it follows instructions; else it continues texts."""
        ...

    @property
    def reads_spec(self) -> bool:
        """Whether it goes by a request's specification, in place of its words."""
        ...

    def answer(
        self, requests: Sequence[Request], sampling: Sampling, seeds: Sequence[int], on_reply: OnReply
    ) -> dict[int, Failure]:
        """Answers requests, handing every reply over as it comes.

        Args:
            requests: Requests, all of one mode.
            sampling: How replies are drawn.
            seeds: A seed for each.
            on_reply: Receives the replies.

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


REPLIES_VERSION = 1
"""Part of every key; raised when the same request is to be sent anew."""

_TABLE = "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, asked TEXT NOT NULL, created TEXT NOT NULL)"


def key_of(backend_id: dict[str, Any], request: Request, sampling: Sampling) -> str:
    """Returns the key of a reply in the store; seeds of draws follow from it, so names of fields in it stay.

    Args:
        backend_id: The backend: model, revision or weights, address.
        request: The request, its draw included. What it is after, and how the reply is read, are no part of it, unless the model
            sees nothing else.
        sampling: How the reply is drawn.
    """
    asked = request.model_dump(mode="json", exclude={"form"} if backend_id.get("reads_wanted") else {"form", "wanted"})
    parts = [REPLIES_VERSION, backend_id, request.mode, asked, sampling.model_dump(mode="json")]
    return sha256_text(canonical_json(parts))


class ReplyStore:
    """Store of replies; failures never reach it.

    Args:
        path: The sqlite file.

    Raises:
        RecordError: The file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a crash of the process loses nothing; of the machine, perhaps the last replies
            self._db.execute(_TABLE)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None

    def get(self, key: str) -> Reply | None:
        """Returns the reply under a key, or None."""
        try:
            with self._lock:
                found = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None
        return None if found is None else Reply.model_validate_json(found[0])

    def put(self, key: str, request: Request, reply: Reply) -> None:
        """Stores a reply at once; the first one under a key stays."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = (key, reply.model_dump_json(), request.model_dump_json(), now)
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _unreadable(self, error: Exception) -> RecordError:
        return RecordError(
            f"{self._path} cannot be read ({error}); move it away: replies in it are then asked for again."
        )


_PER_PRICE = 1_000_000

_CHUNK = 256

_FRAME = 16
"""Tokens around a message, more than any known template takes."""

_GOES_ON = "The same command goes on from here: replies are kept."


@dataclass
class Spending:
    """Spending of this command on calls, over all stages.

    Args:
        limits: Caps and prices.
        n_calls: Calls so far.
        usd: What they cost; None once a call's price is unknown.
    """

    limits: LLMSettings
    n_calls: int = 0
    usd: float | None = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allowed(self, requests: Sequence[Request], sampling: Sampling) -> int:
        """Returns how many of the requests may be sent before looking again: no limit is passed, whatever the replies are.

        Raises:
            LLMStopError: None; a limit has been reached, or a price cannot be told.
        """
        limits = self.limits
        left = len(requests) if limits.max_calls is None else limits.max_calls - self.n_calls
        if left <= 0:
            raise LLMStopError(
                f"runtime.llm.max_calls={limits.max_calls} calls have been made and {len(requests)} more are needed now; raise it. "
                f"{_GOES_ON}"
            )
        most = min(left, len(requests), _CHUNK)
        if limits.max_usd is None:
            return most
        if self.usd is None:
            raise LLMStopError(
                "the server does not count tokens, so runtime.llm.max_usd cannot be kept; leave it out, and use max_calls."
            )
        bounds = np.cumsum([self._bound(request, sampling) for request in requests[:most]])
        fits = int((self.usd + bounds <= limits.max_usd).sum())
        if not fits:
            raise LLMStopError(
                f"{self.usd:.4f} of runtime.llm.max_usd={limits.max_usd} have been spent, one more call may exceed it, and "
                f"{len(requests)} are needed now; raise it. {_GOES_ON}"
            )
        return fits

    def _bound(self, request: Request, sampling: Sampling) -> float:
        """Returns the most that a call may cost: no token is shorter than a character, and some frame every message."""
        asked = request.n_characters + _FRAME * (1 + len(request.messages))
        return dollars(asked, sampling.max_tokens, self.limits) or 0.0

    def pay(self, reply: Reply) -> None:
        """Charges a call that has just been answered."""
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


def cost_of(replies: Sequence[Reply], n_cached: int, limits: LLMSettings | None, model: str) -> LLMCost:
    """Returns what replies cost when they were first computed.

    Args:
        replies: All of them.
        n_cached: How many of them the store held.
        limits: Prices; None for models that nobody is paid for.
        model: The model's name.
    """
    ins, outs = [reply.tokens_in for reply in replies], [reply.tokens_out for reply in replies]
    return LLMCost(
        models=(model,),
        calls=len(replies),
        calls_kept=n_cached,
        tokens_in=None if None in ins else sum(n for n in ins if n is not None),
        tokens_out=None if None in outs else sum(n for n in outs if n is not None),
        usd=None if limits is None else price_of(replies, limits),
    )
