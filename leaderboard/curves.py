"""Scaling over budgets: a curve for every method with enough budgets and sets, and the data equivalence of distilled texts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tdbench.leaderboard.rankings import row_id
from tdbench.leaderboard.runs import DataVersion, Entry, MethodKey, Scope
from tdbench.leaderboard.scaling import LEAST_BUDGETS, DataEquivalence, Fit, Points, data_equivalence, fit_law
from tdbench.leaderboard.schema import MIXED

_PER_CLASS = re.compile(r"dpc(\d+)")
DRAWS = 200


@dataclass(frozen=True)
class ScalingLine:
    """One method's curve.

    Args:
        name: The method with its options.
        fit: Its law.
        reference: Whether it is a reference.
    """

    name: str
    fit: Fit
    reference: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """Returns the cells of a table: name, sizes, law, misfits, plateau."""
        law, sizes = self.fit.law, self.fit.points.sizes
        prior = f"{law.prior:.3g} + " if law.prior > 1e-6 else ""
        floor = f" + {law.floor:.3g}" if law.floor > 1e-6 else ""
        low, high = self.fit.floor_interval()
        plateau = (
            "not seen" if self.fit.plateau is None else f"{100 * law.floor:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        )
        return (
            self.name,
            f"{sizes[0]:.0f} to {sizes[-1]:.0f}",
            f"{law.scale:.3g} / ({prior}D^{law.beta:.2f}){floor}",
            f"{self.fit.misfit:.3f}",
            f"{self.fit.power_misfit:.3f}",
            plateau,
        )


@dataclass(frozen=True)
class ScalingSection:
    """The curves of one task, protocol and track's source learner."""

    task: str
    protocol: str
    data_kind: str
    title: str
    metric: str
    lines: tuple[ScalingLine, ...]


SCALING_NOTE = (
    "The error of the source learner by texts a class, L(D) = B / (D_l + D^beta) + E (rectified scaling law), for methods with six budgets "
    "of three sets each. It holds for the texts a class that it was measured at. Misfits are root mean squares of logarithms."
)
HEADINGS = (
    "method",
    "texts a class",
    "law of the error",
    "misfit",
    "misfit of a power law",
    "plateau of the error, %, extrapolated",
)


def scaling_sections(
    entries: Iterable[Entry],
) -> tuple[list[ScalingSection], dict[tuple[Any, ...], DataEquivalence]]:
    """Fits a curve to every method with six budgets of three sets each.

    Args:
        entries: All rows of the board; those of the source learner with a budget in texts per class take part.

    Returns:
        Sections in the order of their titles, and what a text is worth in random ones by the identity of its row.
    """
    families: dict[tuple[Scope, DataVersion], list[Entry]] = defaultdict(list)
    for entry in entries:
        mixed = entry.row["track"].endswith(MIXED)  # the law is about the set alone
        if (
            entry.row["is_source"]
            and not mixed
            and _PER_CLASS.fullmatch(entry.key.budget)
            and not entry.row["superseded"]
        ):
            families[entry.key.scope, entry.key.data_version].append(entry)
    sections, equivalences = [], {}
    for (scope, _), family in families.items():
        fits = _fits(family)
        if not fits:
            continue
        lines = [ScalingLine(_name(entry), fit, entry.row["reference"]) for entry, fit in fits]
        learner, metric = family[0].row["learner"], family[0].row["metric"]
        title = (
            f"{scope.task} · {scope.protocol}{f' (custom {scope.custom_id})' if scope.custom_id else ''} · {learner}"
        )
        ordered = tuple(sorted(lines, key=lambda line: line.name))
        sections.append(ScalingSection(scope.task, scope.protocol, scope.data_kind, title, metric, ordered))
        random = next((fit for entry, fit in fits if _is_random(entry)), None)
        if random is not None:
            equivalences |= _equivalences(family, random)
    return sorted(sections, key=lambda section: section.title), equivalences


def _fits(entries: list[Entry]) -> list[tuple[Entry, Fit]]:
    """Returns the curve of every method that has enough, each with one of its entries."""
    methods: dict[MethodKey, dict[int, Entry]] = defaultdict(dict)
    for entry in entries:
        methods[_without_budget(entry.key)][size_of(entry)] = entry
    fits = []
    for by_size in methods.values():
        if len(by_size) < LEAST_BUDGETS:
            continue
        points = Points.of(
            {size: [1 - value for value in entry.units] for size, entry in by_size.items() if entry.units}
        )
        if points.enough:
            fits.append((next(iter(by_size.values())), fit_law(points, n_draws=DRAWS)))
    return fits


def _is_random(entry: Entry) -> bool:
    return entry.group.facts.role == "random" and not entry.key.options


def _equivalences(entries: list[Entry], random: Fit) -> dict[tuple[Any, ...], DataEquivalence]:
    """Returns what texts are worth, without random ones, which are worth one."""
    found = {}
    for entry in entries:
        errors = [1 - value for value in entry.units]
        if errors and not _is_random(entry):
            found[row_id(entry.row)] = data_equivalence(random, size_of(entry), errors)
    return found


def size_of(entry: Entry) -> int:
    """Returns the texts a class of a budget `dpcN`."""
    match = _PER_CLASS.fullmatch(entry.key.budget)
    assert match is not None
    return int(match[1])


def _without_budget(key: MethodKey) -> MethodKey:
    return replace(key, budget="")


def _name(entry: Entry) -> str:
    options = entry.row["options"]
    return entry.row["label"] + (f" ({options})" if options else "")
