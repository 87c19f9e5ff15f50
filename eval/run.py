"""Evaluate a model on held-out examples with inspect_ai. The same command again resumes.

python -m eval.run recipes/demo/eval_base.yaml [key=value …]
inspect view --log-dir <run>/logs                                   # every answer
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval_async
from inspect_ai.log import EvalLog, EvalSample

from autodata import store
from autodata.config import RecipeError, load
from autodata.domains import base
from autodata.journal import Journal, JournalError
from autodata.llm import Client, EndpointError
from autodata.recipes import EvalRecipe
from autodata.servers import ServerError, running
from autodata.store import Run, RunError
from autodata.types import Outcome, Role
from eval.grader import Grader, make_graders
from eval.prbench_data import SPLITS, Split, find_files, read_split
from eval.prbench_task import prbench_task, summarize_split
from eval.statistics import Answers, best_at_k, mean_at_k, unscored_bounds
from eval.tasks import held_out_task
from training.rows import read_set

RESULTS, PRBENCH = "results.json", "prbench.json"
_ASKS = 3  # of a grader, before a grade counts as missing
PROBLEMS = (RecipeError, RunError, JournalError, ServerError, EndpointError)
_COMMAND = "python -m autodata.dataset"


def make_tasks(recipe: EvalRecipe, domain: base.Domain) -> list[Task]:
    """One task per set that has examples. Raises RecipeError on a bad name, RunError when none has."""
    tasks = []
    for name in recipe.sets if recipe.dataset else []:
        examples = read_set(recipe.dataset, name)
        if examples:
            tasks.append(held_out_task(name, domain, examples, recipe.samples))
    if recipe.dataset and not tasks:
        raise RunError(f"{recipe.dataset}: no examples in any of sets={recipe.sets}")
    return tasks


def summarize(log: EvalLog) -> dict[str, object]:
    """The numbers of one task, from its log."""
    samples = log.samples or []
    answers = _collect(samples)
    mean, best = mean_at_k(answers), best_at_k(answers)
    truncated = sum(_outcome(s) == Outcome.TRUNCATED for s in samples)
    return {
        "examples": len(answers),
        "documents": len({a.document_id for a in answers}),
        "k": max((len(a.scores) for a in answers), default=0),
        "mean": asdict(mean) if mean else None,
        "best": asdict(best) if best else None,
        "truncation_rate": truncated / len(samples) if samples else None,
        "unscored": sum(a.scores.count(None) for a in answers),
        "mean_bounds": unscored_bounds(answers),
    }


def _collect(samples: Sequence[EvalSample]) -> list[Answers]:
    scores: dict[str, list[float | None]] = defaultdict(list)
    documents: dict[str, str] = {}
    for sample in sorted(samples, key=lambda s: (str(s.id), s.epoch)):
        score = next(iter((sample.scores or {}).values()), None)
        value = score.as_float() if score else float("nan")
        scores[str(sample.id)].append(None if value != value else value)  # NaN: unscored
        documents[str(sample.id)] = str(sample.metadata["document_id"])
    return [Answers(documents[i], tuple(values)) for i, values in scores.items()]


def _outcome(sample: EvalSample) -> str:
    return str(sample.metadata.get("reply", {}).get("outcome", Outcome.INFRASTRUCTURE))


async def _evaluate(
    recipe: EvalRecipe, client: Client, graders: Sequence[Grader], splits: Sequence[Split], folder: Path
) -> list[EvalLog]:
    in_flight = recipe.models.endpoints[recipe.models.weak_solver.endpoint].max_in_flight or 64
    tasks = make_tasks(recipe, base.load(recipe.domain, client, recipe.seed)) if recipe.dataset else []
    tasks += [prbench_task(split, client, graders, recipe.samples, recipe.seed) for split in splits]
    logs = await eval_async(
        tasks,
        model=None,  # asked through our own client
        log_dir=str(folder / "logs"),
        max_samples=in_flight,
        fail_on_error=True,
        metadata={"label": recipe.label},
    )
    for asked in (client, *(grader.client for grader in graders)):
        await asked.close()
    broken = [log for log in logs if log.status != "success"]
    if broken:
        reason = broken[0].error.message if broken[0].error else broken[0].status
        raise RunError(f"{broken[0].eval.task}: {reason}; repair the cause and run the same command again")
    return logs


def evaluate(recipe: EvalRecipe, run: Run) -> dict[str, Any]:
    """Results per task; every answer is in the journal, every judged sample in the logs."""
    splits = _read_splits(recipe)
    run.start()
    journal = Journal(run.path("journal.sqlite"))
    try:
        with ExitStack() as servers:
            servers.enter_context(running(recipe.models, [Role.WEAK_SOLVER, Role.JUDGE], run.folder))
            for role in recipe.graders.values() if splits else []:
                servers.enter_context(running(replace(recipe.models, judge=role), [Role.JUDGE], run.folder))
            client = Client(recipe.models, journal)
            graders = make_graders(recipe.graders, recipe.models, journal, _ASKS)
            logs = asyncio.run(_evaluate(recipe, client, graders, splits, run.folder))
    finally:
        journal.close()
    return _save(run, recipe, logs, splits)


def _read_splits(recipe: EvalRecipe) -> list[Split]:
    """Raises RunError."""
    config = recipe.prbench
    if config is None:
        return []
    return [read_split(Path(config.path), name, config.limit) for name in config.splits]


def _save(run: Run, recipe: EvalRecipe, logs: Sequence[EvalLog], splits: Sequence[Split]) -> dict[str, Any]:
    by_task = {f"prbench_{split.name}": split for split in splits}
    held_out = {log.eval.task: summarize(log) for log in logs if log.eval.task not in by_task}
    benchmark = {task: summarize_split(log, by_task[task]) for log in logs if (task := log.eval.task) in by_task}
    for name, results in ((RESULTS, held_out), (PRBENCH, benchmark)):
        run.write(name, json.dumps(results, indent=2) + "\n")
    run.finish([RESULTS, PRBENCH], label=recipe.label, prbench_revision=recipe.prbench and recipe.prbench.revision)
    return held_out | benchmark


def _identify_data(recipe: EvalRecipe) -> dict[str, str]:
    """The hashes of what is evaluated on. Raises RecipeError, RunError."""
    if not recipe.dataset and recipe.prbench is None:
        raise RecipeError("nothing to evaluate on: set dataset, prbench.path, or both")
    read = {"dataset": store.output_hash(recipe.dataset, _COMMAND)} if recipe.dataset else {}
    if recipe.prbench:
        if wrong := set(recipe.prbench.splits) - set(SPLITS):
            raise RecipeError(f"prbench.splits: {min(wrong)} is none of {', '.join(SPLITS)}")
        for name in recipe.prbench.splits:
            files = find_files(Path(recipe.prbench.path), name)
            read |= {f"prbench {name} {i}": store.hash_path(file) for i, file in enumerate(files)}
    return read


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(EvalRecipe, sys.argv[1:])
        if recipe.models.weak_solver is None:
            raise RecipeError("models.weak_solver: name the endpoint of the model to evaluate")
        store.identify_weights(recipe.models)
        with Run(recipe.run, "eval", recipe, _identify_data(recipe)) as run:
            if run.is_finished:
                print(f"{run.folder}: up to date")
                return
            print(json.dumps(evaluate(recipe, run), indent=2))
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
