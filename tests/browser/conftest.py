"""A real Chromium, and a page of the board in it that remembers what went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tdbench.bench.commands.board import build_board

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = "#table tbody th[scope=row] button.name"
AGNEWS = "#task=agnews&budget=dpc10&track=text&protocol=lite-v1&data=real-subset"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM.exists():
                item.add_marker(pytest.mark.skip(reason="no /usr/bin/chromium: apt-get install chromium"))


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Callable[..., Any]:
    """Opens a file; after the test, the page must have loaded nothing else and have had no error."""
    opened = []

    def open_file(path: Path, address: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(10_000)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: None if asked.url.startswith(path.as_uri()) else problems.append(asked.url))
        opened.append((context, problems))
        page.goto(path.as_uri() + address)
        return page

    yield open_file
    for context, problems in opened:
        context.close()
        assert problems == []


def texts(page: Any, selector: str) -> list[str]:
    """Returns the texts of the visible elements."""
    return [text.strip() for text in page.locator(f"{selector}:visible").all_inner_texts()]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("board")
    build_board(made / "no-runs", with_runs=False, out=made)
    return made


@pytest.fixture(scope="session")
def page_file(folder) -> Path:
    return folder / "site" / "index.html"


@pytest.fixture(scope="session")
def rows(folder) -> list[dict[str, Any]]:
    return json.loads((folder / "leaderboard.json").read_text())["rows"]


def column(page: Any, key: str) -> list[str]:
    """Returns the cells of a column, without full data."""
    keys = page.locator("#table thead th").evaluate_all("heads => heads.map(head => head.dataset.key)")
    return texts(page, f"#table tbody:first-of-type tr > :nth-child({keys.index(key) + 1})")
