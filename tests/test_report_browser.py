"""Tests the report of a generation run in a real browser: it opens, filters, loads nothing, does no harm."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from autodata.report.index import report
from autodata.types import Criterion, Judgement, Outcome
from tests.helpers.fake_runs import a_round, candidate, checked, demo_recipe, simple, trajectory, write_run
from tests.test_report_generation import KIND, MALFORMED, two_rounds

pytestmark = pytest.mark.browser
HARM = '<script>window.harmed = 1</script><img src="https://example.org/x" onerror="window.harmed = 1"></script>'
RIGHT_TO_LEFT = "مَن يدفع الثمن؟ \u202e\u2067"
EVIL_ID = f"evil/{HARM}&round=1"
MANY = 60


def evil():
    """Put harmful text into every field that a document or a model can write."""
    proposal = candidate(
        HARM + RIGHT_TO_LEFT,
        context=HARM,
        reference_answer=HARM,
        labels={HARM: HARM},
        rubric=(Criterion(HARM, 3, HARM), Criterion(RIGHT_TO_LEFT, -1)),
    )
    plain = a_round(1, candidate("q"), demo_recipe(), weak=0)
    judged = Judgement((True, False), 1.0, HARM)
    attempts = [replace(a, answer=HARM + RIGHT_TO_LEFT, reasoning=HARM, judgement=judged) for a in plain.weak[:3]]
    attempts[2] = replace(attempts[2], judgement=Judgement(None, None))
    only = replace(
        plain,
        candidate=proposal,
        weak=tuple(attempts),
        strong=(),
        diagnosis=HARM,
        instruction=HARM,
        quality=replace(checked(proposal, True), reason=HARM, details={HARM: HARM}),
        review={HARM: HARM},
        verdict=replace(plain.verdict, reason=HARM),
    )
    return trajectory(EVIL_ID, only, document_source=HARM, note=HARM, refused=(HARM,), preparation={HARM: HARM})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("reports") / "run"
    recipe = demo_recipe()
    trajectories = [two_rounds(), trajectory("broken", MALFORMED), evil()]
    trajectories += [simple(f"many-{n}", f"Which word is number {n}?", recipe, weak=n % 9) for n in range(MANY)]
    write_run(folder, recipe, *trajectories, **KIND)
    return report(folder).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """Opens a page and checks that it loads only its file, logs nothing, opens no dialog and suffers no harm."""
    opened = browser.new_page()
    requests, messages = [], []
    opened.on("request", lambda request: requests.append(request.url.partition("#")[0]))
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    yield opened
    assert set(requests) == {url}
    assert messages == []
    assert opened.evaluate("window.harmed") is None
    opened.close()


def open_list(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#documents[data-ready]")).to_be_attached()


def test_a_storyboard_opens_by_click_and_tells_everything(page, url):
    open_list(page, url)
    page.get_by_role("link", name="d1", exact=True).click()
    story = page.locator("#story")
    expect(story.get_by_role("heading", name="d1")).to_be_focused()
    expect(story.get_by_role("article")).to_have_count(2)
    second = story.get_by_role("article", name="Round 2")
    for text in ("too plain", "be harder", "Which word follows the second stone?", "names the word", "accepted"):
        expect(second.get_by_text(text).first).to_be_visible()
    second.get_by_text("What changed in the question").click()
    expect(second.locator("ins")).to_have_text("second ")
    expect(second.locator("del")).to_have_text("first ")
    expect(second.locator("td.met")).to_have_count(2 * (2 + 8))  # two of three criteria, 2 weak and 8 strong attempts
    second.get_by_text("weak 1").click()
    expect(second.get_by_text("seed 10").first).to_be_visible()


def test_a_link_leads_to_a_round_of_a_document(page, url):
    page.goto(f"{url}#doc=d1&round=2")
    expect(page.get_by_role("article", name="Round 2")).to_be_focused()
    expect(page.get_by_role("article", name="Round 2")).to_be_in_viewport()
    page.goto(f"{url}#doc=nobody")
    expect(page.locator("#browse")).to_be_visible()


def test_the_list_is_searched_filtered_and_paged(page, url):
    open_list(page, url)
    rows = page.locator("#documents tbody tr")
    expect(rows).to_have_count(12)
    for _ in range(MANY // 12):
        page.get_by_role("button", name="Next page").click()
    expect(rows).to_have_count((MANY + 3) % 12)
    page.get_by_label("Search").fill("NUMBER 17?")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("many-17")
    page.get_by_label("Search").fill("")
    page.get_by_label("Failure").select_option("malformed")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("broken")
    page.get_by_label("How it ended").select_option("accepted")
    expect(page.get_by_role("status")).to_have_text(f"0 of {MANY + 3} documents")


def test_documents_are_leafed_through_by_keys(page, url):
    page.goto(f"{url}#doc=d1")
    title = page.locator("#story-title")
    expect(title).to_have_text("d1")
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("broken")
    expect(page.get_by_text("could not be read as one")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("d1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="d1", exact=True)).to_be_focused()


def test_the_scatter_shows_the_verdict_of_the_preset_that_is_chosen(page, url):
    open_list(page, url)
    first, second = (page.locator(f"[data-choice^={name}]") for name in ("just_right", "wide"))
    expect(first).to_be_visible()
    expect(second).to_be_hidden()
    page.get_by_role("button", name="wide").click()
    expect(first).to_be_hidden()
    expect(second).to_be_visible()


def test_a_document_that_means_harm_is_only_text(page, url):
    open_list(page, url)
    page.get_by_role("link", name=re.compile("^evil")).click()
    story = page.locator("#story")
    expect(story.locator("#story-title")).to_have_text(EVIL_ID)
    page.evaluate("document.querySelectorAll('#story details').forEach((fold) => { fold.open = true; })")
    assert story.inner_text().count(HARM) >= 15
    expect(story.locator("img, script")).to_have_count(0)
    expect(page.locator("#documents img, #documents script")).to_have_count(0)
    expect(story.locator("td.none")).to_have_count(2)  # the attempt without a judgement
    question = story.locator(".prose", has_text=RIGHT_TO_LEFT[:5]).first
    expect(question).to_have_attribute("dir", "auto")
    assert story.bounding_box()["width"] <= page.viewport_size["width"]


@pytest.mark.parametrize(("bound", "told"), [(0, 0), (0.5, 1)])
def test_an_answer_is_marked_as_cut_off_only_where_that_is_not_meant(browser, tmp_path, bound, told):
    recipe = demo_recipe(f"domain.presets.just_right.finished_at_least={bound}")
    made = a_round(1, candidate("q"), recipe)
    first, second, *others = made.weak
    weak = (replace(first, outcome=Outcome.CUT_OFF), replace(second, outcome=Outcome.REFUSED), *others)
    write_run(tmp_path / "run", recipe, trajectory("d", replace(made, weak=weak)), **KIND)
    opened = browser.new_page()
    opened.goto(f"{report(tmp_path / 'run').as_uri()}#doc=d")
    attempts = opened.locator(".round summary")
    expect(attempts.filter(has_text="· cut off")).to_have_count(told)
    expect(attempts.filter(has_text="· refused")).to_have_count(1)
    expect(attempts.filter(has_text="· answered")).to_have_count(0)
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_can_read_it(page, url, scheme):
    page.emulate_media(color_scheme=scheme)
    open_list(page, url)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    check_access(page)
    page.goto(f"{url}#doc=d1")
    expect(page.locator("#story-title")).to_be_focused()
    page.evaluate("document.querySelectorAll('#story details').forEach((fold) => { fold.open = true; })")
    check_access(page)


def test_the_theme_is_a_readers_choice(page, url):
    page.emulate_media(color_scheme="light")
    open_list(page, url)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark theme").click()  # a button says what it does
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    check_access(page)


def check_access(page: Page) -> None:
    """Check that no rule of axe is violated: contrast, labels, roles, order of headings, keyboard."""
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
