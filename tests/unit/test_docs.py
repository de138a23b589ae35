"""Pages of the documentation: links lead somewhere, files that are named exist, every page is on the site."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(
    r"`((?:bench|benchmarks|conf|docs|leaderboard|methods|tasks|tests)/[\w./-]+(?:\.(?:py|md|ya?ml|json|csv)|/))`"
)
MADE_LATER = ("leaderboard/site/", "leaderboard/submissions/")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip("# ").lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, place = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if place:
            assert place in [anchor(line) for line in target.read_text().splitlines() if line.startswith("#")], link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    missing = [name for name in NAMED.findall(page.read_text()) if not name.startswith(MADE_LATER)]
    assert [name for name in missing if not (ROOT / name).exists()] == []


def test_docstrings_and_messages_name_pages_that_exist() -> None:
    for folder in ("bench", "methods", "tasks", "leaderboard", "conf"):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.yaml")]:
            for name in re.findall(r"docs/[\w/-]+\.md", path.read_text()):
                assert (ROOT / name).exists(), f"{path}: {name}"


def test_every_page_is_on_the_site() -> None:
    listed = re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[2:])


def test_reference_lists_everything_there_is() -> None:
    from typer.main import get_command

    from tdbench import api
    from tdbench.bench.cli import app
    from tdbench.bench.registry import METHODS, TASKS

    conf = {group: [path.stem for path in (ROOT / "conf" / group).glob("*.yaml")] for group in ("budget", "protocol")}
    listed = {
        "methods": METHODS.names(),
        "tasks": TASKS.names(),
        "budgets": conf["budget"],
        "protocol": conf["protocol"],
        "api": [
            name for name, value in vars(api).items() if not name.startswith("_") and not isinstance(value, ModuleType)
        ],
        "commands": list(get_command(app).commands),  # type: ignore[attr-defined]
    }
    for page, names in listed.items():
        text = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
        assert [name for name in names if f"`{name}`" not in text] == [], page
