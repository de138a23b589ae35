"""Figures from the literature, kept visibly apart from what the suite measured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tdbench.leaderboard.schema import budget_order

FILE = Path(__file__).with_name("reported.yaml")
HEADINGS = ("method", "budget", "learner", "reported score", "source")
REPORTED_NOTE = (
    "Figures of others, as they were printed. They were made under other protocols, so they are ranked with nothing and compared with "
    "nothing here."
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Frozen):
    """A publication, how its figures were read, and how its protocol differs from the suite's."""

    citation: str
    read: str
    differences: tuple[str, ...] = Field(min_length=1)


class _Line(_Frozen):
    source: str
    task: str
    method: str
    learner: str
    metric: str = "accuracy"
    budgets: dict[str, tuple[float] | tuple[float, float]]


class _File(_Frozen):
    sources: dict[str, Source]
    rows: tuple[_Line, ...]


class Reported(_Frozen):
    """One published figure."""

    task: str
    method: str
    """The publication's name for it."""
    budget: str
    learner: str
    metric: str
    score_frac: float = Field(ge=0, le=1)
    spread_frac: float | None = Field(default=None, ge=0, le=1)
    """Standard deviation over trained models; null where none was printed."""
    source: str
    """Key of the publication."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The figure as the cells of a table."""
        spread = "" if self.spread_frac is None else f" (std {100 * self.spread_frac:.1f})"
        metric = "" if self.metric == "accuracy" else f", {self.metric}"
        return self.method, self.budget, self.learner, f"{100 * self.score_frac:.1f}{spread}{metric}", self.source


@cache
def _file() -> _File:
    raw: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return _File.model_validate(raw)


def reported() -> list[Reported]:
    """Returns all published figures, by task, budget and method."""
    found = [
        Reported(
            task=line.task,
            method=line.method,
            budget=budget,
            learner=line.learner,
            metric=line.metric,
            score_frac=round(printed[0] / 100, 6),
            spread_frac=round(printed[1] / 100, 6) if len(printed) > 1 else None,
            source=line.source,
        )
        for line in _file().rows
        for budget, printed in line.budgets.items()
    ]
    return sorted(found, key=lambda one: (one.task, budget_order(one.budget), -one.score_frac, one.method))


def sources(figures: Sequence[Reported]) -> dict[str, Source]:
    """Returns the publications of some figures by key, sorted."""
    return {key: _file().sources[key] for key in sorted({figure.source for figure in figures})}
