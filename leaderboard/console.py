"""The board in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from tdbench.leaderboard.schema import Row
from tdbench.leaderboard.tables import build_tables

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def summary_tables(
    rows: Iterable[Row], tasks: Collection[str] | None = None, protocols: Collection[str] | None = None
) -> list[RichTable]:
    """Builds one terminal table for every table of the board.

    Args:
        rows: Rows of the board.
        tasks: Tasks to show; null for all.
        protocols: Protocols to show; null for all.

    Returns:
        Tables for `rich.print`. Foreign strings are shown as they are, never read as markup.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    shown: list[RichTable] = []
    # Tables are built before they are filtered: a quick table borrows the full line of another protocol.
    for table in build_tables(row for row in rows if tasks is None or row["task"] in tasks):
        if protocols is not None and table.protocol not in protocols:
            continue
        remarks = "\n".join(filter(None, (table.data_note, *table.notes)))
        rich_table = RichTable(title=Text(table.title), caption=Text(remarks) if remarks else None)
        fields = table.fields("console")
        rich_table.add_column("method")
        for field in fields:
            rich_table.add_column(Text(field.heading), justify="right")
        for line in table.lines:
            reference = "" if line.kind == "method" else " [reference]"
            name = line.title + reference
            style = "dim" if reference else ""
            rich_table.add_row(Text(name), *(Text(field.text(line)) for field in fields), style=style)
        shown.append(rich_table)
    return shown
