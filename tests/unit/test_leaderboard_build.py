"""Files of the board: determinism, strict JSON, inert strings."""

import csv
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from tdbench.leaderboard.build import build
from tdbench.leaderboard.fields import ROW_KEYS
from tdbench.leaderboard.json_schema import board_schema

FILES = (
    "leaderboard.json",
    "leaderboard.schema.json",
    "leaderboard.csv",
    "LEADERBOARD.md",
    "site/index.html",
    "site/leaderboard.parquet",
)
HOSTILE = '<script>alert("x")</script>|[x](javascript:1)\n=1+1'
PAIR = {"minilm": [[0.5], [0.6], [0.7]]}


def reject_constant(name):
    raise AssertionError(f"{name} is not JSON")


def write(records, folder):
    build(records, folder, folder / "site", ["runs", "leaderboard/records"])
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def csv_rows(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Page(HTMLParser):
    """Collects what a browser would run or load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.data, self._in_data = [], [], [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "data", "srcset"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self._in_data = ("id", "data") in attrs

    def handle_data(self, data):
        self.data += data if self._in_data else ""


def test_equal_records_give_equal_bytes_in_any_order(board_records, tmp_path):
    records = board_records.board()
    assert write(records, tmp_path / "a") == write(records[::-1], tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted([*FILES[:4], "site", "tables"])
    assert write(records, tmp_path / "a") == write(records, tmp_path / "b")


def test_board_names_its_files_and_rows(board_records, tmp_path):
    board = build(board_records.board(), tmp_path, tmp_path / "site", [])
    assert [path.relative_to(tmp_path).as_posix() for path in board.files if path.parent.name != "tables"] == list(
        FILES
    )
    assert len(board.rows) == len(json.loads((tmp_path / "leaderboard.json").read_text())["rows"])


def test_json_follows_its_schema_and_the_schema_refuses_other_files(board_records, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    records = [*board_records.board(), *board_records.board(task="films")]
    records += board_records.runs("p", {"minilm": [[0.5], [0.6], [0.7]]}, private=True, epsilon="inf")
    files = write(records, tmp_path)
    board, schema = json.loads(files["leaderboard.json"]), json.loads(files["leaderboard.schema.json"])
    check = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(check.iter_errors(board)) == []
    assert board["rankings"]
    assert "inf" in {row["epsilon"] for row in board["rows"]}
    assert schema["$defs"]["Row"]["required"] == list(ROW_KEYS)
    row = board["rows"][0]
    for changed in ({**row, "score_frac": "0.5"}, {**row, "more": 1}, {k: v for k, v in row.items() if k != "task"}):
        assert list(check.iter_errors({**board, "rows": [changed]}))
    assert list(check.iter_errors({**board, "schema_version": 3}))


def test_json_is_strict_and_rounded(board_records, tmp_path):
    sets = {"minilm": [[1 / 3], [0.5], [2 / 3]]}
    text = write(board_records.runs("m", sets) + board_records.board(), tmp_path)["leaderboard.json"].decode()
    board = json.loads(text, parse_constant=reject_constant)
    assert (board["schema_version"], board["built_from"]) == (6, ["leaderboard/records", "runs"])
    assert all(list(row) == list(ROW_KEYS) for row in board["rows"])
    assert not re.search(r"\d\.\d{7,}", re.sub(r'"p_holm": .*', "", text))


def test_small_p_values_keep_their_digits(board_records, tmp_path):
    sets = {"minilm": [[0.9], [0.9001], [0.9002]]}
    files = write(board_records.runs("m", sets) + board_records.board(), tmp_path)
    found = [row["p_holm"] for row in json.loads(files["leaderboard.json"])["rows"] if row["method"] == "m"]
    assert 0 < min(p for p in found if p is not None) < 0.01


def test_every_field_of_a_row_is_described():
    fields = board_schema()["$defs"]["Row"]["properties"]
    assert [name for name, said in fields.items() if not said.get("description")] == []


def test_infinite_epsilon_is_text_in_json_and_a_number_in_parquet(board_records, tmp_path):
    records = board_records.runs("m", PAIR, private=True, epsilon=2.5)
    # The record schema cannot hold infinity yet, so it is put in behind its back.
    infinite = [
        record.model_copy(update={"distil": record.distil.model_copy(update={"epsilon": "inf"})})
        if record.distil and record.cell.set_index == 0
        else record
        for record in records
    ]
    files = write(infinite, tmp_path)
    rows = json.loads(files["leaderboard.json"], parse_constant=reject_constant)["rows"]
    assert {row["epsilon"] for row in rows} == {"inf"}
    assert pd.read_parquet(tmp_path / "site" / "leaderboard.parquet")["epsilon"].tolist() == [float("inf")] * len(rows)
    assert "| inf |" in files["tables/news.md"].decode()


def test_parquet_and_csv_hold_all_rows_with_stable_types(board_records, tmp_path):
    board = build(board_records.board(), tmp_path, tmp_path / "site", [])
    frame = pd.read_parquet(tmp_path / "site" / "leaderboard.parquet")
    assert list(frame.columns) == list(ROW_KEYS)
    assert len(frame) == len(board.rows)
    assert (str(frame["t1_members"].dtype), str(frame["t2_auc"].dtype)) == ("Int64", "Float64")
    assert len(csv_rows(tmp_path)) == len(board.rows)


def test_no_records_still_make_a_board(tmp_path):
    files = write([], tmp_path)
    assert json.loads(files["leaderboard.json"])["rows"] == []
    assert b"No results yet" in files["site/index.html"]
    assert b"No results yet" in files["LEADERBOARD.md"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_formulas_are_inert(board_records, tmp_path, start):
    write(board_records.runs(f"{start}cmd", PAIR, label=f"{start}1+1"), tmp_path)
    rows = csv_rows(tmp_path)
    assert {(row["method"], row["label"]) for row in rows} == {(f"'{start}cmd", f"'{start}1+1")}


def test_negative_numbers_stay_numbers_in_csv(board_records, tmp_path):
    write(board_records.board(), tmp_path)
    rows = csv_rows(tmp_path)
    assert any(row["diff_random"].startswith("-") for row in rows)


def test_hostile_strings_are_inert(board_records, tmp_path):
    hostile = dict.fromkeys(("label", "family", "task", "device", "data_fingerprint", "test_fingerprint"), HOSTILE)
    hostile |= {"options": {HOSTILE: HOSTILE}, "task_options": {"k": HOSTILE}, "budget": HOSTILE}
    protocol = {"name": HOSTILE, "learners": ["minilm", HOSTILE]}
    sets = {"minilm": PAIR["minilm"], HOSTILE: PAIR["minilm"]}
    records = []
    for name, options in ((HOSTILE, {HOSTILE: HOSTILE}), (f"{HOSTILE}2", {}), (f"{HOSTILE}3", {})):
        facts = {**hostile, "options": options}
        records += board_records.runs(name, sets, protocol=protocol, notes={"minilm": (HOSTILE,)}, **facts)
    files = write(records, tmp_path)
    page = Page(files["site/index.html"].decode())
    assert page.tags.count("script") == 2  # what the page shows, as JSON, and what shows it
    assert page.handlers == []
    assert "<" not in page.data
    assert HOSTILE in json.dumps(json.loads(page.data), ensure_ascii=False).replace('\\"', '"').replace("\\n", "\n")
    measured = [name for name in files if name.endswith(".md") and name != "tables/reported.md"]
    markdown = "\n\n".join(files[name].decode() for name in measured)
    assert "<script" not in markdown
    assert not re.search(r"(?<!\\)\]\(javascript", markdown)
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 2
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_page_loads_nothing_and_stays_small(board_records, tmp_path):
    records = []
    for task in ("agnews", "sst2", "trec"):
        board = board_records.board(task=task)
        records += board
        for budget in ("dpc1", "dpc50"):
            cell = {"budget": budget}
            records += [
                record.model_copy(
                    update={
                        "id": record.id + budget,
                        "distil_id": record.distil_id + budget,
                        "cell": record.cell.model_copy(update=cell),
                    }
                )
                for record in board
                if record.cell.budget == "dpc10"
            ]
    text = write(records, tmp_path)["site/index.html"].decode()
    page = Page(text)
    assert {address for address in page.addresses if not address.startswith("#")} == {"data:,"}
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert len(json.loads(page.data)["tables"]) == 9
    assert len(text) < 400_000
