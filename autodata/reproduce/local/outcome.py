"""Writes what came out of a graph in a few lines: what was accepted, what the training and the trained model did."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from autodata.config import load
from autodata.eval.sampled_answers import ANSWERS, SampledAnswer, read_all, to_answers
from autodata.eval.statistics import compare, mean_at_k
from autodata.eval.tables.numbers import difference
from autodata.recipes.evaluation import EvalRecipe, TableRecipe, TableRow
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.run.folder import read_manifest
from autodata.stats.writing import write_count, write_decimal

_WIDTH = 10  # columns of a line's head


def write_line(head: str, text: str) -> str:
    """Write one line of the outcome."""
    return f"{head:<{_WIDTH}} {text}"


def describe_outcome(steps: Sequence[Step]) -> list[str]:
    """Describe what finished steps gave, in the order of the chain. Raises RunError."""
    accepted = [text for step in steps if isinstance(step.recipe, GenerateRecipe) for text in tell_accepted(step)]
    rewards = [text for step in steps if isinstance(step.recipe, GrpoRecipe) for text in tell_reward(step)]
    tables = [load(TableRecipe, list(step.arguments)) for step in steps if isinstance(step.recipe, TableRecipe)]
    held_out = [text for table in tables if table.shape == "held-out" for text in tell_held_out(table.rows)]
    parts = {"accepted": accepted, "reward": rewards, "held out": held_out}
    return [write_line(head, text) for head, texts in parts.items() for text in _name_runs(texts)]


def _name_runs(texts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Add the run to each text if there are several."""
    for run, text in texts:
        yield f"{text} ({run})" if len(texts) > 1 else text


def tell_accepted(step: Step) -> Iterator[tuple[str, str]]:
    """Tell how many documents have an accepted question, and how many had it after the first round.

    Before the first round there is no feedback yet, so it shows what the same model does without the loop, under the
    same gate. The questions of the arm `cot` are asked too few times for this gate.
    """
    summary = (read_manifest(Path(step.target)) or {}).get("summary")
    if summary and step.recipe.arm == "agentic":
        first, documents = summary["accepted_in_round_1"]
        loop = f"{summary['accepted_documents']:,} of {write_count(documents, 'document')} with the loop"
        yield step.target, f"{loop}, {first:,} of {documents:,} with its first round alone; the gate is the same"


def tell_reward(step: Step) -> Iterator[tuple[str, str]]:
    """Tell the mean reward of a training at its beginning and at its end."""
    manifest = read_manifest(Path(step.target)) or {}
    if manifest.get("steps"):
        first, last = (write_decimal(manifest[f"reward_{when}_quarter"]) for when in ("first", "last"))
        count = write_count(manifest["steps"], "training step")
        yield step.target, f"{first} in the first quarter of {count}, {last} in the last"


def tell_held_out(rows: Sequence[TableRow]) -> Iterator[tuple[str, str]]:
    """Tell the score of each model on the first set that both answered, and its difference to the first model."""
    answers = {row.run: read_all(Path(row.run)) for row in rows if row.run and (Path(row.run) / ANSWERS).exists()}
    if not rows or rows[0].run not in answers:
        return
    before = answers.pop(rows[0].run)
    for run, after in answers.items():
        if shared := [task for task in before if task in after and not task.startswith("prbench_")]:
            yield run, _compare(before[shared[0]], after[shared[0]])


def _compare(before: Sequence[SampledAnswer], after: Sequence[SampledAnswer]) -> str:
    pair = [to_answers(answers) for answers in (before, after)]
    scores = [mean_at_k(list(answers.values())) for answers in pair]
    first, last = (write_decimal(score.value if score else None) for score in scores)
    questions = write_count(len(pair[0]), "question")
    return f"{first} before, {last} after: {difference(compare(*pair))} ({before[0].task}, {questions})"


def tell_where(steps: Sequence[Step], index: Path | None) -> str:
    """Tell where to look: the page of all runs, and the viewer of the last evaluation's answers."""
    runs = [step.target for step in steps if isinstance(step.recipe, EvalRecipe)]
    viewer = os.path.relpath(Path(sys.executable).parent / "inspect")
    places = [str(index)] if index else []
    places += [f"every answer: {viewer} view --log-dir {runs[-1]}/logs"] if runs else []
    return write_line("look at", "; ".join(places))
