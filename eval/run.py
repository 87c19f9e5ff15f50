"""Evaluate a model on held-out examples with inspect_ai. The same command again resumes.

python -m eval.run recipes/demo/eval_base.yaml [key=value …]
inspect view --log-dir <run>/logs                                   # every answer
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

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
from eval.statistics import Answers, best_at_k, mean_at_k, unscored_bounds
from eval.tasks import held_out_task
from training.rows import read_set

RESULTS = "results.json"
PROBLEMS = (RecipeError, RunError, JournalError, ServerError, EndpointError)
_COMMAND = "python -m autodata.dataset"


def make_tasks(recipe: EvalRecipe, domain: base.Domain) -> list[Task]:
    """One task per set that has examples. Raises RecipeError on a bad name, RunError when none has."""
    tasks = []
    for name in recipe.sets:
        examples = read_set(recipe.dataset, name)
        if examples:
            tasks.append(held_out_task(name, domain, examples, recipe.samples))
    if not tasks:
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


async def _evaluate(recipe: EvalRecipe, client: Client, folder: Path) -> list[EvalLog]:
    domain = base.load(recipe.domain, client, recipe.seed)
    in_flight = recipe.models.endpoints[recipe.models.weak_solver.endpoint].max_in_flight or 64
    logs = await eval_async(
        make_tasks(recipe, domain),
        model=None,  # asked through our own client
        log_dir=str(folder / "logs"),
        max_samples=in_flight,
        fail_on_error=True,
        metadata={"label": recipe.label},
    )
    await client.close()
    broken = [log for log in logs if log.status != "success"]
    if broken:
        reason = broken[0].error.message if broken[0].error else broken[0].status
        raise RunError(f"{broken[0].eval.task}: {reason}; repair the cause and run the same command again")
    return logs


def evaluate(recipe: EvalRecipe, run: Run) -> dict[str, dict[str, object]]:
    """Results per task; every answer is in the journal, every judged sample in the logs."""
    run.start()
    journal = Journal(run.path("journal.sqlite"))
    try:
        client = Client(recipe.models, journal)
        with running(recipe.models, [Role.WEAK_SOLVER, Role.JUDGE], run.folder):
            logs = asyncio.run(_evaluate(recipe, client, run.folder))
    finally:
        journal.close()
    results = {log.eval.task: summarize(log) for log in logs}
    run.write(RESULTS, json.dumps(results, indent=2) + "\n")
    run.finish([RESULTS], label=recipe.label)
    return results


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(EvalRecipe, sys.argv[1:])
        if recipe.models.weak_solver is None:
            raise RecipeError("models.weak_solver: name the endpoint of the model to evaluate")
        store.identify_weights(recipe.models)
        source = store.output_hash(recipe.dataset, _COMMAND)
        with Run(recipe.run, "eval", recipe, {"dataset": source}) as run:
            if run.is_finished:
                print(f"{run.folder}: up to date")
                return
            print(json.dumps(evaluate(recipe, run), indent=2))
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
