"""Reads texts out of replies: JSON as it was asked for, JSON that is nearly so, lines, or the reply as it is."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tdbench.bench.models.llm.client import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tdbench.bench.models.llm.client import Form, Reply, Request

    Text = tuple[str, ...]

FAILED, UNREADABLE, EMPTY = "no reply", "unreadable", "an empty field"
REFUSED, TOO_LONG = "refused", "too long"
MOST_CHARACTERS = 20_000
_MOST_OBJECTS, _MOST_VAIN = 1_000, 100
_FENCE = re.compile(r"```[a-zA-Z]*")
_TRAILING = re.compile(r",\s*([}\]])")
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,3}[.):])\s+")
_REFUSAL = re.compile(
    r"^\W*(i'?m sorry|i am sorry|i apologi[sz]e|i can(?:'|no)t (?:help|assist|do|provide|write|create|generate|comply|fulfil)"
    r"|i'?m (?:unable|not able)|i am (?:unable|not able)|as an ai\b)",
    re.IGNORECASE,
)


@dataclass
class Parsed:
    """What a reply holds.

    Args:
        texts: Readable texts, field by field.
        rejected: Why others were left out, and how many.
    """

    texts: list[Text] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def read_reply(request: Request, reply: Reply, field_names: Sequence[str]) -> Parsed:
    """Reads the texts of a reply to a request; a plain one that was cut off ends at its last end of a sentence."""
    text = reply.text
    if request.form == "plain" and reply.finish == "length":
        text = text[: 1 + max(text.rfind(mark) for mark in ".!?")]
    return read_texts(text, field_names, request.form)


def one_text(request: Request, reply: Reply | Failure, field_names: Sequence[str]) -> Text | str:
    """Returns the text of a reply that should hold one, or why there is none."""
    if isinstance(reply, Failure):
        return FAILED
    parsed = read_reply(request, reply, field_names)
    return parsed.texts[0] if parsed.texts else next(iter(parsed.rejected), UNREADABLE)


def read_texts(reply: str, field_names: Sequence[str], form: Form) -> Parsed:
    """Reads the texts of a reply.

    Args:
        reply: What the model said.
        field_names: The task's fields, in order.
        form: `json`: objects with the fields, nearly right JSON included, else lines; `plain`: one text, its fields on lines `name: text`
            where there are two.
    """
    if form == "plain":
        found: list[Text | None] = [_plain(reply, field_names)]
    else:
        found = [_fields(one, field_names) for one in _unwrapped(objects(reply), field_names)]
        if not found and _REFUSAL.match(reply):  # what stands in JSON is a text, whatever it says
            return Parsed(rejected=Counter({REFUSED: 1}))
        found = found or [_lines_text(line, field_names) for line in _lines(reply)]
    parsed = Parsed()
    for text in found or [None]:
        reason = _problem(text)
        if reason:
            parsed.rejected[reason] += 1
        elif text is not None:
            parsed.texts.append(tuple(" ".join(part.split()) for part in text))
    return parsed


def _unwrapped(found: Iterator[Any], names: Sequence[str]) -> Iterator[Any]:
    """Opens objects that hold nothing but one list, such as {"texts": [...]}."""
    for one in found:
        lists = [value for value in one.values() if isinstance(value, list)] if isinstance(one, dict) else []
        if len(lists) == 1 and not any(name in one for name in names):
            yield from (item for item in lists[0] if isinstance(item, dict | str))
        else:
            yield one


def read_object(reply: str) -> dict[str, Any] | None:
    """Returns the first JSON object of a reply, nearly right ones included; None where there is none."""
    return next((one for one in objects(reply) if isinstance(one, dict)), None)


def objects(reply: str) -> Iterator[Any]:
    """Yields the objects, and the strings of lists, of a reply in order; of nested ones the outermost that can be read.

    A reply that was cut off yields all that is whole.
    """
    text = _FENCE.sub("", reply)
    decoder, place, count, vain = json.JSONDecoder(), 0, 0, 0
    while count < _MOST_OBJECTS and vain < _MOST_VAIN:
        starts = [i for i in (text.find("{", place), text.find("[", place)) if i >= 0]
        if not starts:
            return
        place = min(starts)
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            value, end = _repaired(text, place)
        if value is None:
            place, vain = place + 1, vain + 1
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict | str):
                count += 1
                yield one
        place = end


def _repaired(text: str, place: int) -> tuple[Any, int]:
    """Reads an object that is nearly JSON: commas before its end, marks of Python or typography; (None, _) where it is none."""
    end = _balanced(text, place)
    if end is None:
        return None, place
    body = _TRAILING.sub(r"\1", text[place:end])
    for candidate in (body, body.translate({0x201C: '"', 0x201D: '"'})):
        try:
            return json.loads(candidate, strict=False), end
        except (ValueError, RecursionError):
            continue
    try:
        return ast.literal_eval(body), end
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):  # TypeError: a set or a key of lists
        return None, place


def _balanced(text: str, place: int) -> int | None:
    """Returns where the bracket at a place closes, brackets inside of strings left out; None where it does not."""
    depth, quoted, escaped = 0, False, False
    for i in range(place, min(len(text), place + MOST_CHARACTERS)):
        sign = text[i]
        if quoted:
            quoted, escaped = (sign != '"' or escaped), (sign == "\\" and not escaped)
        elif sign == '"':
            quoted = True
        elif sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return i + 1
    return None


def _fields(one: Any, names: Sequence[str]) -> Text | None:
    """Returns the task's fields of an object; of a task with one field, also a string, or an object's only or longest text."""
    if isinstance(one, str):
        return (one,) if len(names) == 1 else None
    if not isinstance(one, dict):
        return None
    by_name = {str(key).strip().lower(): value for key, value in one.items()}
    values = [by_name.get(name.lower()) for name in names]
    if len(names) == 1 and not isinstance(values[0], str):
        texts = [value for key, value in by_name.items() if isinstance(value, str) and key not in ("label", "class")]
        values = [by_name["text"] if isinstance(by_name.get("text"), str) else max(texts, key=len, default=None)]
    return tuple(str(value) for value in values) if all(isinstance(value, str) for value in values) else None


def _lines(reply: str) -> list[str]:
    """Returns the items of a list that is no JSON; of a reply without bullets, its lines but one that announces them."""
    lines = [line.strip() for line in _FENCE.sub("", reply).splitlines() if line.strip()]
    bullets = [line for line in lines if _BULLET.match(line)]
    if bullets:
        return [_BULLET.sub("", line) for line in bullets]
    return [line for line in lines if not line.endswith(":") and not line.startswith(("{", "[", "}", "]"))]


def _lines_text(line: str, names: Sequence[str]) -> Text | None:
    if len(names) > 1:
        return None
    head, mark, rest = line.partition(":")
    text = rest if mark and head.strip().lower() in (names[0].lower(), "text") else line
    return (text.strip().strip('"\u201c\u201d'),)


def _plain(reply: str, names: Sequence[str]) -> Text | None:
    if len(names) == 1:
        return (reply.strip().strip('"\u201c\u201d').strip(),)
    found: dict[str, str] = {}
    for line in reply.splitlines():
        head, mark, rest = line.partition(":")
        if mark and head.strip().lower() in {name.lower() for name in names}:
            found.setdefault(head.strip().lower(), rest.strip())
        elif line.strip() and not found:  # the request ends with the first field's name
            found[names[0].lower()] = line.strip()
    return tuple(found[name.lower()] for name in names) if len(found) == len(names) else None


def _problem(text: Text | None) -> str | None:
    if text is None:
        return UNREADABLE
    if not all(part.strip() for part in text):
        return EMPTY
    return TOO_LONG if sum(map(len, text)) > MOST_CHARACTERS else None
