"""Evolve the prompts of a domain (meta-optimisation, paper Sec. 4). Run the same command again to resume.

python -m autodata.meta.optimize recipes/meta/cs.yaml recipes/models/api.yaml [key=value …]
python -m autodata.meta.optimize --dry-run …                 # only prints the largest number of calls

The best prompt set is one override away: python -m autodata.generate … domain.prompts=<run>/best
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from operator import attrgetter
from typing import Any

from autodata import command
from autodata.config import RecipeError, load
from autodata.loop.domain import hash_prompts
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.meta import genome
from autodata.meta.evaluate import Trial, compare
from autodata.meta.gate import FIRST_LOOK
from autodata.meta.population import Member, Splits, split
from autodata.meta.search import ITERATIONS, Search
from autodata.recipes import budgets
from autodata.recipes.meta import MetaRecipe
from autodata.run.folder import Run, identify_weights
from autodata.run.progress import Progress, check_budget
from autodata.run.records import Incomplete, RunError, digest, read_json
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.stats.intervals import SHARE, estimate_mean
from autodata.stats.writing import write_percent
from autodata.types import Role

RESULTS, BEST = "results.json", "best"
_CHOICES = {"parents": ("boltzmann", "uniform", "baseline"), "mutation": ("edit", "none"),
            "orchestrator": tuple(ORCHESTRATORS), "acceptance.rule": ("paired", "strict")}  # fmt: skip


def estimate(recipe: MetaRecipe) -> str:
    """Say how many documents will be tried, and how many calls that takes at most."""
    validation, config = recipe.splits.validation, recipe.domain
    looks = 1 if recipe.acceptance.rule == "strict" else recipe.acceptance.draws
    fixed = validation * recipe.baseline_draws + 2 * recipe.splits.test * recipe.test_draws
    per_round = config.challengers + 1 + 2 * (config.weak_attempts + config.strong_attempts)
    least = fixed + recipe.iterations * (recipe.minibatch + 2 * min(FIRST_LOOK, validation))
    most = fixed + recipe.iterations * (recipe.minibatch + 2 * validation * looks)
    return (
        f"iterations: {recipe.iterations:,}; the loop runs {least:,} to {most:,} times, each on one document with at "
        f"most {config.max_rounds} rounds of about {per_round} calls: at most "
        f"{most * config.max_rounds * per_round:,} calls, and two more per iteration for analysis and edit"
    )


async def optimize(search: Search, progress: Progress) -> None:
    """Run every iteration. Then try the baseline and the best member once on the unseen test documents."""
    await search.run_all(progress)
    best, baseline = search.population.best().genome, search.baseline
    genome.write(best, search.run.path(BEST))
    search.run.write(f"{BEST}/diff.patch", genome.diff(baseline, best) + "\n")
    if search.client.draining:
        return
    results = await _score(search)
    search.evaluator.check_measured("; run the same command again once it answers", is_end=True)
    search.run.write(RESULTS, json.dumps(results, indent=2) + "\n")
    search.run.finish([RESULTS, ITERATIONS], evaluator=hash_evaluator(search))


async def _score(search: Search) -> dict[str, Any]:
    """Try the baseline and the best member on the test documents, and compute the results."""
    members = {"baseline": search.population.members[0], "best": search.population.best()}
    trials = {name: await search.try_test(member) for name, member in members.items()}
    scored = {name: _summarize(member, trials[name]) for name, member in members.items()}
    gain = compare(trials["baseline"], trials["best"])
    return {
        "iterations": len(search.lines) - 1,
        "accepted": sum(line["outcome"] == "accept" for line in search.lines),
        **scored,
        "optimism": _subtract(scored["best"]["validation"], scored["best"]["test"]),
        "gain_on_test": _subtract(scored["best"]["test"], scored["baseline"]["test"]),
        "gain_interval": gain and [gain.low, gain.high, gain.documents, gain.reason],
    }


def _summarize(member: Member, trials: Sequence[Trial]) -> dict[str, Any]:
    """Summarise a member on validation documents, which it was chosen on, and on test documents, unused before."""
    test = estimate_mean(((trial.document, trial.passed) for trial in trials), SHARE)
    return {
        "member": member.id,
        "validation": member.rate,
        "validation_trials": member.tried,
        "test": test and test.value,
        "test_interval": test and [test.low, test.high, test.documents, test.reason],
        "test_trials": sum(trial.passed is not None for trial in trials),
        "failures": dict(sorted(Counter(kind for trial in trials for kind in trial.failures).items())),
    }


def _subtract(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def hash_evaluator(search: Search) -> str:
    """Hash what decides whether a document passes, which no edit may reach: the domain's prompts and thresholds."""
    return digest(f"{hash_prompts(search.recipe.domain)} {search.recipe.domain}".encode())


def run_recipe(recipe: MetaRecipe, run: Run, documents: Splits) -> None:
    """Run the optimisation. Raises UserError; RunError if the domain's prompts or thresholds changed meanwhile."""
    run.start()
    with closing(Journal(run.path("journal.sqlite"))) as journal:
        client = Client(recipe.models, journal)
        search = Search(run, recipe, client, documents)
        before = hash_evaluator(search)
        with Progress(run, "iterations", recipe.iterations) as progress:
            progress.watch(client)
            with running(recipe.models, Role, run.folder) as servers:
                asyncio.run(finish(optimize(search, progress), [client], servers))
        if hash_evaluator(search) != before:
            raise RunError(
                "the domain's prompts or thresholds changed while this run was going on, so its numbers "
                "mix two evaluators; start again in another folder"
            )


def describe(run: Run) -> str:
    """Describe the results of a finished run in a few lines."""
    results = read_json(run.path(RESULTS))
    before, best = results["baseline"], results["best"]
    parts = ("validation", "test")
    validation, test = (f"{write_percent(before[part], 1)} → {write_percent(best[part], 1)}" for part in parts)
    return (
        f"iterations: {results['iterations']:,}, accepted mutants: {results['accepted']:,}, "
        f"best prompt set: {best['member']} (0 is the baseline)\n"
        f"pass rate of baseline → best: validation {validation}, "
        f"test (documents that the search never used) {test}\n"
        f"to generate with the best prompt set, append domain.prompts={run.folder / BEST}"
    )


def _check(recipe: MetaRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    check_budget(recipe.budget, recipe.models)
    for key, choices in _CHOICES.items():
        if (value := attrgetter(key)(recipe)) not in choices:
            raise RecipeError(f"{key}={value}: choose one of {', '.join(choices)}")
    if problem := budgets.find_unserved(recipe):
        raise RecipeError(problem)


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_recipe()
    parser.add_argument("--dry-run", action="store_true", help="print the largest number of calls, and make none")
    options = parser.parse_intermixed_args()
    recipe = load(MetaRecipe, options.recipe)
    _check(recipe)
    documents = split(recipe)
    print(estimate(recipe))
    if not options.dry_run:
        identify_weights(recipe.models)
        with open_run(recipe, documents) as run:
            if not run.is_finished:
                run_recipe(recipe, run, documents)
            if not run.is_finished:
                raise Incomplete(run.folder)
            print(describe(run))


def open_run(recipe: MetaRecipe, documents: Splits) -> Run:
    """Open the run folder. Raises RunError if it was made from other documents or prompts."""
    texts = [[d.id, d.text] for d in (*documents.training, *documents.validation, *documents.test)]
    artefacts = {"corpus": digest(json.dumps(texts).encode()), "prompts": hash_prompts(recipe.domain)}
    return Run(recipe.run, "meta", recipe, artefacts)


if __name__ == "__main__":
    main()
