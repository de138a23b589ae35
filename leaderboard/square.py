"""Square figures: their geometry, and what the template draws."""

from __future__ import annotations

from dataclasses import dataclass

from tdbench.leaderboard.chart import Guide

SIZE, LEFT, BOTTOM, TOP, RIGHT = 360, 52, 44, 14, 24
"""Pixels: side of a figure, and its margins."""
COLOURS = 8
"""Number of colours that the style sheet has; later curves repeat them, dashed."""


@dataclass(frozen=True)
class Point:
    """One method: a dot with its interval to both sides."""

    name: str
    """Its number in the key; empty for dots of a curve."""
    text: str
    x: float
    low: float
    high: float
    y: float
    reference: bool
    copies: bool = False
    """Whether its sets hold members' texts verbatim."""
    colour: int | None = None
    """That of the curve it belongs to."""


@dataclass(frozen=True)
class Curve:
    """One method's curve as an SVG path."""

    path: str
    colour: int

    @property
    def dashed(self) -> bool:
        """Whether an earlier curve has the same colour."""
        return self.colour >= COLOURS


@dataclass(frozen=True)
class KeyLine:
    """One line below a figure: a number or a curve, and what it says."""

    name: str
    """Number of a dot; empty for curves."""
    text: str
    colour: int | None = None
    """Of a curve."""


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
    key: tuple[KeyLine, ...]
    """Everything that the drawing shows, in words."""
    notes: tuple[str, ...] = ()
    """What it leaves out, and how to read it."""
    chance: str = ""
    """Path of what guessing gives; empty where there is no such thing."""


def along(share: float) -> float:
    """Returns where a share of the horizontal axis lies, in pixels."""
    return round(LEFT + share * (SIZE - LEFT - RIGHT), 1)


def up(share: float) -> float:
    """Returns where a share of the vertical axis lies, in pixels."""
    return round(SIZE - BOTTOM - share * (SIZE - BOTTOM - TOP), 1)
