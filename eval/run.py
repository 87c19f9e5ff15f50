"""Evaluates a model on held-out examples and benchmarks with inspect_ai. Running the same command again resumes it.

python -m autodata.eval.run recipes/demo/eval_base.yaml [models.yaml …] [key=value …]
inspect view --log-dir <run>/logs                                   # every answer
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inspect_ai import eval_async
from inspect_ai.log import EvalLog
from inspect_ai.util import display_type

from autodata import command
from autodata.config import RecipeError, load
from autodata.data.examples import read_set, require_domain
from autodata.eval import principia
from autodata.eval.limits import EvaluationLimits, tell_unmeasured
from autodata.eval.prbench.data import SPLITS, Split, find_files, read_split
from autodata.eval.prbench.grader import Grader, make_graders
from autodata.eval.prbench.task import prbench_task, summarize_split
from autodata.eval.principia import locate
from autodata.eval.sampled_answers import ANSWERS, PRBENCH, RESULTS, SAMPLED_ANSWER, SampledAnswer, collect, summarize
from autodata.eval.tasks import Problem, SampleCount, question_task
from autodata.loop import domain as base
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import expects_cut_off
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run import identity
from autodata.run.folder import Run, identify_weights, output_hash
from autodata.run.progress import Progress
from autodata.run.records import Incomplete, RunError, hash_path
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import Role

_IN_BATCHES = 100_000


@dataclass(frozen=True)
class Data:
    """The problems of an evaluation: held-out examples by set, Principia bench, and the splits of PRBench."""

    sets: dict[str, list[Problem]]
    splits: dict[str, Split]  # by the name of the task, prbench_<split>
    left_out: dict[str, int]  # number of rows without a problem, per benchmark


def read_data(recipe: EvalRecipe) -> Data:
    """Read all problems. Raises RecipeError for a bad name, or if there is nothing to ask."""
    data = Data({}, {}, {})
    for name in recipe.sets if recipe.dataset else []:
        if examples := read_set(recipe.dataset, name):
            data.sets[name] = [Problem(e.id, e.document_id, e.candidate) for e in examples]
    if recipe.dataset:
        if not data.sets:
            raise RecipeError(f"{recipe.dataset}: none of sets={recipe.sets} has an example")
        require_domain(recipe.dataset, sorted({name.rpartition("_")[0] for name in data.sets}), recipe.domain.name)
    if recipe.principia:
        data.sets[principia.TASK], data.left_out[principia.TASK] = principia.read_problems(recipe.principia)
    if config := recipe.prbench:
        folder = locate(config.path, config.revision)
        data.splits.update({f"prbench_{name}": read_split(folder, name, config.limit) for name in config.splits})
    return data


def _list_revisions(recipe: EvalRecipe) -> dict[str, str]:
    """List the revision of each benchmark that is used, an empty text if it is not pinned."""
    return {name: config.revision for name in ("prbench", "principia") if (config := getattr(recipe, name))}


async def _evaluate(
    recipe: EvalRecipe, limits: EvaluationLimits, graders: Sequence[Grader], data: Data, folder: Path
) -> list[EvalLog]:
    in_flight = recipe.models.endpoints[recipe.models.weak_solver.endpoint].max_in_flight or 64
    if any(endpoint.batch for endpoint in recipe.models.endpoints.values()):
        in_flight = _IN_BATCHES  # a batch is made of all judgements that wait for it
    domain = base.load(recipe.domain, limits.client, recipe.seed) if data.sets else None
    tasks = [question_task(name, domain, problems, recipe.samples, limits) for name, problems in data.sets.items()]
    tasks += [prbench_task(split, graders, limits, recipe.samples, recipe.seed) for split in data.splits.values()]
    os.environ.setdefault("INSPECT_DISPLAY", "none")  # Progress shows how far the evaluation is
    display_type()  # reads this variable, which eval_async does not
    logs = await eval_async(
        tasks,
        model=None,  # our own client makes the calls
        log_dir=str(folder / "logs"),
        max_samples=2 * in_flight,  # some are judged while others are answered; the client limits the calls
        max_tasks=len(tasks),  # all at once, so that no server idles while one task ends
        fail_on_error=True,
        metadata={"label": recipe.label},
    )
    for client in (limits.client, *(grader.client for grader in graders)):
        await client.close()
    # Ctrl-C ends inspect_ai without an error and without the logs of what it had begun.
    if len(logs) < len(tasks) or any(log.status == "cancelled" for log in logs):
        raise Incomplete(folder)
    if broken := next((log for log in logs if log.status != "success"), None):
        reason = broken.error.message if broken.error else broken.status
        raise RunError(f"{broken.eval.task}: {reason}; repair the cause and run the same command again")
    return logs


def evaluate(recipe: EvalRecipe, run: Run) -> dict[str, Any]:
    """Return the results per task. Every answer is kept in the journal, every judged sample in the logs."""
    data = read_data(recipe)
    sizes = {name: len(problems) for name, problems in data.sets.items()}
    sizes |= {name: len(split.tasks) for name, split in data.splits.items()}
    for name, size in sizes.items():
        print(f"{name}: {size:,} problems, answers per problem: {recipe.samples}", file=sys.stderr)
    for name, revision in _list_revisions(recipe).items():
        print(f"{name}: revision {revision or 'not pinned'}", file=sys.stderr)
    run.start()
    with (
        closing(Journal(run.path("journal.sqlite"))) as journal,
        Progress(run, "answers", sum(sizes.values()) * recipe.samples) as progress,
        ExitStack() as servers,
    ):
        SampleCount.progress = progress
        servers.enter_context(running(recipe.models, [Role.WEAK_SOLVER, Role.JUDGE], run.folder))
        for role in recipe.graders.values() if data.splits else []:
            servers.enter_context(running(replace(recipe.models, judge=role), [Role.JUDGE], run.folder))
        evaluated = identity.identify(recipe)
        run.note(evaluated=evaluated)
        client = Client(recipe.models, journal)
        graders = make_graders(recipe.graders, recipe.models, journal, recipe.domain.judge_retries + 1)
        for each_client in (client, *(grader.client for grader in graders)):
            progress.watch(each_client)
        progress.begin()
        limits = EvaluationLimits(client, recipe.max_unmeasured, recipe.max_failures, recipe.domain.count_refusals)
        logs = asyncio.run(_evaluate(recipe, limits, graders, data, run.folder))
        run.note(evaluated=evaluated | {"answered_as": _list_names(logs)})
        answers = {log.eval.task: collect(log) for log in logs}
        everything = [answer for sampled in answers.values() for answer in sampled]
        if summary := tell_unmeasured(everything, expects_cut_off(recipe.domain)):
            print(summary)
        limits.check_end(everything)
        return _save(run, recipe, logs, data, answers)


def _list_names(logs: Sequence[EvalLog]) -> list[str]:
    """List the model names in the replies: a provider may answer with another model than was asked for."""
    replies = [sample.metadata.get("reply") or {} for log in logs for sample in log.samples or []]
    return sorted({str(reply["model"]) for reply in replies if reply.get("model")})


def _save(
    run: Run, recipe: EvalRecipe, logs: Sequence[EvalLog], data: Data, answers: dict[str, list[SampledAnswer]]
) -> dict[str, Any]:
    splits = data.splits
    results = {task: summarize(sampled) for task, sampled in answers.items() if task not in splits}
    benchmark = {task: summarize_split(log, splits[task]) for log in logs if (task := log.eval.task) in splits}
    lines = [SAMPLED_ANSWER.dump_json(answer).decode() for sampled in answers.values() for answer in sampled]
    run.write(ANSWERS, "\n".join(lines) + "\n")
    for name, content in ((RESULTS, results), (PRBENCH, benchmark)):
        run.write(name, json.dumps(content, indent=2) + "\n")
    revisions = _list_revisions(recipe)
    run.finish([RESULTS, PRBENCH, ANSWERS], label=recipe.label, left_out=data.left_out, revisions=revisions)
    return results | benchmark


def _identify_data(recipe: EvalRecipe) -> dict[str, str]:
    """Hash the files of all problems. Raises RecipeError, RunError."""
    if not (recipe.dataset or recipe.prbench or recipe.principia):
        raise RecipeError("nothing to evaluate on: set dataset, prbench.path or principia.path")
    hashes = {"dataset": output_hash(recipe.dataset, COMMANDS[DatasetRecipe])} if recipe.dataset else {}
    if recipe.prbench and not (recipe.graders or recipe.models.judge):
        raise RecipeError("graders: PRBench needs a grader; name one, or set models.judge.endpoint")
    if recipe.principia and recipe.domain.name != "science":
        raise RecipeError(
            "principia: only the judge of the science domain compares its answers; set domain.name=science"
        )
    files = {"principia": principia.find_files(recipe.principia)} if recipe.principia else {}
    for name in recipe.prbench.splits if recipe.prbench else []:
        if name not in SPLITS:
            raise RecipeError(f"prbench.splits: unknown split {name}; choose from {', '.join(SPLITS)}")
        folder = locate(recipe.prbench.path, recipe.prbench.revision)
        files[f"prbench {name}"] = find_files(folder, name)
    return hashes | {f"{name} {i}": hash_path(file) for name, paths in files.items() for i, file in enumerate(paths)}


def _list_repairs(recipe: EvalRecipe) -> list[str]:
    """List the judges' keys that may be raised later: only answers without a score are then judged again."""
    roles = {"models.judge": recipe.models.judge} | {f"graders.{name}": role for name, role in recipe.graders.items()}
    endpoints = {role.endpoint for role in roles.values() if role} - {recipe.models.weak_solver.endpoint}
    keys = [*roles, *(f"models.endpoints.{name}" for name in sorted(endpoints))]
    return [*(f"{key}.sampling.max_tokens" for key in keys), "domain.judge_retries"]


@command.report_errors()
def main() -> None:
    recipe = load(EvalRecipe, command.read_recipe(__doc__))
    identity.check_label(recipe)
    identify_weights(recipe.models)
    with Run(recipe.run, "eval", recipe, _identify_data(recipe), _list_repairs(recipe)) as run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        print(json.dumps(evaluate(recipe, run), indent=2))


if __name__ == "__main__":
    main()
