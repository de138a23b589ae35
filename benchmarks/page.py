"""How fast the page of a board of 2,000 rows is, in Chromium: `python benchmarks/page.py --json`.

The board repeats the accepted records under other task names until it has the rows asked for. Reported are bytes, and medians in
milliseconds: from the request to the first table that answers, and of choosing another table, sorting and searching, each until the
browser has drawn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tdbench.bench._paths import RECORDS
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.record import Record
from tdbench.leaderboard.build import build

CHROMIUM = "/usr/bin/chromium"
FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


def copies(records: list[Record], n_rows: int, rows_of_board: int) -> list[Record]:
    """Repeats records under other tasks."""
    repeated = list(records)
    for number in range(1, -(-n_rows // rows_of_board)):
        for record in records:
            cell = record.cell.model_copy(update={"task": f"{record.cell.task}-{number}"})
            ids = {"id": f"{record.id}-{number}", "distil_id": f"{record.distil_id}-{number}"}
            repeated.append(record.model_copy(update={"cell": cell, **ids}))
    return repeated


def timed(page: Any, act: str) -> float:
    """Returns the milliseconds from an action to the next drawn frame."""
    return page.evaluate(
        f"async () => {{ const start = performance.now(); {act}; await {FRAME}; return performance.now() - start; }}"
    )


def measure(path: Path, repeats: int) -> dict[str, float]:
    """Opens the page several times and acts on it."""
    from playwright.sync_api import sync_playwright

    change = "select.dispatchEvent(new Event('input', {bubbles: true}))"
    acts = {
        "other_table_ms": f"const select = document.querySelector('select[name=task]'); select.selectedIndex = 3; {change}",
        "sort_ms": "document.querySelectorAll('#table thead button')[2].click()",
        "search_ms": f"const select = document.querySelector('input[name=q]'); select.value = 'a'; {change}",
    }
    times: dict[str, list[float]] = {"interactive_ms": [], **{name: [] for name in acts}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("#table tbody tr")
            page.evaluate(FRAME)
            times["interactive_ms"].append(1000 * (time.perf_counter() - start))
            for name, act in acts.items():
                times[name].append(timed(page, act))
            page.close()
        browser.close()
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def main() -> None:
    """Builds the board and prints one JSON object."""
    parser = argparse.ArgumentParser(description="How fast the page of a large board is, in Chromium.")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON (always)")
    options = parser.parse_args()
    records = Archive(RECORDS).records()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = len(build(records, folder, folder / "site", []).rows)
        start = time.perf_counter()
        rows = len(build(copies(records, options.rows, one), folder, folder / "site", []).rows)
        build_s = round(time.perf_counter() - start, 1)
        page = folder / "site" / "index.html"
        result = {
            "rows": rows,
            "page_mb": round(page.stat().st_size / 1e6, 2),
            "build_s": build_s,
            **measure(page, options.repeats),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
