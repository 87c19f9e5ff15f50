"""Tests reports of every other kind and the index in a real browser: harmless, without requests, accessible."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from autodata.report.index import report
from tests.helpers.report_world import write_dataset, write_evaluation, write_search, write_training
from tests.test_report_browser import HARM, browser, check_access  # noqa: F401

pytestmark = pytest.mark.browser
KINDS = ("dataset", "grpo", "eval", "meta")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one run of each kind, and the index."""
    folder = tmp_path_factory.mktemp("kinds")
    write_dataset(folder / "dataset")
    write_training(folder / "grpo")
    write_evaluation(folder / "eval", label=HARM)
    write_search(folder / "meta", hypothesis=HARM)
    report(folder)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*(f"{kind}/report.html" for kind in KINDS), "index.html"])
def test_a_page_opens_and_all_can_read_it(browser: Browser, runs: Path, name: str, scheme: str):  # noqa: F811
    page = browser.new_page(color_scheme=scheme)
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto((runs / name).as_uri())
    if name.startswith("dataset"):
        expect(page.locator("#list[data-ready]")).to_be_attached()
        page.locator("#list summary").first.click()
        expect(page.get_by_role("region", name="Rubric of").first).to_be_visible()
    page.evaluate("document.querySelectorAll('main details:not(.example)').forEach((fold) => { fold.open = true; })")
    check_access(page)
    assert requests == [(runs / name).as_uri()]
    assert messages == []
    assert page.evaluate("window.harmed") is None
    page.close()


def test_examples_are_found_filtered_and_linked_to(browser: Browser, runs: Path):  # noqa: F811
    page = browser.new_page()
    page.goto(f"{(runs / 'dataset' / 'report.html').as_uri()}")
    examples = page.locator("#list details")
    expect(examples).to_have_count(16)
    page.get_by_label("Arm").select_option("cot")
    page.get_by_label("Split").select_option("test")
    expect(examples).to_have_count(2)
    examples.first.locator("summary").click()
    address = examples.first.get_by_role("link").get_attribute("href")
    page.get_by_label("Arm").select_option("")
    page.goto(f"{(runs / 'dataset' / 'report.html').as_uri()}{address}")
    expect(page.get_by_role("status")).to_have_text("1 of 16 examples")
    expect(page.get_by_text("It runs out of room.")).to_be_visible()
    page.close()


def test_a_node_of_the_lineage_leads_to_what_it_changed(browser: Browser, runs: Path):  # noqa: F811
    page = browser.new_page()
    page.goto((runs / "meta" / "report.html").as_uri())
    page.get_by_role("link", name="member 3").click()
    member = page.locator("#member-3")
    expect(member).to_have_attribute("open", "")
    expect(member.locator("pre ins").last).to_have_text("+- It has to stand on its own.")
    page.close()
