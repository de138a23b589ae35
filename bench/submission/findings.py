"""What a check of a submission has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "unchecked", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "unchecked", "note")
"""Worst first. `unchecked`: what cannot be checked here, with what it would take."""
_LETTERS = 400


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of a submission should know.

    Args:
        severity: `error` refuses the submission.
        code: Stable name of the check, such as `metric-differs`.
        where: File and record that it is about.
        message: What was found, what was expected, and what to do.
    """

    severity: Severity
    code: str
    where: str
    message: str


@dataclass
class Report:
    """Everything that was found, in the order in which it was."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, code: str, where: str, message: str) -> None:
        """Adds a finding; foreign text in it becomes one line without control characters, cut to a few hundred letters."""
        self.findings.append(Finding(severity, code, shown(where), shown(message)))

    def error(self, code: str, where: str, message: str) -> None:
        """Adds an error."""
        self.add("error", code, where, message)

    @property
    def refused(self) -> bool:
        """Whether anything refuses the submission."""
        return any(finding.severity == "error" for finding in self.findings)

    def sorted(self) -> list[Finding]:
        """Returns the findings, worst first."""
        return sorted(self.findings, key=lambda finding: ORDER.index(finding.severity))

    def codes(self, severity: Severity = "error") -> set[str]:
        """Returns the names of the checks that found something of a severity."""
        return {finding.code for finding in self.findings if finding.severity == severity}


def shown(text: str) -> str:
    """Makes foreign text fit to be printed: one line, nothing that moves a cursor or turns the reading direction."""
    plain = "".join(letter if letter.isprintable() else "�" for letter in text.replace("\n", " "))
    return plain if len(plain) <= _LETTERS else f"{plain[: _LETTERS - 1]}…"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Writes a few names and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
