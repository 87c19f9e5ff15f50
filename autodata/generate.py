"""Run every document through the loop and store its trajectory. The same command again resumes the run.

python -m autodata.generate recipes/demo/generate.yaml [key=value …]
python -m autodata.generate RECIPE documents.shard=3/16    # a part; python -m autodata.merge RECIPE joins all 16
"""

import gc
import json
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import uvloop

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.documents import Corpus, group_documents, read_corpus, take_shard
from autodata.loop.domain import hash_prompts
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.loop.parallel import Generation, Stopped
from autodata.loop.summary import describe, describe_sessions, join_outcomes, summarize
from autodata.recipes import budgets
from autodata.recipes.generation import ARMS, COMMAND, GenerateRecipe
from autodata.run.folder import Run, identify_weights, output_hash
from autodata.run.progress import Progress, check_budget
from autodata.run.records import TRAJECTORIES, Incomplete, digest, iterate_records, join_in_order, repair_tail
from autodata.run.shutdown import finish
from autodata.serving.costs import tell_usd
from autodata.serving.journal import Journal, fork
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import TRAJECTORY, Role


def generate(recipe: GenerateRecipe, run: Run, corpus: Corpus) -> bool:
    """Run the recipe in its folder; return True when every document has its trajectory."""
    run.start()
    repair_tail(run.path(TRAJECTORIES))
    journal_path = run.path("journal.sqlite") if recipe.journal is None else Path(recipe.journal)
    if recipe.fork:
        fork(Path(recipe.fork) / "journal.sqlite", journal_path)
    with closing(Journal(journal_path)) as journal:
        client, start = Client(recipe.models, journal), time.monotonic()
        generation = Generation(run, recipe, client, corpus.documents)
        with (
            run.session(lambda: client.counts | {"put_off": len(generation.failures)}),
            Progress(run, "documents", generation.total) as progress,
        ):
            progress.watch(client, recipe.budget)
            with running(recipe.models, Role, run.folder) as servers:
                working = time.monotonic()
                # With thousands of documents in memory, garbage collection took a third of the time.
                gc.set_threshold(100_000)
                # Its event loop takes less processor time for a call than that of asyncio.
                uvloop.run(finish(generation.finish_all(progress), [client], servers))
                facts = _measure(client, time.monotonic() - working, time.monotonic() - start)
            problem = None if client.draining else generation.find_problem()
            summary = summarize(iterate_records(run.path(TRAJECTORIES), TRAJECTORY))
            facts |= {
                "summary": summary,
                "outcomes": join_outcomes(summary, progress.ledger()),
                "cost": tell_usd(progress.ledger()),
            }
            _report(run, generation, corpus, facts, is_done=generation.is_complete and not problem)
    print(describe_sessions(run.sessions))
    if problem:
        raise problem
    if client.spent_budget:
        raise Stopped(f"{client.spent_budget} and run the same command again; every answer is kept")
    return generation.is_complete


def _measure(client: Client, working_s: float, total_s: float) -> dict[str, object]:
    return {
        "counts": dict(client.counts),
        "working_s": round(working_s, 1),
        "total_s": round(total_s, 1),
        "server_busy_share": round(client.busy.seconds / total_s, 3),
    }


def _report(run: Run, generation: Generation, corpus: Corpus, facts: dict[str, object], *, is_done: bool) -> None:
    models = generation.recipe.models
    roles = {name: role for name, role in vars(models).items() if name != "endpoints" and role}
    facts |= {
        "arm": generation.recipe.arm,
        "models": {name: models.endpoints[role.endpoint].model for name, role in roles.items()},
        "quarantined": generation.quarantined,
        "skipped_files": [f"{where}: {why}" for where, why in corpus.skipped],
    }
    if is_done:
        order_trajectories(run, [run.path(TRAJECTORIES)], corpus)
        run.finish([TRAJECTORIES], **facts)
    else:
        run.note(**facts)
    print(describe(facts))
    if generation.quarantined:
        reason = f"failed quarantine_after={generation.recipe.quarantine_after} times or too long for the server"
        print(f"documents left out ({reason}): {', '.join(generation.quarantined)}", file=sys.stderr)
    for document, error in list(generation.failures.items())[:5]:
        print(f"document {document} failed: {error}", file=sys.stderr)


def order_trajectories(run: Run, sources: Sequence[Path], corpus: Corpus) -> None:
    """Write all trajectories to one file in the order of the documents, whatever the order of their completion."""
    place = {document.id: number for number, document in enumerate(corpus.documents)}
    join_in_order(run.path(TRAJECTORIES), sources, TRAJECTORY, lambda t: place[t.document_id])


def _check(recipe: GenerateRecipe) -> None:
    """Raise RecipeError for a wrong value that the schema cannot catch."""
    check_budget(recipe.budget, recipe.models)
    domain = recipe.domain
    choices: dict[str, tuple[str, Collection[str]]] = {
        "arm": (recipe.arm, ARMS),
        "orchestrator": (recipe.orchestrator, ORCHESTRATORS),
        "domain.preset": (domain.preset, domain.presets),
        "domain.rubric_shape": (domain.rubric_shape, domain.rubric_shapes or [""]),
    }
    for key, (value, options) in choices.items():
        if value not in options:
            raise RecipeError(f"{key}={value}: choose one of {', '.join(options)}")
    if problem := budgets.find_unserved(recipe):
        raise RecipeError(problem)
    if domain.early_stop and not domain.weak_first:
        problem = "domain.early_stop=true: no attempt can be saved while both solvers are asked at once"
        raise RecipeError(f"{problem}; set domain.weak_first=true as well")
    _check_proposals(recipe)
    if (recipe.arm == "best_of_n") != (recipe.budget_from is not None):
        raise RecipeError(
            "budget_from: arm=best_of_n needs this key, which names the agentic run whose token count it may spend; "
            "leave it out for any other arm"
        )


def _check_proposals(recipe: GenerateRecipe) -> None:
    """Raise RecipeError if the arm cannot make as many proposals of a document as the recipe says."""
    proposals, most = recipe.proposals, recipe.domain.max_rounds
    if proposals < 1:
        raise RecipeError(f"proposals={proposals}: must be at least 1")
    if proposals > 1 and recipe.arm != "cot":
        raise RecipeError(f"proposals={proposals}: only arm=cot has this key; leave it out for arm={recipe.arm}")
    if recipe.arm == "cot" and proposals > most:
        advice = "each proposal is a round, so raise domain.max_rounds or lower proposals"
        raise RecipeError(f"proposals={proposals}: more than domain.max_rounds={most} allows; {advice}")


def open_run(recipe: GenerateRecipe) -> tuple[Run, Corpus]:
    _check(recipe)
    identify_weights(recipe.models)
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    for where, why in corpus.skipped:
        print(f"skipped {where}: {why}", file=sys.stderr)
    corpus.documents = group_documents(corpus.documents, recipe.documents.per_group, recipe.seed)
    text = json.dumps([[d.id, d.text, *d.fields.items()] for d in corpus.documents])
    artefacts = {"corpus": digest(text.encode()), "prompts": hash_prompts(recipe.domain)}
    if recipe.budget_from:
        artefacts["budget"] = output_hash(recipe.budget_from, COMMAND)
    # Every shard records the hash of the whole corpus, so that the merge can check that shards belong together.
    if recipe.documents.shard:
        corpus.documents = take_shard(corpus.documents, recipe.documents.shard)
        artefacts["shard"] = recipe.documents.shard
    return Run(recipe.run, "generate", recipe, artefacts), corpus


@command.report_errors()
def main() -> None:
    recipe = load(GenerateRecipe, command.read_recipe(__doc__))
    run, corpus = open_run(recipe)
    with run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
        elif not generate(recipe, run, corpus):
            raise Incomplete(run.folder)


if __name__ == "__main__":
    main()
