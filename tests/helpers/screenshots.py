"""Takes the pictures of docs/images: the top of every kind of report, and the story of a document on its card.

`python -m tests.helpers.screenshots runs/demo` renews them; it needs chromium.
"""

import shutil
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from autodata.report.chain import find_story, sort_chain
from autodata.report.index import report, write_card
from autodata.run.folder import find_runs

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NAMES = {"generate": "generation", "dataset": "dataset", "grpo": "training", "eval": "evaluation", "meta": "search"}
VIEW = {"width": 1200, "height": 1000}
_COLOURS = 128  # of a picture: letters stay smooth, and a repository stays small


def take(browser: Browser, runs: Path, to: Path) -> Iterator[Path]:
    """Write the reports of the runs, and yield a picture of each kind of page."""
    index = report(runs)
    links = sort_chain(list(find_runs(runs)), runs)
    story, makers = find_story(links)
    pages = {"index": index.as_uri()}
    for link in links:  # of several runs of a kind, the last shows most; of generations, the one with the story
        if link.kind in NAMES and (link.kind != "generate" or link == makers.get("link")):
            pages[NAMES[link.kind]] = (link.folder / "report.html").as_uri()
    if story:
        address = urlencode({"doc": story.document, "round": story.accepted.number})
        pages["storyboard"] = f"{pages['generation']}#{address}"
        yield _shoot(browser, write_card(makers["link"].folder, story.document).as_uri(), to / "story.png", 2)
    for name, url in pages.items():
        yield _shoot(browser, url, to / f"{name}.png", 1)


def _shoot(browser: Browser, url: str, path: Path, scale: int) -> Path:
    """Take a picture of what a reader sees first; of a card, all of it."""
    view = VIEW if scale == 1 else {"width": 900, "height": 400}
    page = browser.new_page(viewport=view, device_scale_factor=scale, color_scheme="light")
    page.goto(url)
    page.wait_for_load_state("networkidle")
    card = page.locator("main.stage")
    taken = card.screenshot() if card.count() else page.screenshot()
    page.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(BytesIO(taken)).convert("RGB").quantize(_COLOURS).save(path, optimize=True)
    return path


if __name__ == "__main__":
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in take(chromium, Path(sys.argv[1]), IMAGES):
            print(picture)
        chromium.close()
