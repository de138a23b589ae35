"""Views of the page: presets, the chosen learner, the back button, cards with an address, and what keyboards reach."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tdbench.leaderboard.build import build
from tdbench.leaderboard.fields import VIEWS
from tdbench.leaderboard.page import PageContext
from tests.browser.conftest import AGNEWS, NAMES, column, texts
from tests.unit.conftest import RecordFactory


def test_views_choose_columns_and_a_choice_of_ones_own_is_said_to_be_one(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    assert page.locator("#view option").all_inner_texts() == [view.name for view in VIEWS]
    page.select_option("#view", "cost")
    keys = page.locator("#table thead th").evaluate_all("heads => heads.map(head => head.dataset.key)")
    assert {"distil_wall", "hardware", "breakeven_full_cpu"} <= set(keys)
    assert "copied" not in keys
    assert "view=cost" in page.url
    page.locator(".chooser summary").click()
    page.locator("#columns input[value=hardware]").uncheck()
    assert page.input_value("#view") == "own choice"
    assert "columns=" in page.url
    page.select_option("#view", "overview")
    assert "columns=" not in page.url
    assert "view=" not in page.url


def test_rows_stand_by_the_score_of_the_chosen_learner_and_headings_name_it(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    by_source = texts(page, NAMES)
    page.select_option("select[name=learner]", "textcnn")
    assert texts(page, NAMES) != by_source
    ranks = [int(place.split(" ")[0]) for place in column(page, "rank") if place != "–"]
    assert ranks == sorted(ranks)
    heads = texts(page, "#table thead th")
    assert "rank (textcnn)" in heads
    assert "distil time" in heads  # it is about the set, whoever is trained on it
    assert "source learner, all ranked methods" in page.locator("#figures-note").inner_text()


def test_what_is_about_the_set_is_the_same_for_every_learner(open_page, page_file):
    page = open_page(page_file, "#task=sst2&budget=dpc10&track=learner-bound&protocol=lite-v1")
    names, times = texts(page, NAMES), column(page, "distil_wall")
    page.select_option("select[name=learner]", "textcnn")
    again = dict(zip(texts(page, NAMES), column(page, "distil_wall"), strict=False))
    assert {name: again[name] for name in names if name in again} == dict(zip(names, times, strict=False))
    assert set(column(page, "rank")) <= {"n/a", "–"}


def test_the_back_button_undoes_choices_and_closes_cards(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.select_option("select[name=task]", "spam")
    page.locator(NAMES.replace("tbody", "tbody:first-of-type")).first.click()
    expect(page.locator("dialog#card")).to_be_visible()
    assert "card=" in page.url
    page.go_back()
    expect(page.locator("dialog#card")).to_be_hidden()
    expect(page.locator("#board-title")).to_have_text(re.compile("^spam"))
    page.go_back()
    expect(page.locator("#board-title")).to_have_text(re.compile("^agnews"))
    assert page.input_value("select[name=task]") == "agnews"
    page.go_forward()
    expect(page.locator("#board-title")).to_have_text(re.compile("^spam"))


def test_closing_a_card_leads_back_to_the_view_and_one_step_further_back_to_the_choice_before(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.select_option("select[name=learner]", "textcnn")
    page.locator(NAMES).first.click()
    page.keyboard.press("Escape")
    expect(page.locator("dialog#card")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"learner=textcnn$"))
    assert page.evaluate("document.activeElement.className") == "name"
    page.go_back()
    expect(page.locator("select[name=learner]")).to_have_value("minilm")


def test_a_choice_of_columns_is_a_step_back_too(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator(".chooser summary").click()
    page.locator("#columns input[value=copied]").uncheck()
    assert page.locator("#table th[data-key=copied]").count() == 0
    page.go_back()
    expect(page.locator("#table th[data-key=copied]")).to_have_count(1)


def test_from_one_cards_address_to_another(open_page, page_file):
    page = open_page(page_file, AGNEWS + "&card=simprompt")
    expect(page.locator("#card-title")).to_have_text("simprompt")
    page.evaluate("location.hash = location.hash.replace('simprompt', 'kmeans')")
    expect(page.locator("#card-title")).to_have_text("kmeans")
    expect(page).to_have_url(re.compile("card=kmeans"))
    expect(page.locator("dialog#card")).to_be_visible()


def test_a_command_is_copied_where_the_browser_keeps_the_clipboard_to_itself(open_page, page_file):
    page = open_page(page_file, AGNEWS + "&card=simprompt")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.locator(".command button").first.click()
    expect(page.locator(".command button").first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("tdbench run task=agnews method=simprompt")


def test_a_card_has_an_address(open_page, page_file):
    page = open_page(page_file, AGNEWS + "&card=simprompt")
    expect(page.locator("dialog#card")).to_be_visible()
    assert page.locator("#card-title").inner_text() == "simprompt"
    assert "about" in texts(page, "dialog dt")
    assert "paper" in texts(page, "dialog dt")
    page.keyboard.press("Escape")
    expect(page.locator("dialog#card")).to_be_hidden()
    assert "card=" not in page.url
    nobody = open_page(page_file, AGNEWS + "&card=nobody")
    assert not nobody.locator("dialog#card").is_visible()
    assert "card=" not in nobody.url


@pytest.mark.parametrize("width", [1280, 390])
def test_every_fact_of_a_card_can_be_read(open_page, page_file, width):
    page = open_page(page_file, AGNEWS + "&card=dp_pe", viewport={"width": width, "height": 900})
    inside = page.locator("dialog").bounding_box()
    assert page.locator("dialog dt", has_text="privacy").count() == 1
    facts = page.locator("dialog dd").all()
    assert len(facts) > 15
    for fact in facts:
        box = fact.bounding_box()
        assert box["x"] + box["width"] <= inside["x"] + inside["width"]
        assert box["width"] > 60
        assert fact.inner_text()


def test_links_inside_the_page_leave_the_view_in_the_address(open_page, page_file):
    page = open_page(page_file, "#task=sst2&budget=dpc10&track=text&protocol=lite-v1")
    before = page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "board"
    page.locator("a[data-goto=legend]").click()
    assert page.evaluate("document.activeElement.id") == "legend"
    assert page.url == before


def test_what_has_the_focus_is_not_covered(open_page, page_file):
    page = open_page(page_file, AGNEWS, viewport={"width": 1280, "height": 800})
    page.locator("#table tbody button.name").last.focus()
    for _ in range(8):
        page.keyboard.press("Shift+Tab")
        covered = page.evaluate(
            """() => {
              const box = document.activeElement.getBoundingClientRect();
              const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
              return !document.activeElement.contains(top) && document.activeElement.textContent;
            }"""
        )
        assert covered is False


def test_the_choice_of_columns_closes_by_escape_and_by_a_click_elsewhere(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.locator("h1").click()):
        page.locator(".chooser summary").click()
        assert page.locator("#columns").is_visible()
        close()
        assert not page.locator("#columns").is_visible()


def test_every_heading_is_described_by_the_legend(open_page, page_file):
    page = open_page(page_file, AGNEWS + "&view=everything")
    ids = page.locator("#table thead button").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-describedby'))"
    )
    assert len(ids) > 40
    said = page.evaluate("ids => ids.map(id => document.getElementById(id)?.textContent.length ?? 0)", ids)
    assert min(said) > 5


def test_the_summary_leads_to_every_ranked_table(open_page, page_file):
    page = open_page(page_file, AGNEWS)
    page.locator("details.summary summary").click()
    links = page.locator("details.summary a")
    assert links.count() > 4
    assert "kmeans" in page.locator("details.summary tr", has_text="agnews · dpc10 · text").inner_text()
    page.locator("details.summary a", has_text="spam · dpc10 · text").click()
    expect(page.locator("#board-title")).to_have_text(re.compile("^spam"))
    assert page.input_value("select[name=budget]") == "dpc10"


def test_pools_say_who_they_are_and_when_none_of_them_is_ranked(open_page, page_file):
    page = open_page(page_file, "#task=spam&budget=dpc10&track=text&protocol=lite-v1&pool=private")
    assert "differential privacy" in page.locator("#pool-note").inner_text()
    assert "none of the methods private is ranked here" in texts(page, "caption")[0]


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("https://example.org/a", True),
        ("javascript:alert(1)", False),
        ("https://example.org/<b>", False),
        ("data:text/html,x", False),
        ('https://x"onmouseover="alert(1)', False),
    ],
)
def test_only_plain_addresses_of_authors_are_links(open_page, tmp_path: Path, text: str, linked: bool):
    build(
        RecordFactory().board(),
        tmp_path,
        tmp_path / "site",
        [],
        context=PageContext(method_info={"strong": [("code", text)]}),
    )
    page = open_page(tmp_path / "site" / "index.html")
    page.locator("button.name", has_text="strong").first.click()
    assert page.locator("dialog a").count() == int(linked)
    assert text in page.locator("dialog").inner_text()
