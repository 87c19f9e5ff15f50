"""Writes the report of a meta-optimisation: the lineage of the best prompt set, what it changed and what it gained."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autodata import config
from autodata.meta import evaluate
from autodata.meta.evaluate import Trial
from autodata.meta.genome import SHAPE_FILE
from autodata.meta.population import MEMBERS, Member, Population, read_population
from autodata.meta.search import ITERATIONS
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.report import page
from autodata.report.charts import BOTTOM, LEFT, RIGHT, TOP, Columns, Forest, ForestRow, Frame, Scale, Series
from autodata.report.curves import draw_rates, list_pass_rates
from autodata.report.overview import VERDICTS, words
from autodata.report.page import Facts
from autodata.report.storyboard import Stretch, list_stretches
from autodata.run.records import LINE, read_json, read_records
from autodata.stats.intervals import Estimate
from autodata.stats.writing import write_count, write_difference

_CONTEXT_LINES = 2  # unchanged lines shown before and after a change


def compare_texts(before: str, after: str) -> list[Stretch]:
    """Compare two texts in reading order. Long unchanged stretches are cut to their edges around "…" and a count."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    stretches: list[Stretch] = []
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for number, (kind, from_old, to_old, from_new, to_new) in enumerate(opcodes):
        if kind == "equal":
            stretches += _fold(old[from_old:to_old], number == 0, number == len(opcodes) - 1)
        else:
            stretches += _compare_words("".join(old[from_old:to_old]), "".join(new[from_new:to_new]))
    return stretches


def _fold(lines: Sequence[str], is_first: bool, is_last: bool) -> list[Stretch]:
    head, tail = 0 if is_first else _CONTEXT_LINES, 0 if is_last else _CONTEXT_LINES
    left_out = len(lines) - head - tail
    if left_out <= 1:
        return [("=", "".join(lines))]
    edges = ("".join(lines[:head]), "".join(lines[len(lines) - tail :]))
    return [("=", edges[0]), ("…", f"{left_out} unchanged lines\n"), ("=", edges[1])]


def _compare_words(before: str, after: str) -> Iterator[Stretch]:
    old, new = (re.findall(r"\s+|\S+", text) for text in (before, after))
    return list_stretches(difflib.SequenceMatcher(None, old, new, autojunk=False), old, new, "")


@dataclass(frozen=True)
class Node:
    """A member of the population, with all that the report says about it."""

    member: Member
    in_best_lineage: bool  # it is the best member or an ancestor of it
    diff: str
    tokens: int
    lead: Estimate | None  # its lead over its parent when it was accepted

    @property
    def name(self) -> str:
        return "baseline" if self.member.id == 0 else f"member {self.member.id}"


def draw_lineage(nodes: Sequence[Node]) -> dict[str, object]:
    """Draw the members that have a measured rate, the best one and its ancestors last, so that they lie on top."""
    drawn = sorted((n for n in nodes if n.member.rate is not None), key=lambda node: node.in_best_lineage)
    by_id = {node.member.id: node for node in drawn}
    edges = [(by_id[parent], node) for node in drawn if (parent := node.member.parent) in by_id]
    x = Scale(0, max([1, *(node.member.id for node in nodes)]), LEFT + 12, RIGHT - 12, is_count=True)
    return {"nodes": nodes, "drawn": drawn, "edges": edges, "x": x, "y": Scale(0, 1, BOTTOM, TOP)}


COMMAND = COMMANDS[MetaRecipe]


def render(folder: Path, manifest: Facts) -> str:
    """Return the page of a search, finished or not. Raises RunError, RecipeError."""
    recipe = config.load(MetaRecipe, [str(folder / "recipe.yaml")])
    lines = read_records(folder / ITERATIONS, LINE)
    population = read_population(folder / MEMBERS, recipe, lines)
    lineage = [member.id for member in population.trace(population.best().id)] if population.members else [0]
    results = read_json(folder / "results.json")
    return page.render(
        "meta.j2",
        f"{folder.resolve().name}: prompts of {recipe.domain.name}, optimised",
        recipe=recipe,
        manifest=manifest,
        command=f"{COMMAND} {folder}/recipe.yaml",
        folder=folder,
        done=max(len(lines) - 1, 0),
        outcomes=Counter(line["outcome"].partition(":")[0] for line in lines[1:]),
        tokens=sum(line["tokens"] for line in lines),
        best=lineage[-1],
        lineage=draw_lineage([*list_nodes(folder, population, lines, lineage)]),
        rates=draw_rates(list_pass_rates(lines)),
        log=[list_iteration(line) for line in lines[1:]],
        changes=compare_prompts(folder / MEMBERS / "000", folder / MEMBERS / f"{lineage[-1]:03d}") if lines else {},
        results=results,
        gain=_estimate(results["gain_on_test"], results.get("gain_interval")) if results else None,
        test=draw_test(results) if results else None,
        failures=draw_failures(results) if results else None,
        ablation=read_json(folder / "ablation.json"),
    )


def list_nodes(
    folder: Path, population: Population, lines: Sequence[Facts], lineage: Collection[int]
) -> Iterator[Node]:
    """Yield the members in the order in which they were made. `lineage` lists the best one and its ancestors."""
    by_iteration = {line["iteration"]: line for line in lines}
    for id, member in sorted(population.members.items()):
        diff = _read_text(folder / MEMBERS / f"{id:03d}" / "diff.patch")
        yield Node(member, id in lineage, diff, by_iteration[id]["tokens"], measure_lead(by_iteration[id]))


def measure_lead(line: Facts) -> Estimate | None:
    """Measure how much more often an iteration's mutant passed than its parent, on the same documents and seeds."""
    trials = [Trial(**trial) for trial in line["trials"]]
    sides = ([trial for trial in trials if trial.member == id] for id in (line["parent"], line["iteration"]))
    return evaluate.compare(*sides) if line["parent"] is not None else None


def list_iteration(line: Facts) -> list[object]:
    """Return a row of the log that says which mutants were accepted."""
    before, after = ("iteration", "parent", "outcome", "wins", "losses"), ("tokens", "best", "hypothesis")
    return [*(line[key] for key in before), write_difference(measure_lead(line)), *(line[key] for key in after)]


def compare_prompts(before: Path, after: Path) -> dict[str, list[Stretch]]:
    """Compare each prompt, and the rubric's shape, that differs between two members."""
    names = sorted({path.name for folder in (before, after) for path in (*folder.glob("*.j2"), folder / SHAPE_FILE)})
    texts = {name: (_read_text(before / name), _read_text(after / name)) for name in names}
    return {name: compare_texts(old, new) for name, (old, new) in texts.items() if old != new}


def draw_test(results: Facts) -> Forest:
    """Draw pass rates on the validation documents, by which members were chosen, and on the unused test documents."""
    rows = []
    for name, style in (("baseline", "muted"), ("best", "accent")):
        numbers = results[name]
        for split in ("validation", "test"):
            rate = _estimate(numbers[split], numbers.get(f"{split}_interval"))
            rows.append(ForestRow(f"{name}, {split}", rate, style, write_count(numbers[f"{split}_trials"], "trial")))
    return Forest("Pass rate", rows)


def _estimate(value: float | None, interval: Sequence[float] | None) -> Estimate | None:
    return None if value is None else Estimate(value, *(interval or ()))


def draw_failures(results: Facts) -> Columns:
    """Draw how rounds failed on the test documents, on which both prompt sets were tried equally often."""
    sides = [(name, results[name]["failures"]) for name in ("baseline", "best")]
    kinds = [kind for kind in VERDICTS if any(kind in failures for _, failures in sides)]
    totals = "; ".join(f"{name}: {sum(failures.values())}" for name, failures in sides)
    desc = f"Failed rounds on the test documents: {totals}."
    frame = Frame("Failed rounds by kind", desc, "prompt set", "failed rounds")
    series = [Series(words(kind), kind, [failures.get(kind, 0) for _, failures in sides]) for kind in kinds]
    return Columns(frame, [name for name, _ in sides], series)


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
