"""The page of the accepted records in a real Chromium."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import AGNEWS, NAMES, column, texts


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.split(" ")[0]) for cell in cells if cell not in {"–", "n/a"}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_page_loads_and_does_not_scroll_sideways(open_page, page_file, scheme, size):
    page = open_page(page_file, viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert texts(page, NAMES)
    assert page.locator("figure svg[role=img]:visible").count() >= 3
    assert all(page.locator("svg[role=img]:visible").evaluate_all("all => all.map(one => one.ariaLabel.length > 40)"))


def test_table_holds_the_rows_of_the_board(open_page, page_file, rows):
    page = open_page(page_file, AGNEWS)
    wanted = {"task": "agnews", "budget": "dpc10", "track": "text", "protocol": "lite-v1", "learner": "minilm"}
    own = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert sorted(set(texts(page, NAMES)) - {"majority", "full"}) == sorted({row["label"] for row in own})
    names = texts(page, "#table tbody:first-of-type th")
    plain = [re.sub(r"\s*(private|reference|reproduced|consistent|warnings)\b", "", name) for name in names]
    plain = [" ".join(name.split()) for name in plain]
    shown = dict(zip(plain, column(page, "score.minilm"), strict=True))
    for row in own:
        score = shown[f"{row['label']} {row['options']}".strip()]
        assert score.split(" ")[0] == f"{100 * row['score_frac']:.1f}"


def test_columns_sort_both_ways_with_holes_last_and_say_so(open_page, page_file):
    page = open_page(page_file, AGNEWS + "&view=statistics")
    before = texts(page, NAMES)
    head = page.locator("#table th[data-key='diff_kmeans']")
    for direction, sign in (("descending", -1), ("ascending", 1)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        cells = column(page, "diff_kmeans")
        found = numbers(cells)
        assert len(found) > 5
        assert found == sorted(found, key=lambda value: sign * value)
        assert set(cells[len(found) :]) == {"–"}
        assert texts(page, "#table tbody.pinned tr th button") == ["full"]
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "diff_kmeans"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert texts(page, NAMES) == before
    page.locator("#table th[data-key='method'] button").click()
    assert (names := texts(page, "#table tbody:first-of-type th button.name")) == sorted(names)


def test_sorting_works_from_the_keyboard(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator("#table th[data-key='score.textcnn'] button").focus()
    page.keyboard.press("Enter")
    assert (found := numbers(column(page, "score.textcnn"))) == sorted(found, reverse=True)


def test_search_keeps_matching_names(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator("input[name=q]").fill("KMEANS")
    assert set(texts(page, NAMES)) == {"kmeans", "align-kmeans"}
    assert "2 of " in texts(page, "caption")[0]
    expect(page.locator("#found")).to_have_text(re.compile("^2 of "))
    page.locator("input[name=q]").fill("no such method")
    assert texts(page, NAMES) == []
    assert "none matches the filter" in texts(page, "caption")[0]
    page.select_option("select[name=task]", "spam")
    page.locator("input[name=q]").fill("epsilon=4 private")
    assert {"dp_pe", "dp_mean_match"} <= set(texts(page, NAMES))
    assert "random" not in texts(page, NAMES)


def test_pickers_offer_what_is_there_and_choose_tables_curves_and_ranks(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.select_option("select[name=task]", "spam")
    assert page.locator("#board-title").inner_text().startswith("spam")
    assert "macro-F1" in " ".join(texts(page, "#notes"))
    assert page.locator(".scaling:not(.reported):visible").count() == 0
    page.select_option("select[name=task]", "sst2")
    assert page.locator(".scaling:not(.reported):visible").count() == 1
    assert page.locator("#over-tasks").is_visible()
    page.select_option("select[name=track]", "learner-bound")
    assert "meta" in texts(page, NAMES) or "gradmm-embedding" in texts(page, NAMES)
    budgets = page.locator("select[name=budget] option").all_inner_texts()
    page.select_option("select[name=budget]", "dpc1")
    assert set(budgets) >= {"dpc1", "dpc10"}
    assert page.input_value("select[name=task]") == "sst2"


def test_reported_figures_stand_apart_under_their_task(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    (section,) = page.locator(".reported:visible").all()
    said = section.inner_text()
    assert "Reported, not measured" in said
    assert "93.2" in said
    assert "Maekawa" in said
    assert not any("Attention labels" in name for name in texts(page, NAMES))


def test_a_chosen_learner_is_who_differences_and_ranks_are_about(open_page, page_file, rows):
    page = open_page(page_file, AGNEWS)
    page.select_option("select[name=learner]", "textcnn")
    wanted = {
        "task": "agnews",
        "budget": "dpc10",
        "track": "text",
        "learner": "textcnn",
        "label": "kmeans",
        "options": "",
    }
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    place = texts(page, NAMES).index("kmeans")
    assert column(page, "diff_random")[place].startswith(f"{100 * row['diff_random']:+.1f}")
    assert column(page, "rank")[place] == f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"


def test_a_pool_is_ranked_anew(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    everyone = texts(page, NAMES)
    page.select_option("select[name=pool]", "generated")
    few = texts(page, NAMES)
    assert set(few) < set(everyone)
    assert "kmeans" not in few
    places = [int(place.split(" ")[0]) for place in column(page, "rank") if place != "–"]
    assert min(places) == 1
    assert max(places) <= len(places)


def test_columns_can_be_hidden_and_asked_for(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    assert page.locator("#table th[data-key='distil_wall']").count() == 1
    page.locator(".chooser summary").click()
    page.locator("#columns input[value=distil_wall]").uncheck()
    page.locator("#columns input[value=vendi]").check()
    assert page.locator("#table th[data-key='distil_wall']").count() == 0
    assert any(cell != "–" for cell in column(page, "vendi"))


def test_a_permalink_opens_the_same_view(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.select_option("select[name=task]", "sst2")
    page.select_option("select[name=learner]", "transfer")
    page.select_option("select[name=pool]", "no-llm")
    page.locator("input[name=q]").fill("m")
    page.locator("#table th[data-key='diff_random'] button").click()
    page.locator(".chooser summary").click()
    page.locator("#columns input[value=copied]").uncheck()
    page.locator("button[data-copy=link]").click()
    expect(page.locator("#said")).to_have_text(re.compile("copied"))
    link = page.evaluate("navigator.clipboard.readText()")
    again = open_page(page_file, "#" + link.split("#")[1])
    for name in ("task", "budget", "track", "protocol", "data", "learner", "pool"):
        assert again.input_value(f"select[name={name}]") == page.input_value(f"select[name={name}]")
    assert again.locator("#table").inner_html() == page.locator("#table").inner_html()


@pytest.mark.parametrize(
    "address", ["#task=nothing&budget=%00", "#columns=x,y&sort=-z&learner=%3Cb%3E", "#%%%", "#board"]
)
def test_addresses_that_name_nothing_open_a_table(open_page, page_file, address):
    assert texts(open_page(page_file, address), NAMES)


def copied(page: Any, kind: str) -> str:
    page.evaluate("document.getElementById('said').value = ''")
    page.locator(f"button[data-copy={kind}]").click()
    expect(page.locator("#said")).to_have_text(re.compile("rows copied"))
    return page.evaluate("navigator.clipboard.readText()")


def test_view_is_copied_as_csv_markdown_and_latex(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator("input[name=q]").fill("kmeans")
    shown = [texts(page, "#table thead th"), *([] for _ in range(2))]
    for place in range(2):
        cells = texts(page, f"#table tbody tr:nth-child({place + 1}) > *")
        shown[place + 1] = [cells[0].replace("\n", " ").strip(), *cells[1:]]
    sheet = list(csv.reader(io.StringIO(copied(page, "csv"))))
    assert sheet[0] == ["task", "budget", "track", "protocol", "data", *shown[0]]
    assert [row[:5] for row in sheet[1:]] == [["agnews", "dpc10", "text", "lite-v1", "real-subset"]] * 2
    assert [row[6:] for row in sheet[1:]] == [row[1:] for row in shown[1:]]
    table = copied(page, "markdown").splitlines()
    assert len(table) == 6
    assert table[0].startswith("agnews · dpc10 · text · lite-v1. agnews is a SUBSET")
    assert table[2].startswith("| method | minilm (source) |")
    assert "1 \\[1, " in table[4]
    tex = copied(page, "latex")
    assert tex.startswith("\\begin{table}\n  \\caption{agnews $\\cdot$ dpc10")
    assert "\\begin{tabular}{lr" in tex
    assert "$-$" in tex
    assert "$\\pm$" in tex
    assert "±" not in tex
    assert tex.count("\\\\") == 3


def test_a_card_tells_where_a_row_comes_from_and_shows_generated_texts(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    opener = page.locator("button.name", has_text="simprompt").first
    opener.focus()
    page.keyboard.press("Enter")
    card = page.locator("dialog#card")
    said = card.inner_text()
    assert "tdbench run task=agnews method=simprompt budget=dpc10 protocol=lite-v1" in said
    assert "tdbench reproduce " in said
    assert all(name in said for name in ("World", "Sports", "Business"))
    assert page.locator("dl.samples dd").count() == 4
    page.locator(".command button").first.click()
    expect(page.locator(".command button").first).to_have_text("Copied")
    page.keyboard.press("Escape")
    assert not card.is_visible()
    assert page.evaluate("document.activeElement.textContent") == "simprompt"


def test_selections_have_no_texts_on_their_cards(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator("button.name", has_text="kmeans").first.click()
    assert page.locator("dialog#card dl").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("opened", [None, ".chooser summary", "button.name", "details.summary summary"])
def test_axe_finds_nothing(open_page, page_file, scheme, opened):
    axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(page_file, AGNEWS, color_scheme=scheme)
    if opened:
        page.locator(opened).first.click()
    found = axe_playwright.Axe().run(page).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in found] == []
