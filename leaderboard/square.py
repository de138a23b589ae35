"""Square figures: their geometry, and what the template draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leaderboard.chart import Guide

SIZE, LEFT, BOTTOM, TOP, RIGHT = 360, 52, 44, 30, 24
"""Pixels: side of a figure, and its margins."""
COLOURS = 8
"""Number of colours that the style sheet has; later curves repeat them."""

_NAME_HEIGHT, _CHARACTER_WIDTH = 12.0, 6.2


@dataclass(frozen=True)
class Point:
    """One method: a dot with its interval to both sides."""

    name: str
    text: str
    x: float
    low: float
    high: float
    y: float
    reference: bool
    ends: bool
    """Whether the name stands to the left of the dot."""
    name_y: float
    """Where the name stands, so that names do not cover each other."""
    colour: int | None = None
    """That of the curve it belongs to."""


@dataclass(frozen=True)
class Curve:
    """One method's curve as an SVG path."""

    name: str
    path: str
    colour: int
    y: float
    """Where its name stands in the key."""
    key_x: float = LEFT + 8.0
    """Where its line in the key begins."""


@dataclass(frozen=True)
class Figure:
    """A drawing ready for the template."""

    heading: str
    x_title: str
    y_title: str
    x_ticks: tuple[Guide, ...]
    y_ticks: tuple[Guide, ...]
    points: tuple[Point, ...]
    curves: tuple[Curve, ...]
    summary: str
    chance: str = ""
    """Path of what guessing gives; empty where there is no such thing."""


def along(share: float) -> float:
    """Returns where a share of the horizontal axis lies, in pixels."""
    return round(LEFT + share * (SIZE - LEFT - RIGHT), 1)


def up(share: float) -> float:
    """Returns where a share of the vertical axis lies, in pixels."""
    return round(SIZE - BOTTOM - share * (SIZE - BOTTOM - TOP), 1)


def spread_names(points: Sequence[Point]) -> tuple[Point, ...]:
    """Moves names up where they would cover one that stands lower."""
    placed: list[tuple[float, float, float]] = []
    moved = []
    for point in sorted(points, key=lambda one: -one.y):
        width = _CHARACTER_WIDTH * len(point.name)
        left, right = (point.x - width, point.x) if point.ends else (point.x, point.x + width)
        y = point.name_y
        for other_y, other_left, other_right in placed:
            if left < other_right and other_left < right and abs(y - other_y) < _NAME_HEIGHT:
                y = other_y - _NAME_HEIGHT
        placed.append((y, left, right))
        moved.append(replace(point, name_y=round(y, 1)))
    return tuple(moved)
