"""Figures as data, and how matplotlib draws them: inline SVG in the page's colours, or a file for a paper.

A figure is drawn once, in points. The page scales it, replaces colours by the variables of its style sheet, and has the list of what it
shows beside it; a file has a title and that list inside.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tdbench.leaderboard.columns import shortened

if TYPE_CHECKING:
    from matplotlib import figure
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FORMATS = ("svg", "pdf", "png")
PALETTE = {
    "ink": "#1d2126",
    "soft": "#5c636d",
    "line": "#e3e5e8",
    "card": "#ffffff",
    **dict(zip(("c0", "c1", "c2", "c3"), ("#1f5f99", "#c2571a", "#2f8a4c", "#a3367c"), strict=True)),
    **dict(zip(("c4", "c5", "c6", "c7"), ("#8a7300", "#0f8a92", "#b02a2a", "#6a6fd0"), strict=True)),
    **dict(zip(("h0", "h1", "h2", "h3"), ("#f1f5f9", "#dfe9f3", "#c8dbec", "#a9c8e2"), strict=True)),
    **dict(zip(("h4", "h5", "h6"), ("#3f739e", "#2c648f", "#1b5084"), strict=True)),
}
"""Variable of the page's style sheet -> its colour in the light theme, which files have."""
INK, SOFT, LINE, CARD = (PALETTE[name] for name in ("ink", "soft", "line", "card"))
SERIES = tuple(PALETTE[f"c{number}"] for number in range(8))
"""Colours of curves; later curves repeat them, dashed."""
SHADES = tuple(PALETTE[f"h{number}"] for number in range(7))
"""From the lowest score of a learner's column to the highest."""
_VARIABLES = {colour: f"var(--{name})" for name, colour in PALETTE.items()}
_STYLE: dict[str, Any] = {
    "font.size": 7,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    "axes.facecolor": "none",
    "svg.hashsalt": "tdbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
_INHERITED = {"fill": "none", "font-size": f"{_STYLE['font.size']}"}
"""What the page's style sheet says of every figure."""
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@dataclass(frozen=True)
class KeyLine:
    """One line of the list beside a figure.

    Args:
        name: The method.
        text: What the figure shows of it.
        number: That of its dot; empty for curves.
        curve: Place of its curve; null for dots.
    """

    name: str
    text: str
    number: str = ""
    curve: int | None = None

    @property
    def colour(self) -> str:
        """Variable of a curve's colour."""
        return f"var(--c{(self.curve or 0) % len(SERIES)})"

    @property
    def dashed(self) -> bool:
        """Whether an earlier curve has the same colour."""
        return (self.curve or 0) >= len(SERIES)


@dataclass(frozen=True)
class Figure:
    """One figure, for the page and for papers.

    Args:
        kind: Such as `pareto`.
        heading: What it shows, in a few words.
        title: What it is about: task, budget and track.
        summary: Text alternative.
        draw: Draws into axes; dots whose gid is `dotN` get the N-th title.
        size: Width and height in points.
        margins: Left, bottom, right and top in points.
        titles: What dots say when they are pointed at.
        key: Everything that the drawing shows, in words.
        notes: What it leaves out, and how to read it.
    """

    kind: str
    heading: str
    title: str
    summary: str
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (245, 245)
    margins: tuple[float, float, float, float] = (34, 30, 20, 8)
    titles: tuple[str, ...] = ()
    key: tuple[KeyLine, ...] = ()
    notes: tuple[str, ...] = ()


def label(text: str, most: int = 30) -> str:
    """Writes a name on one line of a figure, without letters that cannot be printed."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return shortened(" ".join(printable.split()), most)


def round_limits(values: Sequence[float], steps: Sequence[float], most: int) -> tuple[float, float, list[float]]:
    """Chooses round limits around values.

    Args:
        values: What must lie within.
        steps: Distances of ticks to choose from, ascending.
        most: Ticks that are wanted at most; the last step makes as many as it takes.

    Returns:
        The limits and the ticks.
    """
    low, high = min(values), max(values)
    step = next((step for step in steps if (high - low) / step <= most), steps[-1])
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    ticks = [number * step for number in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def set_ticks(axis: Axis, ticks: Sequence[float], labels: Sequence[str], **style: Any) -> None:
    """Gives an axis these ticks and no others."""
    from matplotlib.ticker import NullLocator

    axis.set_ticks(ticks, labels, **style)
    axis.set_minor_locator(NullLocator())


@contextmanager
def _drawn(shown: Figure, *, in_file: bool) -> Iterator[figure.Figure]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with warnings.catch_warnings(), mpl.rc_context(_STYLE):  # pyright: ignore[reportArgumentType] - keys are checked by matplotlib
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names may be in any script
        width, height = shown.size
        left, bottom, right, top = shown.margins
        canvas = Canvas(figsize=(width / 72, height / 72), facecolor="white" if in_file else "none")
        box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
        axes = canvas.add_axes(box)
        shown.draw(axes)
        if in_file:
            axes.set_title(label(shown.title, 80), fontsize=8, pad=14 if shown.kind == "scores" else 6)
            _draw_key(axes, shown.key)
        yield canvas


def _draw_key(axes: Axes, key: Sequence[KeyLine]) -> None:
    from matplotlib.lines import Line2D

    if not key:
        return
    curves = any(line.curve is not None for line in key)
    handles = [
        Line2D([], [], color=SERIES[(line.curve or 0) % len(SERIES)], lw=1, ls=":" if line.dashed else "-")
        if curves
        else Line2D([], [], ls="none")
        for line in key
    ]
    names = [label(f"{line.number} {line.name}".strip(), 43) for line in key]
    space = {"handlelength": 2.0} if curves else {"handlelength": 0, "handletextpad": 0}
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False, fontsize=6, **space)


def save(shown: Figure, path: Path) -> None:
    """Draws a figure into a file; equal figures give equal bytes.

    Args:
        shown: The figure.
        path: File that ends in one of FORMATS.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.removeprefix(".")
    with _drawn(shown, in_file=True) as canvas:
        canvas.savefig(path, metadata=_METADATA[kind], dpi=200, bbox_inches="tight", pad_inches=0.03)


def inline_svg(shown: Figure) -> str:
    """Draws a figure as an SVG element without ids, whose colours are variables of the page."""
    buffer = io.StringIO()
    with _drawn(shown, in_file=False) as canvas:
        canvas.savefig(buffer, format="svg", metadata=_METADATA["svg"])
    titles = {f"dot{number}": text for number, text in enumerate(shown.titles)}
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib has just written it
    body = _grouped(_Reader(titles).elements(root))
    width, height = shown.size
    box = f"0 0 {width:g} {height:g}"
    return f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(shown.summary)}">{body}</svg>'


@dataclass(frozen=True)
class _Element:
    """An SVG element: a name, its style as attributes, the rest of its attributes, and what it holds."""

    name: str
    style: str
    place: str
    inside: str = ""

    def text(self, style: str = "") -> str:
        head = f"<{self.name}{style}{self.place}"
        return f"{head}>{self.inside}</{self.name}>" if self.inside else f"{head}/>"


def _grouped(elements: list[_Element]) -> str:
    """Writes elements, with neighbours of one style in one group."""
    parts = []
    for style, group in groupby(elements, lambda element: element.style):
        members = list(group)
        if style and len(members) > 1:
            parts.append(f"<g{style}>{''.join(element.text() for element in members)}</g>")
        else:
            parts += [element.text(style) for element in members]
    return "".join(parts)


class _Reader:
    """Reads what matplotlib wrote into the few elements that the page needs."""

    def __init__(self, titles: dict[str, str]) -> None:
        self._titles = titles
        self._markers: dict[str, str] = {}

    def elements(self, node: ElementTree.Element) -> list[_Element]:
        """Returns the visible elements below a node, in order."""
        name = node.tag.rpartition("}")[2]
        if name == "defs":
            self._markers |= {path.get("id", ""): path.get("d", "") for path in node}
            return []
        if name in {"svg", "g"}:
            inside = [element for child in node for element in self.elements(child)]
            gid = node.get("id", "")
            if gid.startswith("matplotlib.axis"):
                inside.sort(key=lambda element: element.name)  # lines of the grid, then their labels
            title = self._titles.get(gid)
            return (
                inside
                if title is None
                else [_Element("g", "", "", f"<title>{escape(title)}</title>{_grouped(inside)}")]
            )
        style = dict(re.findall(r"([\w-]+): ([^;]+)", node.get("style", "")))
        if name == "text":
            return [_text(node, style)]
        if name == "use":
            marker = self._markers[next(value for key, value in node.items() if key.endswith("href"))[1:]]
            return [_marker(node, marker, style)] if "z" in marker else []
        if name == "path" and (style.get("fill") != "none" or "stroke" in style):
            return [_Element("path", _attributes(style), f' d="{_outline(node.get("d", ""))}"')]
        return []


def _attributes(style: dict[str, str]) -> str:
    keys = ("fill", "stroke", "stroke-width", "stroke-dasharray", "text-anchor", "font-size")
    shown = {key: style[key] for key in keys if key in style and style[key] != _INHERITED.get(key)}
    return "".join(f' {key}="{_VARIABLES.get(value, value)}"' for key, value in shown.items())


def _marker(node: ElementTree.Element, path: str, style: dict[str, str]) -> _Element:
    x, y = float(node.get("x", 0)), float(node.get("y", 0))
    half = max(abs(float(number)) for number in re.findall(r"[-\d.]+", path))
    if "C" in path:
        return _Element("circle", _attributes(style), f' cx="{x:.1f}" cy="{y:.1f}" r="{half:g}"')
    place = f' x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:g}" height="{2 * half:g}"'
    return _Element("rect", _attributes(style), place)


def _text(node: ElementTree.Element, style: dict[str, str]) -> _Element:
    size = re.search(r"font(?:-size)?:[^;]*?([\d.]+)px", node.get("style", ""))
    style = {"fill": INK, **style, "font-size": size[1] if size else ""}
    place = f' x="{_short(node.get("x", "0"))}" y="{_short(node.get("y", "0"))}"'
    turn = node.get("transform", "")
    if turn and not turn.startswith("rotate(-0 "):
        place += f' transform="{_short(turn)}"'
    return _Element("text", _attributes(style), place, escape(node.text or "", quote=False))


def _short(text: str) -> str:
    """Writes numbers with one decimal at most."""
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), text)


def _outline(path: str) -> str:
    """Writes a path of straight lines, level and upright ones as such."""
    parts, last = [], ("", "")
    for letter, x, y in re.findall(r"([MLz])(?: ([-\d.]+) ([-\d.]+))?", _short(path)):
        if letter == "L" and y == last[1]:
            parts.append(f"H{x}")
        elif letter == "L" and x == last[0]:
            parts.append(f"V{y}")
        else:
            parts.append(f"{letter}{x} {y}".strip())
        last = (x, y)
    return "".join(parts)
