"""What the suite and submissions say about methods, for readers of the board."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tdbench.bench.registry import METHODS

_WORDS = {
    "authors": "authors",
    "division": "division",
    "paper": "paper",
    "code": "code",
    "notes": "notes of its authors",
}


def about_methods(names: Iterable[str], forms: Path) -> dict[str, list[tuple[str, str]]]:
    """Reads cards of plug-ins and forms of accepted submissions.

    Args:
        names: Methods of the board; those that are not installed have no card.
        forms: Folder of forms: `METHOD.yaml` of a method's first submission, `METHOD.N.yaml` of further ones.

    Returns:
        Method -> (term, text) in the order in which they are shown.
    """
    return {name: _card(name) + _form(forms / f"{name}.yaml") + _further(name, forms) for name in sorted(set(names))}


def _card(name: str) -> list[tuple[str, str]]:
    entry = METHODS.entries().get(name)
    if entry is None or entry.plugin is None:
        return []
    card: Any = entry.plugin.card
    return [(term, text) for term, text in (("about", card.summary), ("paper", card.paper)) if text]


def _further(name: str, forms: Path) -> list[tuple[str, str]]:
    """Names who brought further runs of a method."""
    found = (dict(_form(path)).get("authors", "") for path in sorted(forms.glob(f"{name}.[0-9]*.yaml")))
    return [("further runs by", authors) for authors in found if authors]


def _form(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = [(term, form.get(key) or "") for key, term in _WORDS.items()]
    tuning = form["tuning"]
    found.append(("tuning", f"{tuning['configurations']} configurations compared on {tuning['chosen_on']}"))
    return [(term, ", ".join(text) if isinstance(text, list) else str(text)) for term, text in found if text]
