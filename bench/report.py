"""Measures how long reports of large runs take: to write, to paint, to list their documents, and to open one.

    python bench/report.py                     # 1,000 and 10,000 documents
    python bench/report.py 1000 --answer 2400  # with answers of so many characters

The trajectories are synthetic, of the cs domain: 1 to 7 rounds, 13 criteria, three attempts of each solver. Word
frequencies follow Zipf's law, so that texts compress no better than real ones. The command writes each report, and
chromium opens it three times in a fresh context; the table has the median.
"""

import argparse
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from autodata import config
from autodata.loop import rubric
from autodata.loop.acceptance import decide_measured, decide_weak, scores
from autodata.recipes.generation import GenerateRecipe
from autodata.report.index import REPORT
from autodata.types import Attempt, Candidate, Criterion, End, Outcome, Quality, Round, Trajectory
from tests.helpers.fake_runs import write_run

OPENINGS = 3
MAX_ROUNDS = 7
_VOCABULARY = 20_000
_WATCH = """new MutationObserver(() => {
  if (document.querySelector("#documents[data-ready]")) window.listed ??= performance.now();
}).observe(document, {subtree: true, childList: true, attributes: true})"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_OPEN = """async (id) => {
  const begun = performance.now();
  location.hash = "#" + new URLSearchParams({doc: id});
  while (document.getElementById("story-title")?.textContent !== id) await new Promise(requestAnimationFrame);
  return performance.now() - begun;
}"""


class Writer:
    """Writes trajectories that look like those of a real run."""

    def __init__(self, recipe: GenerateRecipe, answer_chars: int):
        self._domain = recipe.domain
        self._random = random.Random(0)
        letters = "etaoinshrdlucmfwypvbgk"
        self._words = [
            "".join(self._random.choices(letters, k=self._random.randint(2, 10))) for _ in range(_VOCABULARY)
        ]
        self._weights = list(accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
        self._answer_chars = answer_chars

    def write(self, count: int) -> Iterator[Trajectory]:
        for n in range(count):
            rounds: list[Round] = []
            while not (rounds and rounds[-1].verdict.accepted) and len(rounds) < MAX_ROUNDS:
                rounds.append(self._round(len(rounds) + 1))
            end = End.ACCEPTED if rounds[-1].verdict.accepted else End.ROUNDS_USED
            yield Trajectory(
                f"paper-{n}",
                f"papers.jsonl:{n}",
                "agentic",
                "prose",
                tuple(rounds),
                end,
                tokens={"challenger": 9_000, "weak_solver": 5_000, "judge": 20_000},
            )

    def _round(self, number: int) -> Round:
        weights = [self._random.randint(1, 10) for _ in range(10)] + [-3, -4, -5]
        question, reference = self._text(400), self._text(300)
        criteria = tuple(Criterion(self._text(80), w) for w in weights)
        candidate = Candidate(question, reference, criteria, self._text(800))
        level = self._random.uniform(0, 0.4)
        weak, strong = (tuple(self._attempt(candidate, n, level + more) for n in range(3)) for more in (0.3, 0.6))
        gates = self._domain.presets
        is_tried = any(not decide_weak(scores(candidate, weak), gate) for gate in gates.values())
        strong = strong if is_tried else ()
        exact = scores(candidate, weak), scores(candidate, strong)
        presets = {name: decide_measured(*exact, (3, 3), gate) for name, gate in gates.items()}
        return Round(
            number,
            candidate,
            Quality(True, "", candidate.hash),
            weak,
            strong,
            presets["prose"],
            presets,
            instruction=self._text(200),
            diagnosis=self._text(200),
        )

    def _attempt(self, candidate: Candidate, index: int, share: float) -> Attempt:
        judged = rubric.judge(
            candidate.rubric, [self._random.random() < share for _ in candidate.rubric], self._text(100)
        )
        answer, reasoning = (self._text(self._answer_chars) for _ in range(2))
        return Attempt(index, index, Outcome.ANSWERED, answer, reasoning, 500, 300, judged)

    def _text(self, chars: int) -> str:
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=chars // 7))


def measure(path: Path, browser: Browser) -> list[float]:
    """Measure the milliseconds to the first paint, to a usable list, and to open a document."""
    page = browser.new_context().new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(_WATCH)
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("#documents[data-ready]", state="attached")
    listed = page.evaluate("window.listed")
    page.wait_for_load_state()
    times = [page.evaluate(_PAINT), listed, page.evaluate(_OPEN, page.locator("#documents a").nth(30).inner_text())]
    page.context.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "counts", type=int, nargs="*", default=[1_000, 10_000], help="numbers of documents, one report each"
    )
    parser.add_argument("--answer", type=int, default=600, help="characters of an answer and of its reasoning")
    options = parser.parse_args()
    recipe = config.load(GenerateRecipe, ["recipes/cs/generate.yaml", "recipes/models/laptop.yaml"])
    table = Table(
        "documents", "JSONL, MB", "written, s", "memory, GB", "report, MB", "paint, ms", "list, ms", "open, ms"
    )
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for count in options.counts:
            folder = Path(scratch) / str(count)
            write_run(folder, recipe, *Writer(recipe, options.answer).write(count), inputs={"kind": "generate"})
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "autodata.report", str(folder)], check=True, stdout=subprocess.DEVNULL
            )
            written, path = time.perf_counter() - begun, folder / REPORT
            opened = [measure(path, browser) for _ in range(OPENINGS)]
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            sizes = [file.stat().st_size / 1e6 for file in (folder / "trajectories.jsonl", path)]
            times = [f"{statistics.median(column):.0f}" for column in zip(*opened, strict=True)]
            table.add_row(
                f"{count:,}", f"{sizes[0]:.0f}", f"{written:.1f}", f"{memory:.1f}", f"{sizes[1]:.0f}", *times
            )
        browser.close()
    Console().print(table)


if __name__ == "__main__":
    main()
