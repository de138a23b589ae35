"""The page in a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.commands.board import build_board

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    build_board(folder / "no-runs", with_runs=False, out=folder)
    return folder / "site" / "index.html"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


def open_page(browser, page_file: Path, **options):
    page = browser.new_page(**options)
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: None if request.url == page_file.as_uri() else page.problems.append(request.url))
    page.goto(page_file.as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_page_loads_without_errors_or_requests_and_does_not_scroll_sideways(browser, page_file, scheme, size):
    page = open_page(browser, page_file, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    assert page.problems == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("table").count() > 0
    page.close()


def test_column_sorts_both_ways_and_tells_assistive_technology(browser, page_file):
    page = open_page(browser, page_file, viewport={"width": 1280, "height": 900})
    table = page.locator("table").first
    header = table.locator("th:has(button)").nth(1)
    names = lambda: table.locator("tbody tr:visible").all_inner_texts()  # noqa: E731
    header.locator("button").click()
    first, order = header.get_attribute("aria-sort"), names()
    header.locator("button").click()
    assert {first, header.get_attribute("aria-sort")} == {"ascending", "descending"}
    assert sorted(names()) == sorted(order)
    assert page.problems == []
    page.close()


def test_filter_hides_other_methods(browser, page_file):
    page = open_page(browser, page_file, viewport={"width": 1280, "height": 900})
    assert "random" in " ".join(page.locator("table tbody tr:visible").all_inner_texts())
    page.locator("input").first.fill("kmeans")
    shown = [text.split("\t")[0] for text in page.locator("table tbody tr:visible").all_inner_texts() if text.strip()]
    assert shown
    assert all("kmeans" in name for name in shown)
    page.close()


def test_picker_keeps_the_tables_and_curves_of_one_task(browser, page_file):
    page = open_page(browser, page_file, viewport={"width": 1280, "height": 900})
    before = page.locator("section[data-task]:visible").count()
    page.locator("select[name=task]").select_option("sst2")
    shown = page.locator("section[data-task]:visible")
    assert 0 < shown.count() < before
    assert {section.get_attribute("data-task") for section in shown.all()} == {"sst2"}
    assert page.locator(".scaling:visible").count() == 1
    assert page.problems == []
    page.close()
