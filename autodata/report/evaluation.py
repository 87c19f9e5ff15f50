"""The report of an evaluation: scores with intervals by set, answers cut off, costs, and where every answer is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autodata import config
from autodata.recipes.evaluation import EvalRecipe
from autodata.report import page
from autodata.report.charts import Columns, Forest, ForestRow, Frame, Series, series_style
from autodata.report.dataset import bin_labels, count_bins
from autodata.run.records import iterate_records, read_json
from autodata.stats.intervals import Estimate, read_estimate
from autodata.stats.writing import DASH, write_estimate
from autodata.types import Outcome

RESULTS, PRBENCH, ANSWERS = "results.json", "prbench.json", "answers.jsonl"
COMMAND = "python -m eval.run"
_KINDS = {"met_by_category": "category", "met_by_weight_class": "weight class"}
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What a chart needs of one line of answers.jsonl."""

    task: str
    outcome: Outcome
    score: float | None = None


_ANSWER = TypeAdapter(Answer)


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The page of an evaluation, finished or not. Raises RunError, RecipeError."""
    recipe = config.load(EvalRecipe, [str(folder / "recipe.yaml")])
    results, benchmark = read_json(folder / RESULTS) or {}, read_json(folder / PRBENCH) or {}
    return page.render(
        "evaluation.j2",
        f"{folder.resolve().name}: {recipe.label} evaluated",
        recipe=recipe,
        manifest=manifest,
        results=results,
        command=f"{COMMAND} {folder}/recipe.yaml",
        forests=[draw_scores(results, "mean", f"Mean of {recipe.samples} answers"),
                 draw_scores(results, "best", f"Best of {recipe.samples} answers")] if results else [],
        sets=list(tabulate(results)),
        splits=read_splits(benchmark),
        answers=draw_answers(folder),
        costs=list_costs(manifest.get("ledger", {})),
        logs=len(list((folder / "logs").glob("*.eval"))),
        folder=folder,
    )  # fmt: skip


def draw_scores(results: Results, key: str, title: str) -> Forest:
    """One row per set, then one per part of it."""
    rows = [ForestRow(name, read_estimate(of[key]), series_style(at), f"{of['examples']:,} examples{part}")
            for at, (name, of, part) in enumerate(walk(results))]  # fmt: skip
    return Forest(title, rows)


def walk(results: Results) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Every set and its parts: name, numbers, and of what it is a part."""
    for name, of in results.items():
        yield name, of, ""
        for part, numbers in of.get("subsets", {}).items():
            yield part, numbers, f", part of {name}"


def tabulate(results: Results) -> Iterator[list[object]]:
    for name, of, part in walk(results):
        bounds = of["mean_bounds"]
        span = DASH if not bounds or not of["unscored"] else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
        scores = [write_estimate(of[key]) for key in ("mean", "best", "pass")]
        yield [f"· {name}" if part else name, of["examples"], of["documents"], of["k"], *scores,
               of["truncation_rate"], of["tokens_per_answer"], of["score_per_1000_tokens"], of["unscored"],
               span]  # fmt: skip


def read_splits(benchmark: Results) -> dict[str, dict[str, Any]]:
    """Of PRBench: the headline of every split and grader, and what shares of criteria are met."""
    return {name: {"tasks": of["tasks"], "left_out": of["left_out"],
                   "headline": Forest("Points over positive points, clipped at 0",
                                      [ForestRow(grader, read_estimate(found["clipped"]), series_style(at),
                                                 _describe(found))
                                       for at, (grader, found) in enumerate(of["graders"].items())]),
                   "shares": list(_draw_shares(of["graders"]))}
            for name, of in benchmark.items()}  # fmt: skip


def _describe(found: Mapping[str, Any]) -> str:
    return f"{found['scored']:,} of {found['tasks']:,} answers scored, {found['unresolved']:,} grades missing"


def _draw_shares(graders: Mapping[str, Mapping[str, Any]]) -> Iterator[Forest]:
    """Criteria of one answer hang together, so their shares have no interval here."""
    for key, kind in _KINDS.items():
        rows = [ForestRow(name, Estimate(share, None, None), series_style(at), f"{grader}, {count:,} grades")
                for at, (grader, found) in enumerate(graders.items())
                for name, (share, count) in found[key].items()]  # fmt: skip
        if rows:
            yield Forest(f"Criteria met, by {kind}", sorted(rows, key=lambda row: row.name))


def draw_answers(folder: Path) -> list[Columns]:
    """How many answers of each set earned what, finished and cut off apart. Raises RunError."""
    by_set: dict[str, list[Answer]] = defaultdict(list)
    for answer in iterate_records(folder / ANSWERS, _ANSWER):
        by_set[answer.task].append(answer)
    return [_draw_answers(name, of) for name, of in by_set.items()]


def _draw_answers(name: str, answers: Sequence[Answer]) -> Columns:
    known = [answer for answer in answers if answer.score is not None]
    cut = [a.score for a in known if a.outcome is Outcome.CUT_OFF]
    finished = [a.score for a in known if a.outcome is not Outcome.CUT_OFF]
    frame = Frame(f"Answers by score: {name}",
                  f"{len(answers):,} answers, {len(cut):,} of them cut off, {len(answers) - len(known):,} without a "
                  "score.", "score, from", "answers")  # fmt: skip
    return Columns(frame, bin_labels(), [Series("finished", "accent", count_bins(finished)),
                                         Series("cut off", "unmeasured", count_bins(cut))])  # fmt: skip


def list_costs(ledger: Mapping[str, Mapping[str, float | None]]) -> list[list[object]]:
    columns = ("calls", "prompt_tokens", "completion_tokens", "call_seconds", "gpu_seconds")
    return [[role, *(cost.get(column) for column in columns)] for role, cost in ledger.items()]
