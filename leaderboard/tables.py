"""From rows to tables: which rows stand together, in which order, under which remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tdbench.leaderboard.columns import MISSING, NOT_APPLICABLE, joined
from tdbench.leaderboard.fields import COLUMNS
from tdbench.leaderboard.schema import ALL_BUDGET, MIXED, TRANSFER, Column, Output, Row, Texts, budget_order

MIXED_NOTE = (
    "MIXTURE: learners train on the distilled set and on random real texts of every class, the same for all methods, so differences to "
    "random compare distilled texts with as many more real ones. Budgets, sizes, costs and promises are the set's alone."
)

CPU_NOTE = "CPU run: no pretrained transfer learner."

KIND_NOTES = {
    "real-subset": "{task} is a SUBSET of the official train set: not comparable with published figures.",
    "standin": "STAND-IN corpus: synthetic text, not comparable with real data.",
}


def table_notes(rows: list[Row], custom: bool) -> Iterator[str]:
    """Writes what readers must know about a table.

    Args:
        rows: All its rows.
        custom: Whether its protocol was changed.
    """
    if custom:
        yield "Custom protocol settings: no row of this table is ranked."
    if rows[0]["metric"] != "accuracy_frac":
        yield "Scores are macro-F1, the mean over classes, because accuracy hides the rare class; accuracy has a column of its own."
    for learner, why in sorted(
        {(row["learner"], joined(row["contamination"])) for row in rows if row["contamination"]}
    ):
        if learner != TRANSFER:
            yield f"{learner} is CONTAMINATED: {why}."
    chosen: dict[str, set[str]] = {}
    for row in rows:
        if row["distil_contamination"]:
            chosen.setdefault(joined(row["distil_contamination"]), set()).add(row["label"])
    for why, labels in sorted(chosen.items()):
        yield f"Made with CONTAMINATED features ({', '.join(sorted(labels))}): {why}."
    yield from _about_comparisons(rows)
    devices = {device for row in rows for device in row["device"]}
    if devices == {"cpu"}:
        yield CPU_NOTE
    if rows[0]["track"].endswith(MIXED):
        yield MIXED_NOTE
    if rows[0]["track"] == "learner-bound":
        yield "n/a: token vectors mean nothing to a learner with another token table."
    # What is said of majority and full is said by their rows.
    noted = [row for row in rows if row["notes"] and row["budget"] != ALL_BUDGET and row["learner"] != TRANSFER]
    for learner in sorted({row["learner"] for row in noted}):
        remarks = sorted({joined(row["notes"]) for row in noted if row["learner"] == learner})
        yield f"{learner}: {'; '.join(remarks)}"


def _about_comparisons(rows: list[Row]) -> Iterator[str]:
    lacking = sorted({one for row in rows for one in row["incomplete_references"]})
    if lacking:
        yield f"Differences rest on references that lack sets: {', '.join(lacking)}."
    averaged = sorted({joined(row["transfer_learners"], ", ") for row in rows if row["transfer_learners"]})
    if averaged:
        yield f"The transfer score is the mean over {'; or '.join(averaged)}."


FULL_FALLBACK_PROTOCOL = "lite-v1"
"""Protocols without a full-data run of their own show the one of this protocol."""

_KIND_ORDER = ("real", "real-subset", "standin")

_TRACK_ORDER = ("text", "text+soft", "learner-bound", f"text{MIXED}", f"text+soft{MIXED}")

LineKind = Literal["method", "reference", "full"]


@dataclass(frozen=True)
class Line:
    """One method in one table, seen by all learners."""

    rows: dict[str, Row]
    """Learner (or `transfer`) -> row."""
    kind: LineKind
    mark: str
    """Remark behind the name: the protocol it was borrowed from, that the set is external, or that it brings its training."""

    @property
    def any_row(self) -> Row:
        """A row to read what all learners share."""
        return next(iter(self.rows.values()))

    @property
    def name(self) -> str:
        """The method's name with its remark."""
        label = self.any_row["label"]
        return f"{label} ({self.mark})" if self.mark else label

    @property
    def title(self) -> str:
        """The name with the options."""
        options = self.any_row["options"]
        return f"{self.name} ({options})" if options else self.name


@dataclass(frozen=True)
class Field:
    """One column of one table, bound to a learner."""

    column: Column
    heading: str
    learner: str
    bound: bool = False
    """Whether methods of this table cannot be trained on by this learner."""

    def text(self, line: Line) -> str:
        """Writes the cell; a missing row is visible as missing."""
        row = self._row(line)
        text = MISSING if row is None else self.column.show(row)
        return NOT_APPLICABLE if text == MISSING and self.bound and line.any_row["budget"] != ALL_BUDGET else text

    def order(self, line: Line) -> float | None:
        """Returns the number that sorts the cell."""
        row = self._row(line)
        return None if row is None else self.column.number(row)

    def _row(self, line: Line) -> Row | None:
        return line.rows.get(self.learner, line.any_row if self.column.viewpoint == "set" else None)


@dataclass(frozen=True)
class Table:
    """One task, protocol, budget and track."""

    task: str
    data_kind: str
    protocol: str
    custom_id: str
    budget: str
    track: str
    learners: tuple[str, ...]
    """Source learner first."""
    source: str
    lines: tuple[Line, ...]
    data_note: str
    notes: tuple[str, ...]
    metric: str
    """The task's headline."""

    @property
    def title(self) -> str:
        """Heading of the table."""
        custom = f" (custom {self.custom_id})" if self.custom_id else ""
        return f"{self.task} · {self.budget} · {self.track} · {self.protocol}{custom}"

    @property
    def score_name(self) -> str:
        """Name of the headline."""
        return "macro-F1" if self.metric == "macro_f1_frac" else "accuracy"

    @property
    def promises(self) -> list[tuple[str, Texts, Texts]]:
        """Returns (method with its options, sentences of its promise, what it releases) of every private line."""
        rows = [(line.title, line.any_row) for line in self.lines]
        return [(title, row["promise"], row["released"]) for title, row in rows if row["promise"]]

    @property
    def measured(self) -> list[Line]:
        """Returns the lines whose texts were measured, without those that ignore the budget."""
        fields = self.fields("texts")
        own = [line for line in self.lines if line.any_row["budget"] != ALL_BUDGET]
        return [line for line in own if any(field.text(line) != MISSING for field in fields)]

    def has(self, column: Column) -> bool:
        """Tells whether a column belongs to tables of this track and headline."""
        of_track = column.tracks is None or self.track.removesuffix(MIXED) in column.tracks
        return of_track and column.metric in {None, self.metric}

    def fields(self, output: Output) -> list[Field]:
        """Returns the table's columns for one output, with optional columns that nobody fills left out."""
        fields: list[Field] = []
        for column in COLUMNS:
            if output in column.outputs and self.has(column):
                fields += self._bound(column)
        return [
            field
            for field in fields
            if not field.column.optional or any(field.text(line) != MISSING for line in self.lines)
        ]

    def _bound(self, column: Column) -> Iterator[Field]:
        bound = self.track == "learner-bound"
        if column.viewpoint in {"source", "set"}:
            yield Field(column, column.heading, self.source)
        elif column.viewpoint == "transfer":
            yield Field(column, column.heading, TRANSFER, bound)
        else:
            for learner in self.learners:
                name = f"{learner} (source)" if learner == self.source else learner
                yield Field(column, column.heading.format(learner=name), learner, bound and learner != self.source)


def build_tables(rows: Iterable[Row]) -> list[Table]:
    """Sorts rows into tables.

    Args:
        rows: Rows of the board.

    Returns:
        Tables with real data first, then by task, protocol, budget and track. Methods that ignore the budget stand in
        every table of their task and protocol.
    """
    scopes: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = (row["data_kind"], row["task"], row["task_options"], row["protocol"], row["custom_id"])
        scopes.setdefault(key, []).append(row)
    tables: list[Table] = []
    for key in sorted(scopes, key=lambda k: (_place(_KIND_ORDER, k[0]), k)):
        borrowed = scopes.get((*key[:3], FULL_FALLBACK_PROTOCOL, ""), [])
        tables += _scope_tables(scopes[key], borrowed)
    return tables


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _scope_tables(rows: list[Row], borrowed: list[Row]) -> Iterator[Table]:
    shared = [row for row in rows if row["budget"] == ALL_BUDGET]
    places = {(row["budget"], row["track"]) for row in rows if row["budget"] != ALL_BUDGET}
    if not places:
        places = {(row["budget"], row["track"]) for row in shared}
    if not any(row["full_data"] and not row["superseded"] for row in rows):
        shared = shared + _borrowed_full(rows, borrowed)
    for budget, track in sorted(places, key=lambda p: (budget_order(p[0]), _place(_TRACK_ORDER, p[1]))):
        own = [row for row in rows if (row["budget"], row["track"]) == (budget, track) and row["budget"] != ALL_BUDGET]
        yield _table(own, shared, budget, track)


def _borrowed_full(rows: list[Row], borrowed: list[Row]) -> list[Row]:
    """Finds full-data rows of the fallback protocol that were made from the same current data."""
    fingerprints = {row["data_fingerprint"] for row in rows if not row["superseded"]}
    usable = (row for row in borrowed if row["full_data"] and not row["superseded"])
    return [row for row in usable if row["data_fingerprint"] in fingerprints]


def _table(own: list[Row], shared: list[Row], budget: str, track: str) -> Table:
    first = (own or shared)[0]
    source, learners = _learners([*own, *shared], first["protocol_learners"])
    groups: dict[tuple[object, ...], dict[str, Row]] = {}
    for row in (*own, *shared):
        key = (
            row["protocol"],
            row["method"],
            row["options"],
            row["method_version"],
            row["task_version"],
            row["data_fingerprint"],
            row["test_fingerprint"],
        )
        groups.setdefault(key, {})[row["learner"]] = row
    lines = [_line(by_learner, first["protocol"]) for by_learner in groups.values()]
    lines.sort(key=lambda line: _line_order(line, source))
    task = first["task"] + (f" ({first['task_options']})" if first["task_options"] else "")
    return Table(
        task=task,
        data_kind=first["data_kind"],
        protocol=first["protocol"],
        custom_id=first["custom_id"],
        budget=budget,
        track=track,
        learners=learners,
        source=source,
        lines=tuple(lines),
        data_note=KIND_NOTES.get(first["data_kind"], "").format(task=task),
        notes=tuple(table_notes([*own, *shared], first["custom"])),
        metric=first["metric"],
    )


def _learners(rows: list[Row], planned: Texts) -> tuple[str, tuple[str, ...]]:
    """Returns the source learner and all learners, the protocol's in its order and others after them."""
    met = {row["learner"] for row in rows if row["protocol_learners"] == planned} - {TRANSFER}
    names = [*planned, *sorted(met - set(planned))]
    sources = {row["learner"] for row in rows if row["is_source"]}
    source = next((name for name in names if name in sources), names[0])
    return source, (source, *(name for name in names if name != source))


def _line(rows: dict[str, Row], protocol: str) -> Line:
    row = next(iter(rows.values()))
    kind: LineKind = "method"
    if row["full_data"] and not row["superseded"]:
        kind = "full"
    elif row["reference"] or row["budget"] == ALL_BUDGET:
        kind = "reference"
    marks = [row["protocol"]] if row["protocol"] != protocol else []
    marks += ["external"] if row["external"] else []
    marks += [] if row["mode"] == "recipe" else ["learned schedule"]
    return Line(rows, kind, ", ".join(marks))


def _line_order(line: Line, source: str) -> tuple[object, ...]:
    """Sorts by the source learner's score; unranked methods follow, full comes last."""
    row = line.rows.get(source)
    stands = line.kind == "reference" and row is not None and row["budget"] == ALL_BUDGET and not row["superseded"]
    score = row["score_frac"] if row is not None else None
    first = line.any_row
    return (
        line.kind == "full",
        not (stands or (row is not None and row["ranked"])),
        -1.0 if score is None else -score - 2.0,
        first["label"],
        first["options"],
        -first["method_version"],
        first["data_fingerprint"],
        first["test_fingerprint"],
    )
