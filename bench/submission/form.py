"""What a submission says about itself: `submission.yaml`, filled in by its authors, and `manifest.json`, written by the suite."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FORM, MANIFEST = "submission.yaml", "manifest.json"
RECORDS = "records"
"""Folder of packs: records/<protocol>/<task>/<method>.json."""
SETS = "sets"
"""Folder of the sets that packs only name, such as token vectors: sets/<id>/<file>."""
FORM_VERSION = 1
TODO = "TODO"
"""Stands in the form where authors have to write."""
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
_MARKUP = re.compile(r"[<>`]|javascript:|data:text", re.IGNORECASE)


def hidden_letter(text: str) -> str | None:
    """Returns the first letter of a text that shows nothing: control, direction, zero width, or no letter at all; None without one."""
    return next((letter for letter in text if unicodedata.category(letter) in _HIDDEN), None)


def _plain(text: str) -> str:
    """Takes one line of readable text without markup.

    Raises:
        ValueError: It has control or direction characters, markup, or is not in composed form.
    """
    if unicodedata.normalize("NFC", text) != text:
        raise ValueError("is not in composed Unicode form (NFC)")
    if hidden := hidden_letter(text):
        raise ValueError(f"has the invisible character U+{ord(hidden):04X}")
    if _MARKUP.search(text):
        raise ValueError("has markup (<, >, `, or a script address)")
    if text != text.strip() or text.startswith(("=", "+", "-", "@")):
        raise ValueError("begins or ends with a blank, or begins like a formula")
    return text


def _filled_in(text: str) -> str:
    """Refuses what the authors have not written yet."""
    if TODO in text:
        raise ValueError(f"still says {TODO}; write it")
    return text


def _web(text: str) -> str:
    if text and not re.fullmatch(r"https://[\w.-]+(/[\w./?&=%#@~+-]*)?", text, re.ASCII):
        raise ValueError("is no https address")
    return text


Line = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_plain), AfterValidator(_filled_in)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Web = Annotated[str, Field(max_length=300), AfterValidator(_web)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Tuning(_Form):
    """How options were chosen. Every method tunes; a reader must know on what, and how much."""

    configurations: int = Field(ge=0, le=1_000_000)
    """Configurations that were tried before the one submitted; 0 where none was compared."""
    chosen_on: Line
    """Data on which they were compared, such as `rotten_tomatoes, hidden rows`; never a test split."""


class SubmissionForm(_Form):
    """The authors' part."""

    form_version: Literal[1]
    method: Name
    title: Line
    authors: list[Line] = Field(min_length=1, max_length=50)
    contact: Line
    division: Literal["closed", "open"]
    """`closed`: the suite's recipe, data and learners as they are. `open`: something else was used, which `notes` says."""
    code: Web = ""
    """Address of the plug-in's code; empty where it is part of the suite."""
    paper: Annotated[str, Field(max_length=300), AfterValidator(_plain)] = ""
    tags: list[Name] = Field(default_factory=list, max_length=20)
    """Facts for which someone would reasonably exclude the method."""
    tuning: Tuning
    hardware: Line
    notes: Annotated[str, Field(max_length=2_000), AfterValidator(_plain), AfterValidator(_filled_in)] = ""


class Manifest(_Form):
    """The suite's part: every other file with its content's hash."""

    manifest_version: Literal[1]
    suite_version: str = Field(max_length=40)
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(max_length=400)


def blank_form(method: str, tags: tuple[str, ...], hardware: str) -> str:
    """Writes a form for authors to fill in.

    Args:
        method: Name of the method.
        tags: Tags of its card.
        hardware: What its records were made on.
    """
    values: dict[str, Any] = {
        "form_version": FORM_VERSION,
        "method": method,
        "title": f"{TODO}: one line about the method",
        "authors": [f"{TODO}: name"],
        "contact": f"{TODO}: who answers questions",
        "division": "closed",
        "code": "",
        "paper": "",
        "tags": list(tags),
        "tuning": {"configurations": 0, "chosen_on": f"{TODO}: data on which options were compared, or none"},
        "hardware": " ".join(hardware.split()) or TODO,
        "notes": "",
    }
    head = (
        "# Fill in every TODO, then run: tdbench validate FOLDER\n"
        "# division: closed (recipe, data and learners of the suite as they are) or open (notes say what else was used)\n"
        "# tuning.configurations: how many configurations were tried before this one; chosen_on: never a test split\n"
    )
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
