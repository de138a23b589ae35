"""Tables for readers: grouping, order, remarks, cell texts, page and terminal."""

import re

import pytest
from rich.console import Console

from tdbench.leaderboard.columns import difference_text, duration_text, p_text
from tdbench.leaderboard.fields import COLUMNS
from tdbench.leaderboard.markdown import render_markdown, summary_tables
from tdbench.leaderboard.page import render_page
from tdbench.leaderboard.rows import build_rows, find
from tdbench.leaderboard.tables import CPU_NOTE, build_tables
from tests.unit.board_texts import markdown_text

SETS = {"minilm": [[0.60], [0.62], [0.64]], "textcnn": [[0.50], [0.52], [0.54]]}
LITE = {"protocol": {"name": "lite-v1"}}
QUICK = {"protocol": {"name": "quick-v1", "full": None}}


def tables_of(records):
    return build_tables(build_rows(records))


def cells(table, output, name):
    line = next(line for line in table.lines if line.name == name)
    return {field.heading: field.text(line) for field in table.fields(output)}


def test_order_of_lines_and_learners(board_records):
    (table,) = tables_of(board_records.board())
    assert [line.name for line in table.lines] == ["strong", "kmeans", "random", "weak", "majority", "full"]
    assert [line.kind for line in table.lines] == ["method", "reference", "reference", "method", "reference", "full"]
    headings = [field.heading for field in table.fields("markdown")]
    assert headings[:5] == ["minilm (source)", "textcnn", "macro-F1", "transfer score", "rank"]


def test_cell_texts(board_records):
    (table,) = tables_of(board_records.board())
    strong = cells(table, "markdown", "strong")
    assert strong["minilm (source)"] == "72.0 ± 5.0"
    assert re.fullmatch(r"\+10\.0 \[5\.\d, 14\.\d\]", strong["Δ random"])
    assert strong["gap closed"] == "33 %"
    assert strong["distil time"] == "2.0 s"
    assert strong["status"] == "ranked"
    assert cells(table, "markdown", "full")["minilm (source)"] == "92.0"
    assert cells(table, "markdown", "random")["Δ random"] == "\N{EN DASH}"


def test_learner_that_nobody_ran_is_a_visible_column_of_holes(board_records):
    (table,) = tables_of(board_records.runs("random", {"minilm": SETS["minilm"]}))
    assert cells(table, "console", "random")["textcnn"] == "\N{EN DASH}"


def test_learners_that_cannot_read_a_set_are_no_holes(board_records):
    records = board_records.runs("bound", {"minilm": SETS["minilm"]}, track="learner-bound")
    records += board_records.runs("class-mean", {"minilm": SETS["textcnn"]}, track="learner-bound")
    (table,) = tables_of(records)
    bound = cells(table, "markdown", "bound")
    assert (bound["textcnn"], bound["transfer score"]) == ("n/a", "n/a")
    assert bound["Δ random"] == "\N{EN DASH}"  # nobody ran it: a hole
    assert re.fullmatch(r"\+10\.0 \[5\.\d, 14\.\d\] to class-mean", bound["Δ reference"])
    assert any(note.startswith("n/a: token vectors mean nothing to") for note in table.notes)


def test_sizes_are_means_over_sets(board_records):
    (table,) = tables_of(board_records.board())
    assert cells(table, "markdown", "strong")["size"] == "4.0 kB"


def test_unranked_methods_follow_the_ranked_ones(board_records):
    records = board_records.board() + board_records.runs("lucky", {"minilm": [[0.99]]})
    (table,) = tables_of(records)
    names = [line.name for line in table.lines]
    assert names[-2:] == ["lucky", "full"]
    assert cells(table, "markdown", "lucky")["status"] == "1 of 3 sets"


def test_superseded_results_stand_apart(board_records):
    new = board_records.board(data_fingerprint="data-b", created="2026-03-01T00:00:00+00:00")
    (table,) = tables_of(board_records.board() + new)
    assert [line.kind for line in table.lines].count("full") == 1
    old = [line for line in table.lines if line.any_row["superseded"]]
    assert len(old) == 6
    assert table.lines[-1].any_row["data_fingerprint"] == "data-b"


def test_one_table_for_each_budget_track_protocol_and_kind_of_data(board_records):
    records = board_records.board() + board_records.board(**LITE) + board_records.board(data_kind="standin")
    for budget in ("dpc50", "dpc1"):
        records += board_records.runs("random", SETS, budget=budget)
    records += board_records.runs("soft", SETS, track="text+soft")
    titles = [(table.data_kind, table.protocol, table.budget, table.track) for table in tables_of(records)]
    assert titles == [
        ("real", "lite-v1", "dpc10", "text"),
        ("real", "tiny-v1", "dpc1", "text"),
        ("real", "tiny-v1", "dpc10", "text"),
        ("real", "tiny-v1", "dpc10", "text+soft"),
        ("real", "tiny-v1", "dpc50", "text"),
        ("standin", "tiny-v1", "dpc10", "text"),
    ]


def test_only_tracks_with_their_own_reference_show_it(board_records):
    records = board_records.runs("random", SETS) + board_records.runs("soft", SETS, track="text+soft")
    text, soft = tables_of(records)
    assert "Δ reference" not in [field.heading for field in text.fields("page")]
    assert "Δ reference" in [field.heading for field in soft.fields("page")]


def test_references_without_methods_still_make_a_table(board_records):
    (table,) = tables_of(board_records.runs("full", {"minilm": [[0.9]]}, budget="all", full_data=True))
    assert (table.budget, [line.kind for line in table.lines]) == ("all", ["full"])


def test_quick_borrows_the_full_line_of_lite(board_records):
    records = board_records.runs("random", SETS, **QUICK)
    records += board_records.runs("full", {"minilm": [[0.9]]}, budget="all", full_data=True, **LITE)
    quick = next(table for table in tables_of(records) if table.protocol == "quick-v1")
    assert [line.name for line in quick.lines] == ["random", "full (lite-v1)"]
    other = board_records.runs("random", SETS, data_fingerprint="data-b", **QUICK) + records[-2:]
    quick = next(table for table in tables_of(other) if table.protocol == "quick-v1")
    assert [line.name for line in quick.lines] == ["random"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("real", ""), ("real-subset", "SUBSET of the official train set"), ("standin", "STAND-IN corpus: synthetic text")],
)
def test_data_note(board_records, kind, words):
    board = find(board_records.board(data_kind=kind))
    tables = build_tables(board.rows)
    assert words in tables[0].data_note
    assert bool(tables[0].data_note) is bool(words)
    assert words in markdown_text(tables)
    assert words in render_page(tables, board, [], {})


def test_cpu_note_only_where_every_device_is_a_cpu(board_records):
    assert CPU_NOTE in tables_of(board_records.board())[0].notes
    mixed = board_records.board() + board_records.runs("gpu", SETS, device="cuda")
    assert CPU_NOTE not in tables_of(mixed)[0].notes


def test_harness_notes_are_shown_once_for_each_learner(board_records):
    records = board_records.runs("random", SETS, notes={"minilm": ("contaminated: saw NLI",)})
    assert "minilm: contaminated: saw NLI" in tables_of(records)[0].notes


def test_empty_optional_columns_are_left_out(board_records):
    (plain,) = tables_of(board_records.runs("m", SETS))
    assert "ε" not in [field.heading for field in plain.fields("page")]
    (private,) = tables_of(board_records.runs("m", SETS, private=True, epsilon=2.5))
    assert cells(private, "page", "m")["ε"] == "2.5"


def test_formatters():
    assert difference_text(0.042, 0.01, 0.074) == "+4.2 [1.0, 7.4]"
    assert difference_text(-0.042, None, None) == "-4.2"
    assert [duration_text(s) for s in (None, 0.44, 75.0, 5400.0)] == ["\N{EN DASH}", "0.4 s", "1.2 min", "1.5 h"]
    assert [p_text(p) for p in (None, 0.0001, 0.0456)] == ["\N{EN DASH}", "<0.001", "0.046"]


def test_page_explains_every_column_and_describes_every_chart(board_records):
    board = find(board_records.board())
    page = render_page(build_tables(board.rows), board, ["runs"], {})
    legend = page[page.index('class="legend"') :]
    assert all(f"<dt>{column.heading.format(learner='learner')}</dt>" in legend for column in COLUMNS)
    assert 'role="img" aria-label="Accuracy in percent with minilm' in page
    assert "strong: 72.0 ± 5.0" in page


def test_terminal_shows_chosen_tables_and_reads_no_markup(board_records):
    rows = build_rows(
        board_records.board(label="[red]x[/red]") + board_records.board(task="other") + board_records.board(**LITE)
    )
    assert len(summary_tables(rows)) == 3
    (table,) = summary_tables(rows, tasks=["news"], protocols=["tiny-v1"])
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(table)
    text = capture.get()
    assert "[red]x[/red]" in text
    assert "news · dpc10 · text · tiny-v1" in text
    assert CPU_NOTE in text


def test_the_overview_holds_coverage_and_the_ranked_rows_of_each_tasks_main_table(board_records):
    records = [*board_records.board(), *board_records.runs("lucky", {"minilm": [[0.99]]})]
    files = render_markdown(tables_of(records))
    overview = files["LEADERBOARD.md"]
    assert "| strong | 10 |" in overview
    header = next(line for line in overview.splitlines() if line.startswith("| method | minilm (source)"))
    assert header.count("|") - 1 <= 8
    assert "lucky" not in overview
    assert "[news](tables/news.md)" in overview
    assert "lucky" in files["tables/news.md"]
