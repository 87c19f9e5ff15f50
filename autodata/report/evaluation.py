"""Writes the report of an evaluation: scores with intervals by set, answers cut off, costs, and where answers are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autodata import config
from autodata.recipes.domain import expects_cut_off
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.report import page
from autodata.report.charts import Columns, Forest, ForestRow, Frame, draw_histogram, series_style
from autodata.run.records import iterate_records, read_json
from autodata.stats.intervals import Estimate, read_estimate
from autodata.stats.writing import DASH, write_count, write_estimate
from autodata.types import Outcome

COMMAND = COMMANDS[EvalRecipe]
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Answer:
    """The fields of a line of answers.jsonl that a chart needs."""

    task: str
    outcome: Outcome
    score: float | None = None


_ANSWER = TypeAdapter(Answer)


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Return the page of an evaluation, finished or not. Raises RunError, RecipeError."""
    recipe = config.load(EvalRecipe, [str(folder / "recipe.yaml")])
    results = read_json(folder / "results.json") or {}
    return page.render(
        "evaluation.j2",
        f"{folder.resolve().name}: {recipe.label} evaluated",
        recipe=recipe,
        manifest=manifest,
        results=results,
        command=f"{COMMAND} {folder}/recipe.yaml",
        forests=[draw_scores(results, key, recipe.samples) for key in ("mean", "best")] if results else [],
        sizes={name: write_size(numbers) for name, numbers in results.items()},
        scores=list(tabulate(results)),
        endings=list(tabulate_endings(results)),
        is_cut_off_meant=expects_cut_off(recipe.domain),
        splits=read_splits(read_json(folder / "prbench.json") or {}),
        answers=draw_answers(folder, expects_cut_off(recipe.domain)),
        logs=len(list((folder / "logs").glob("*.eval"))),
        folder=folder,
    )


def draw_scores(results: Results, key: str, samples: int) -> Forest:
    """Draw one row per set, each followed by one row per part of it."""
    rows = []
    for at, (name, numbers, part) in enumerate(walk(results)):
        note = write_size(numbers) + part
        rows.append(ForestRow(name, read_estimate(numbers[key]), series_style(at), note))
    return Forest(f"{key.capitalize()} of {write_count(samples, 'answer')}", rows)


def walk(results: Results) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield every set and each of its parts: name, numbers, and for a part the words that name its set."""
    for name, numbers in results.items():
        yield name, numbers, ""
        for part, part_numbers in numbers.get("subsets", {}).items():
            yield part, part_numbers, f", part of {name}"


def write_size(numbers: Mapping[str, Any]) -> str:
    """Write on how many answers the scores of a set rest."""
    return f"{write_count(numbers['examples'], 'example')}, {write_count(numbers['k'], 'answer')} each"


def tabulate(results: Results) -> Iterator[list[object]]:
    """Yield the scores of every set and part."""
    for name, numbers, part in walk(results):
        scores = [write_estimate(numbers[key]) for key in ("mean", "best", "pass")]
        counts = [numbers[key] for key in ("examples", "documents", "k")]
        yield [f"· {name}" if part else name, *scores, *counts]  # a small screen shows the first columns


def tabulate_endings(results: Results) -> Iterator[list[object]]:
    """Yield how the answers of every set and part ended, and how long they were."""
    for name, numbers, part in walk(results):
        bounds = numbers["mean_bounds"]
        span = DASH if not bounds or not numbers["unscored"] else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
        costs = [numbers[key] for key in ("truncation_rate", "tokens_per_answer", "score_per_1000_tokens", "unscored")]
        yield [f"· {name}" if part else name, *costs, span]


def read_splits(benchmark: Results) -> dict[str, dict[str, Any]]:
    """Return, for every split of PRBench, the headline of each grader and the shares of criteria that are met."""
    splits = {}
    for name, numbers in benchmark.items():
        rows = []
        for at, (grader, grades) in enumerate(numbers["graders"].items()):
            scored = f"{grades['scored']:,} of {write_count(grades['tasks'], 'answer')} scored"
            note = f"{scored}, {write_count(grades['unresolved'], 'grade')} missing"
            rows.append(ForestRow(grader, read_estimate(grades["clipped"]), series_style(at), note))
        splits[name] = {
            "tasks": numbers["tasks"],
            "left_out": numbers["left_out"],
            "headline": Forest("Points divided by positive points, clipped at 0", rows),
            "shares": list(_draw_shares(numbers["graders"])),
        }
    return splits


def _draw_shares(graders: Mapping[str, Mapping[str, Any]]) -> Iterator[Forest]:
    """Draw the shares of criteria that are met, without intervals: criteria of one answer are not independent."""
    for key, kind in (("met_by_category", "category"), ("met_by_weight_class", "weight class")):
        rows = [
            ForestRow(name, Estimate(share, None, None), series_style(at), f"{grader}, {write_count(count, 'grade')}")
            for at, (grader, grades) in enumerate(graders.items())
            for name, (share, count) in grades[key].items()
        ]
        if rows:
            yield Forest(f"Criteria met, by {kind}", sorted(rows, key=lambda row: row.name))


def draw_answers(folder: Path, is_cut_off_meant: bool) -> list[Columns]:
    """Draw how many answers of each set got which score; those that were cut off apart, unless that is meant.

    Raises RunError.
    """
    by_set: dict[str, list[Answer]] = defaultdict(list)
    for answer in iterate_records(folder / "answers.jsonl", _ANSWER):
        by_set[answer.task].append(answer)
    return [_draw_set(name, answers, is_cut_off_meant) for name, answers in by_set.items()]


def _draw_set(name: str, answers: list[Answer], is_cut_off_meant: bool) -> Columns:
    scores: dict[bool, list[float]] = {False: [], True: []}  # by whether the answer was cut off
    for answer in answers:
        if answer.score is not None:
            scores[answer.outcome is Outcome.CUT_OFF].append(answer.score)
    unscored = len(answers) - sum(map(len, scores.values()))
    cut_off = "" if is_cut_off_meant else f"{len(scores[True]):,} cut off, "
    desc = f"{write_count(len(answers), 'answer')}: {cut_off}{unscored:,} without score."
    frame = Frame(f"Answers by score: {name}", desc, "score, lower end", "answers")
    sides = [("finished", "accent", scores[False]), ("cut off", "unmeasured", scores[True])]
    together = [("answers", "accent", scores[False] + scores[True])]
    return draw_histogram(frame, together if is_cut_off_meant else sides)
