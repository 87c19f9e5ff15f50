"""Tells what a chain of runs came to: scores before and after training, rewards, one document's story, the tables."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from autodata.report.charts import Forest, ForestRow, Lines, series_style
from autodata.report.curves import REWARD, draw_metric, draw_watched, read_curves
from autodata.report.evaluation import write_size
from autodata.report.page import Facts
from autodata.report.storyboard import Story, choose_story, describe_makers
from autodata.report.training import describe_watched
from autodata.run.folder import read_manifest
from autodata.run.records import RunError, iterate_records, read_json
from autodata.stats.intervals import Estimate, read_estimate
from autodata.stats.writing import write_count, write_decimal, write_interval, write_percent
from autodata.types import TRAJECTORY

_READ = 500  # documents of a run among which the story is chosen
_ORDER = ("meta", "generate", "dataset", "eval", "grpo")  # kinds of runs, in the order of the chain


@dataclass(frozen=True)
class Link:
    """A run of the chain."""

    folder: Path
    manifest: Facts

    @property
    def kind(self) -> str:
        return str(self.manifest.get("inputs", {}).get("kind"))

    @property
    def is_trained(self) -> bool:
        """True if the run evaluates a model that was trained, so it comes after the training."""
        return (self.manifest.get("evaluated") or {}).get("step") is not None


@dataclass(frozen=True)
class Score:
    """A set of examples, evaluated by one run."""

    link: Link
    name: str
    estimate: Estimate
    size: str  # its examples and answers

    @property
    def label(self) -> str:
        return str(
            self.link.manifest.get("label") or self.link.manifest["inputs"].get("label") or self.link.folder.name
        )


class Fact(NamedTuple):
    """A number at the head of the index."""

    name: str
    value: str
    note: str


def sort_chain(runs: Sequence[Path], folder: Path) -> list[Link]:
    """Sort runs by the folder that holds them, then in the order of the chain: data before training, results last."""
    links = [Link(run, read_manifest(run) or {}) for run in runs]

    def place(link: Link) -> tuple[object, ...]:
        step = _ORDER.index(link.kind) + 10 * link.is_trained if link.kind in _ORDER else 99
        return link.folder.relative_to(folder).parent, step, link.folder.name

    return sorted(links, key=place)


def tell(links: Sequence[Link], folder: Path) -> dict[str, object]:
    """Return what the index shows above its list of runs."""
    scores = [score for link in links if link.kind == "eval" for score in read_scores(link)]
    story, makers = find_story(links)
    return {
        "facts": [*list_facts(links, folder), *compare(scores)],
        "forests": draw_scores(scores),
        "curves": [chart for link in links if link.kind == "grpo" for chart in draw_curves(link.folder)],
        "watched": [note for link in links if link.kind == "grpo" and (note := describe_watched(link.manifest))],
        "story": story,
        "makers": makers,
        "is_made_up": any(describe_makers(link.manifest)["is_made_up"] for link in links),
        "tables": [Markup(read_table(path)) for path in list_tables(folder)],
    }


def read_scores(link: Link) -> Iterator[Score]:
    for name, numbers in (read_json(link.folder / "results.json") or {}).items():
        if estimate := read_estimate(numbers["mean"]):
            yield Score(link, name, estimate, write_size(numbers))


def _group(scores: Sequence[Score]) -> dict[tuple[object, str], list[Score]]:
    """Group the scores by set: two runs evaluated the same set if their data are the same, too."""
    groups: dict[tuple[object, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.link.manifest["inputs"].get("dataset"), score.name), []).append(score)
    return groups


def compare(scores: Sequence[Score]) -> Iterator[Fact]:
    """Yield a fact for each set with one untrained and one trained model; more models are left to the charts."""
    for (_, name), group in _group(scores).items():
        sides = sorted(group, key=lambda score: score.link.is_trained)
        if [side.link.is_trained for side in sides] == [False, True]:
            values = " → ".join(write_decimal(side.estimate.value) for side in sides)
            intervals = " → ".join(_write_interval(side.estimate) for side in sides)
            yield Fact(f"{name}, before → after training", values, intervals)


def _write_interval(estimate: Estimate) -> str:
    """Write an interval without its number of documents, which the charts of the results say."""
    return write_interval(replace(estimate, documents=None), write_decimal).strip()


def list_facts(links: Sequence[Link], folder: Path) -> Iterator[Fact]:
    """Yield what each generation accepted, and how the rewards of each training changed."""
    for link in links:
        name, manifest = link.folder.relative_to(folder).as_posix(), link.manifest
        accepted, documents = (manifest.get("summary", {}).get(key) for key in ("accepted_documents", "documents"))
        if documents:
            count = f"{accepted:,} of {documents:,}"
            yield Fact(f"{name}: documents with an accepted question", count, write_percent(accepted / documents))
        if link.kind == "grpo" and manifest.get("steps"):
            ends = (manifest["reward_first_quarter"], manifest["reward_last_quarter"])
            change = " → ".join(f"{end:.2f}" for end in ends)
            yield Fact(f"{name}: reward, first → last quarter", change, write_count(manifest["steps"], "step"))


def draw_scores(scores: Sequence[Score]) -> list[Forest]:
    """Draw for each set the mean scores of all models that were evaluated on it."""
    return [
        Forest(name, [ForestRow(s.label, s.estimate, series_style(at), s.size) for at, s in enumerate(group)])
        for (_, name), group in _group(scores).items()
    ]


def draw_curves(run: Path) -> list[Lines]:
    """Draw the rewards of a training, and the scores of the sets that it watched."""
    log = read_curves(run)
    charts = (draw_metric(REWARD, log.train), draw_watched(log, "score", "mean score"))
    return [chart for chart in charts if chart]


def find_story(links: Sequence[Link]) -> tuple[Story | None, dict[str, object]]:
    """Choose the story of the first agentic run that has one, and say by whom it was made."""
    for link in links:
        if link.kind == "generate" and link.manifest.get("arm") == "agentic" and (story := _read_story(link.folder)):
            return story, {"link": link, **describe_makers(link.manifest)}
    return None, {}


def _read_story(run: Path) -> Story | None:
    try:
        return choose_story(islice(iterate_records(run / "trajectories.jsonl", TRAJECTORY), _READ))
    except RunError:  # damaged records: the run's row in the index says so
        return None


def list_tables(folder: Path) -> list[Path]:
    """List the tables that `autodata.eval.tables` wrote beside the runs, by their number."""

    def number(path: Path) -> int:
        digits = re.search(r"\d+", path.stem)
        return int(digits[0]) if digits else 0

    return sorted(folder.glob("table*.md"), key=lambda path: (number(path), path.name))


def read_table(path: Path) -> str:
    """Return a table as HTML. Markup in its text stays text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(path.read_text(encoding="utf-8"))
    _name_cells(tokens)
    html = str(markdown.renderer.render(tokens, markdown.options, {}))
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(path.stem)}">'
    return html.replace("<table>", f'{frame}<table class="text stack">').replace("</table>", "</table></div>")


def _name_cells(tokens: Sequence[Token]) -> None:
    """Give each cell the name of its column, which stands beside it on a narrow screen."""
    heads: list[str] = []
    names: Iterator[str] = iter(())
    for token, content in pairwise(tokens):
        match token.type:
            case "thead_open":
                heads = []
            case "th_open":
                heads.append("".join(part.content for part in content.children or ()))
            case "tr_open":
                names = iter(heads)
            case "td_open":
                token.attrSet("data-name", next(names))
