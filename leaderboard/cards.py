"""What the page says about one line of a table when a reader opens it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict

from tdbench.leaderboard.column import MISSING, hardware_text, verified_text
from tdbench.leaderboard.schema import ALL_BUDGET, UNSEEN_MEAN, Row
from tdbench.leaderboard.tables import Line, Table

Samples: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]
"""Stage id of a set -> (class, generated text) of a few of its texts."""
Abouts: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]
"""Method -> (term, text) of what the suite and its authors say about it."""
SAMPLE_LETTERS = 280
"""Longer texts are cut off on the page."""


@dataclass(frozen=True)
class Told:
    """What the page says besides rows."""

    samples: Samples = field(default_factory=dict)
    abouts: Abouts = field(default_factory=dict)
    version: str = ""
    """Of the suite that built the page; empty where it is not said."""


class Card(TypedDict):
    """Facts as (term, text) in the order in which they are shown; a fact without a term belongs to the one before."""

    facts: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    samples: list[tuple[str, str]]


def card_of(line: Line, table: Table, told: Told) -> Card:
    """Writes the card of a line.

    Args:
        line: The line.
        table: Its table.
        told: Generated texts by set, and what is said about methods.
    """
    row = line.rows.get(table.source, line.any_row)
    found = [*told.abouts.get(row["method"], ()), *((name, text) for name, text in _facts(row) if text)]
    for learner, seen in line.rows.items():
        if seen["unranked_reason"] and seen["unranked_reason"] != row["unranked_reason"] and learner != UNSEEN_MEAN:
            found.append((f"{learner} not ranked", seen["unranked_reason"]))
    commands = [("make these runs again", row["command"])] if row["command"] else []
    if row["first_train_id"] and not row["external"]:
        commands.append(("check one of them", f"tdbench reproduce {row['first_train_id']}"))
    texts = [
        (label, text if len(text) <= SAMPLE_LETTERS else f"{text[: SAMPLE_LETTERS - 1]}…")
        for label, text in told.samples.get(row["first_set_id"], ())
    ]
    if not texts and row["budget"] != ALL_BUDGET:
        found.append(("texts", _why_no_texts(row)))
    return {"facts": found, "commands": commands, "samples": texts}


def _why_no_texts(row: Row) -> str:
    if row["output"] == "rows":
        return "not shown: they are rows of the train split, which are not ours to publish"
    if row["output"] == "embedding":
        return "not shown: token vectors are no texts"
    return "not shown: some are those of data sets, or the set is not at hand"


def _facts(row: Row) -> list[tuple[str, str]]:
    options = f"; {row['options']}" if row["options"] else ""
    failed = f", {row['n_failed']} failed" if row["n_failed"] else ""
    same = ", all the same" if row["n_distinct_sets"] == 1 and row["n_sets"] > 1 else ""
    exact = MISSING if row["n_test_exact"] is None else f"{row['n_test_exact']:,}"
    counted = row["distil_flops_uncounted"]
    return [
        ("method", f"{row['method']} v{row['method_version']}, {row['family']}{options}"),
        ("tags", row["tags"]),
        ("not ranked", row["unranked_reason"]),
        ("runs", f"sets: {row['n_sets']}{same}, trainings of each: {row['n_seeds']}{failed}"),
        ("set", f"{MISSING if row['n_rows'] is None else row['n_rows']} rows, {exact} equal to a test text"),
        ("training", "" if row["mode"] == "recipe" else row["mode"]),
        ("remarks", row["notes"]),
        ("contamination", "; ".join(filter(None, (row["contamination"], row["distil_contamination"])))),
        *_privacy(row),
        ("signs of failure", row["failure_signs"]),
        ("references lack sets", row["incomplete_references"]),
        ("sets made on", hardware_text(row)),
        ("trained on", ", ".join(filter(None, (row["device"], row["hardware"])))),
        ("FLOPs leave out", counted if row["distil_flops_counted"] is not None else ""),
        ("data", f"{row['data_fingerprint']}, test {row['test_fingerprint'] or MISSING}"),
        ("measured", row["measured"]),
        ("run again", f"{verified_text(row)}: {row['verified_on']}" if row["verified_on"] else ""),
        ("suite", row["commits"]),
        ("first set", row["first_set_id"]),
    ]


def _privacy(row: Row) -> Iterator[tuple[str, str]]:
    """Writes a promise as one fact a sentence."""
    for place, sentence in enumerate(row["promise"].removesuffix(".").split(". ")):
        yield ("" if place else "privacy", sentence)
    yield "released", row["released"]
