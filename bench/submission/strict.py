"""Reads JSON and YAML of strangers: bounded in size and depth, every key once, every number finite, no tags, no references."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import yaml

MOST_DEPTH = 40
MOST_YAML_BYTES = 64 << 10
MOST_YAML_DEPTH = 8
_MOST_DIGITS = 20
_SIGN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class StrictError(ValueError):
    """A file that is not read, with the reason."""


def strict_json(content: bytes) -> Any:
    """Parses JSON in UTF-8.

    Raises:
        StrictError: It is malformed, nested too deep, has a key twice, or holds NaN, an infinity or a number that becomes one.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
    if (depth := _depth(text)) > MOST_DEPTH:
        raise StrictError(f"it is nested {depth} deep, at most {MOST_DEPTH} is read")
    try:
        return json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_short, object_pairs_hook=_once
        )
    except StrictError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictError(f"it is not JSON ({error})") from None


def _depth(text: str) -> int:
    """Returns how deep brackets are nested outside of strings, in one pass and without recursion."""
    deepest = depth = 0
    inside = False
    for found in _SIGN.finditer(text):
        sign = found[0]
        if sign == '"':
            inside = not inside
        elif not inside and len(sign) == 1:
            depth += 1 if sign in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


def _no_constant(name: str) -> Any:
    raise StrictError(f"it holds {name}, which is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StrictError(f"it holds the number {text[:40]}, which is not finite")
    return value


def _short(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise StrictError(f"it holds the number {text[:40]}…, which has more than {_MOST_DIGITS} digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise StrictError(f"the key {key[:80]!r} stands there twice")
        found[key] = value
    return found


def strict_yaml(content: bytes) -> Any:
    """Parses a small YAML file of plain values.

    Raises:
        StrictError: It is malformed or large, nested too deep, has a key twice, or uses anchors, aliases or tags.
    """
    if len(content) > MOST_YAML_BYTES:
        raise StrictError(f"it has {len(content) >> 10} KiB, at most {MOST_YAML_BYTES >> 10} is read")
    try:
        text = content.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise StrictError("it uses an anchor or an alias; write the value itself")
            if getattr(event, "tag", None):
                raise StrictError("it uses a tag; write plain values")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_YAML_DEPTH:
                raise StrictError(f"it is nested more than {MOST_YAML_DEPTH} deep")
        return _finite_values(yaml.load(text, Loader=_OnceLoader))  # noqa: S506 - a safe loader
    except StrictError:
        raise
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OverflowError) as error:
        raise StrictError(f"it is not YAML ({' '.join(str(error).split())[:200]})") from None


class _OnceLoader(yaml.SafeLoader):
    """A safe loader that takes every key once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        plain = [key for key in keys if isinstance(key, str)]
        if len(plain) != len(keys) or len(set(plain)) != len(plain):
            raise StrictError("a key stands there twice, or is no text")
        return super().construct_mapping(node, deep)


def _finite_values(value: Any) -> Any:
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise StrictError("it holds a number that is not finite")
        if isinstance(one, int) and abs(one) >= 10**_MOST_DIGITS:
            raise StrictError(f"it holds a whole number of more than {_MOST_DIGITS} digits")
        stack += list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
    return value
