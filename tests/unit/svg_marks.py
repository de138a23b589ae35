"""Reads the marks of an inline figure."""

from __future__ import annotations

import re
from xml.etree import ElementTree


def marks(svg: str) -> dict[str, tuple[float, float, str]]:
    """Returns what a mark says -> (x, y, name of its element) of every titled dot."""
    found = {}
    for group in ElementTree.fromstring(svg).iter("g"):
        title = group.find("title")
        if title is None:
            continue
        for dot in group.iter():
            if dot.tag in {"circle", "rect"}:
                x, y = (float(dot.get(name, dot.get(short, ""))) for name, short in (("cx", "x"), ("cy", "y")))
                found[title.text or ""] = (x, y, dot.tag)
    return found


def corners(svg: str, title: str) -> list[tuple[float, float]]:
    """Returns the points of a titled line without level or upright parts."""
    path = re.search(rf"<title>{re.escape(title)}</title><path[^>]* d=\"M([^\"]+)\"", svg)
    assert path is not None
    return [tuple(map(float, pair.split())) for pair in path[1].split("L")]  # type: ignore[misc]
