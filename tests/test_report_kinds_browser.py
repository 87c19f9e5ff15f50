"""Tests reports of every kind, a card and the index in a real browser: harmless, accessible, fit for any width."""

from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from autodata.report.index import report, write_card
from autodata.types import Criterion
from tests.helpers import screenshots
from tests.helpers.fake_runs import RUBRIC, a_round, candidate, demo_recipe, trajectory, write_run
from tests.helpers.report_world import TIMES, write_dataset, write_evaluation, write_search, write_training
from tests.test_report_browser import HARM, browser, check_access  # noqa: F401
from tests.test_report_generation import KIND, two_rounds

pytestmark = pytest.mark.browser
KINDS = ("dataset", "grpo", "eval", "meta", "agentic")
PAGES = [*(f"{kind}/report.html" for kind in KINDS), "agentic/card.html", "index.html"]
WIDE = ["wide/report.html", f"wide/report.html#doc={'long' * 100}", "wide/card.html"]
STORY = "agentic/report.html#doc=d1"
LONG = "long" * 100  # one word


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one run of each kind, and the index."""
    folder = tmp_path_factory.mktemp("kinds")
    write_dataset(folder / "dataset")
    write_training(folder / "grpo")
    write_evaluation(folder / "eval", label=HARM + LONG)
    write_search(folder / "meta", hypothesis=HARM)
    write_run(folder / "agentic", demo_recipe(), two_rounds(), **KIND | TIMES)
    proposal = candidate(LONG, rubric=(*RUBRIC[:2], Criterion(LONG, -1)))
    wide = trajectory(LONG, a_round(1, proposal, demo_recipe()), document_source=LONG)
    write_run(folder / "wide", demo_recipe(), wide, **KIND | TIMES | {"models": {"weak_solver": LONG}})
    (folder / "table2.md").write_text(f"### {HARM}\n\n| model | mean |\n|---|---|\n| {HARM} | 0.5 |\n")
    report(folder)
    write_card(folder / "agentic", "d1")
    write_card(folder / "wide", LONG)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
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


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("name", [*PAGES, *WIDE, STORY])
def test_nothing_sticks_out_of_the_screen_and_every_link_leads_somewhere(
    browser: Browser,  # noqa: F811
    runs: Path,
    name: str,
    width: int,
):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{runs.as_uri()}/{name}")
    if "#doc" in name:
        expect(page.locator("#story-title")).to_be_focused()
    assert measure_width(page) <= width
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert measure_width(page) <= width
    addresses = "links => links.map((link) => new URL(link.getAttribute('href'), document.baseURI).href)"
    for link in page.locator("a[href]").evaluate_all(addresses):
        check_link(page, link)
    for link in page.locator(".bar nav a").all():
        box = link.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width  # and not beside the screen
    page.close()


def measure_width(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth")


def check_link(page: Page, link: str) -> None:
    """Check that the file of a link exists, and in the same file its target; storyboards and examples have no id."""
    address, target = urldefrag(link)
    assert Path(unquote(address.removeprefix("file://"))).exists(), link
    if address == urldefrag(page.url).url and target and not target.startswith(("doc=", "example=")):
        assert page.evaluate("id => document.getElementById(id) !== null", target), link


def test_the_tables_of_an_evaluation_fit_a_usual_screen(browser: Browser, runs: Path):  # noqa: F811
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((runs / "eval" / "report.html").as_uri())
    hidden = "regions => regions.filter((r) => r.scrollWidth > r.clientWidth).map((r) => r.ariaLabel)"
    assert page.locator("#scores .scroll").evaluate_all(hidden) == []
    page.close()


@pytest.mark.parametrize("name", [*PAGES, *WIDE, STORY])
def test_on_a_phone_only_thresholds_and_the_numbers_of_charts_are_scrolled(browser: Browser, runs: Path, name: str):  # noqa: F811
    page = browser.new_page(viewport={"width": 420, "height": 900})
    page.goto(f"{runs.as_uri()}/{name}")
    if "#doc" in name:
        expect(page.locator("#story-title")).to_be_focused()
    hidden = "regions => regions.filter((r) => r.scrollWidth > r.clientWidth).map((r) => r.ariaLabel || r.innerText)"
    assert page.locator(".scroll:not(.data .scroll, :has(.plane))").evaluate_all(hidden) == []
    page.close()


def test_the_story_on_the_index_leads_to_its_storyboard(browser: Browser, runs: Path):  # noqa: F811
    page = browser.new_page()
    page.goto((runs / "index.html").as_uri())
    page.get_by_role("link", name="Every attempt of this document").click()
    expect(page.locator("#story-title")).to_have_text("d1")
    page.close()


def test_pictures_of_every_kind_of_page_are_small_enough_for_the_repository(
    browser: Browser,  # noqa: F811
    runs: Path,
    tmp_path: Path,
):
    pictures = {path.stem: path for path in screenshots.take(browser, runs, tmp_path)}
    assert {*pictures} == {"index", "story", "storyboard", *screenshots.NAMES.values()}
    for name, path in pictures.items():
        assert path.stat().st_size <= (200_000 if name == "story" else 150_000)
        assert Image.open(path).width == (1800 if name == "story" else 1200)


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
