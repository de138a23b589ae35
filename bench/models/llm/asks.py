"""What a language model is asked, and what it replies."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["complete", "chat"]
Form = Literal["json", "plain"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(_Frozen):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(_Frozen):
    """How replies are drawn."""

    temperature: float = Field(default=1.0, ge=0)
    """0 takes the likeliest token each time."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)


class Wanted(_Frozen):
    """What a question is after, for generators that cannot read it: the task's own decoder knows classes and tokens, no instructions."""

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


class Ask(_Frozen):
    """One question: a conversation to be answered (chat), or a text to be continued (complete)."""

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    stop: tuple[str, ...] = ()
    """A reply ends before the first of these."""
    draw: str = ""
    """Tells draws of the same question apart; the same draw always gets the same reply."""
    form: Form = "json"
    """How the reply is read: JSON objects, or the reply as it is."""
    wanted: Wanted | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Ask:
        if bool(self.messages) == bool(self.prompt):
            raise ValueError("a question is either messages (chat) or a prompt (complete)")
        return self

    @property
    def mode(self) -> Mode:
        """How it is asked."""
        return "chat" if self.messages else "complete"

    @property
    def n_characters(self) -> int:
        """Length of all that is sent."""
        return len(self.prompt) + sum(len(message.content) for message in self.messages)


class Reply(_Frozen):
    """What came back, and what it cost when it was first asked for."""

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
    """Why there is no reply; never kept."""

    reason: str
