"""A page of hostile records: no text of theirs runs, loads, or breaks out of where it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tdbench.leaderboard.build import build
from tdbench.leaderboard.page import PageContext
from tests.browser.conftest import texts
from tests.unit.conftest import RecordFactory

STRINGS = (
    "<script>window.broken=1;alert(1)</script>",
    "</script><script>window.broken=1</script><!--",
    "<img src=x onerror='window.broken=1'>",
    "<svg/onload=window.broken=1>",
    '"><iframe src=javascript:window.broken=1>',
    "javascript:window.broken=1",
    "{{constructor.constructor('window.broken=1')()}}",
    "'-window.broken=1-'",
    "\u2028window.broken=1\u2029",
    "\u202egnp.exe\u202c \u200b\ufeff \u0000".replace("\u0000", ""),
    '=HYPERLINK("http://example.org","x")',
    "a" * 5_000,
)


def records(text: str) -> list[Any]:
    hostile = dict.fromkeys(("label", "family", "task", "device", "data_fingerprint", "test_fingerprint"), text)
    hostile |= {"options": {text: text}, "task_options": {"k": text}, "budget": text, "tags": (text,)}
    protocol = {"name": text, "learners": ["minilm", text]}
    sets = {"minilm": [[0.5], [0.6], [0.7]], text: [[0.5], [0.6], [0.7]]}
    notes = {"notes": {"minilm": (text,)}, "contamination": {"minilm": text}, "distil_contamination": text}
    made = []
    for method in (text, f"{text}2"):
        made += RecordFactory().runs(method, sets, protocol=protocol, **notes, **hostile)
    return made


@pytest.mark.parametrize("text", STRINGS)
def test_nothing_of_a_hostile_record_runs(open_page, tmp_path: Path, text: str):
    made = records(text)
    samples = {record.id: [(text, text)] for record in made if record.stage == "distil"}
    build(made, tmp_path, tmp_path / "site", [text], context=PageContext(samples))
    page = open_page(tmp_path / "site" / "index.html")
    names = texts(page, "#table tbody th[scope=row] button.name")
    assert len(names) == 2
    page.locator(".chooser summary").click()
    for box in page.locator("#columns input").all():
        box.check()
    page.locator(".chooser summary").click()
    for kind in ("markdown", "latex", "csv", "link"):
        page.locator(f"button[data-copy={kind}]").click()
    expect(page.locator("#said")).to_have_text(re.compile("copied"))
    page.locator("input[name=q]").fill(text[:20])
    page.locator("#table thead button").first.click()
    page.locator("button.name").first.click()
    assert page.locator("dialog dl.samples dd").count() == 1
    page.reload()
    assert page.evaluate("window.broken") is None
    assert page.locator("img, iframe, object, embed, a[href^=javascript]").count() == 0
    assert page.locator("script").count() == 2


def test_hostile_addresses_do_not_run(open_page, tmp_path: Path):
    build(RecordFactory().board(), tmp_path, tmp_path / "site", [])
    page = open_page(
        tmp_path / "site" / "index.html", "#q=<img src=x onerror=window.broken=1>&task=<svg onload=alert(1)>"
    )
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    page.evaluate("location.hash = '#q=%3Cscript%3Ewindow.broken=1%3C/script%3E'")
    page.wait_for_timeout(100)
    assert page.evaluate("window.broken") is None


def test_csv_of_the_page_holds_no_formula(open_page, tmp_path: Path):
    formulas = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "+1 +cmd|' /C calc'!A0", "-2 =HYPERLINK(1)"]
    made = []
    for text in formulas:
        made += RecordFactory().runs(text, {"minilm": [[0.5], [0.6], [0.7]]}, label=text)
    build(made, tmp_path, tmp_path / "site", [])
    page = open_page(tmp_path / "site" / "index.html")
    page.locator("button[data-copy=csv]").click()
    expect(page.locator("#said")).to_have_text(re.compile("copied"))
    names = [line.split('","')[5] for line in page.evaluate("navigator.clipboard.readText()").splitlines()[1:]]
    assert len(names) == len(formulas)
    assert all(name.startswith("'") for name in names)
