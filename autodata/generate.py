"""Run every document through the loop and store its trajectory. The same command again resumes the run.

python -m autodata.generate recipes/demo/generate.yaml [key=value …]
python -m autodata.generate RECIPE processes=4             # in four processes of this machine
python -m autodata.generate RECIPE documents.shard=3/16    # a part; python -m autodata.merge RECIPE joins all 16
"""

import gc
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.documents import Corpus, group_documents, read_corpus, take_shard
from autodata.loop.domain import hash_prompts
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.loop.parallel import Generation, Stopped
from autodata.loop.summary import describe, describe_sessions, merge, order_trajectories, sum_up
from autodata.recipes import budgets
from autodata.recipes.generation import ARMS, SHARDS, GenerateRecipe
from autodata.recipes.models import ROLES
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import Run, identify_weights, output_hash, read_manifest
from autodata.run.processes import SharedUse, Urls, follow, working
from autodata.run.progress import Progress, check_budget, read_earlier
from autodata.run.records import TRAJECTORIES, Incomplete, digest, repair_tail
from autodata.run.shards import JOURNAL, count_parts
from autodata.run.shutdown import finish
from autodata.serving.costs import Use
from autodata.serving.journal import Journal, fork
from autodata.serving.limits import divide_limits
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import Role

_DOCUMENTS_PER_PROCESS = 16  # with fewer, a further process is not worth the 0.1 s that it takes to start (chosen)


@dataclass(frozen=True)
class Part:
    """What one of several processes shares with the others. They use the same servers and the same GPUs."""

    number: int
    count: int
    use: SharedUse

    def add_others(self, used: Use) -> Use:
        return self.use.add_up(self.number, used)


def generate(recipe: GenerateRecipe, run: Run, corpus: Corpus, part: Part | None = None) -> bool:
    """Run the recipe in its folder; return True when every document has its trajectory."""
    run.start()
    repair_tail(run.path(TRAJECTORIES))
    journal_path = run.path("journal.sqlite") if recipe.journal is None else Path(recipe.journal)
    if recipe.fork:
        fork(Path(recipe.fork) / "journal.sqlite", journal_path)
    with closing(Journal(journal_path)) as journal:
        client, start = Client(recipe.models, journal, gpu_share=1 / part.count if part else 1.0), time.monotonic()
        generation = Generation(run, recipe, client, corpus.documents)
        with (
            run.session(lambda: client.counts | {"put_off": len(generation.failures)}),
            Progress(run, "documents", generation.total) as progress,
        ):
            progress.watch(client, recipe.budget, part.add_others if part else dict)
            with nullcontext([]) if part else running(recipe.models, Role, run.folder) as servers:
                working = time.monotonic()
                # With thousands of documents in memory, garbage collection took a third of the time.
                gc.set_threshold(100_000)
                # Its event loop takes less processor time for a call than that of asyncio.
                uvloop.run(finish(generation.finish_all(progress), [client], servers))
                facts = _measure(client, time.monotonic() - working, time.monotonic() - start)
            problem = None if client.draining else generation.find_problem()
            facts |= sum_up(run, progress.ledger())
            _report(run, generation, corpus, facts, is_done=generation.is_complete and not problem)
    print(describe_sessions(run.sessions))
    if problem:
        raise problem
    if client.spent_budget:
        raise Stopped(f"{client.spent_budget} and run the same command again; every answer is kept")
    return generation.is_complete


def generate_in_processes(recipe: GenerateRecipe, run: Run, corpus: Corpus, count: int) -> bool:
    """Do the same in several processes, each with every n-th document, and merge what they made."""
    run.start()
    parts = [make_part(recipe, run, number, count) for number in range(1, count + 1)]
    folders = [Path(part.run) for part in parts]
    use, before, start = SharedUse([read_earlier(f)[0] for f in folders]), _count_calls(folders), time.monotonic()

    def work(number: int, urls: Urls) -> None:
        part = parts[number]
        for name, url in urls.items():
            part.models.endpoints[name].base_url = url
        part_run, documents = hold_run(part, corpus)
        with part_run:
            if not part_run.is_finished:
                generate(part, part_run, documents, Part(number, count, use))

    with (
        working(folders, work) as workers,
        run.session(lambda: {"put_off": 0} | (_count_calls(folders) - before)),
        Progress(run, "documents", len(corpus.documents)) as progress,
    ):
        with running(recipe.models, Role, run.folder) as servers:
            progress.begin()
            urls = {name: e.base_url for name, e in recipe.models.endpoints.items() if e.base_url}
            follow(workers, urls, progress, servers)
        if not all((read_manifest(folder) or {}).get("finished") for folder in folders):
            return False
        wall_s = round(time.monotonic() - start, 1)
        facts = merge(run, corpus.documents, working_s=wall_s, total_s=wall_s)
    print(describe(facts, recipe.domain))
    _tell_left_out(recipe, facts["quarantined"])
    print(describe_sessions(run.sessions))
    shutil.rmtree(run.path(SHARDS))  # everything in them is in the run now
    return True


def make_part(recipe: GenerateRecipe, run: Run, number: int, count: int) -> GenerateRecipe:
    """Make the recipe of one of several processes. Limits on what happens at once are divided, budgets are shared."""
    is_begun = run.path(JOURNAL).exists()  # by one process
    return replace(
        recipe,
        processes=1,
        documents=replace(recipe.documents, shard=f"{number}/{count}"),
        documents_in_flight=max(1, recipe.documents_in_flight // count),
        models=divide_limits(recipe.models, count),
        fork=str(run.folder) if is_begun else recipe.fork,
    )


def _count_calls(folders: Sequence[Path]) -> Counter[str]:
    """Add up the counts of all sessions of the processes."""
    sessions = [session for f in folders for session in (read_manifest(f) or {}).get("sessions", [])]
    return sum((Counter(session.get("counts", {})) for session in sessions), Counter())


def _measure(client: Client, working_s: float, total_s: float) -> dict[str, object]:
    return {
        "counts": dict(client.counts),
        "working_s": round(working_s, 1),
        "total_s": round(total_s, 1),
        "server_busy_share": round(client.busy.seconds / total_s, 3),
    }


def _report(run: Run, generation: Generation, corpus: Corpus, facts: dict[str, object], *, is_done: bool) -> None:
    models = generation.recipe.models
    roles = {name: role for name in ROLES if (role := getattr(models, name))}
    facts |= {
        "arm": generation.recipe.arm,
        "models": {name: models.endpoints[role.endpoint].model for name, role in roles.items()},
        "quarantined": generation.quarantined,
        "skipped_files": [f"{where}: {why}" for where, why in corpus.skipped],
    }
    if is_done:
        order_trajectories(run, [run.path(TRAJECTORIES)], corpus.documents)
        run.finish([TRAJECTORIES], **facts)
    else:
        run.note(**facts)
    print(describe(facts, generation.recipe.domain))
    _tell_left_out(generation.recipe, generation.quarantined)
    for document, error in list(generation.failures.items())[:5]:
        print(f"document {document} failed: {error}", file=sys.stderr)


def _tell_left_out(recipe: GenerateRecipe, documents: Sequence[str]) -> None:
    if documents:
        reason = f"failed quarantine_after={recipe.quarantine_after} times or too long for the server"
        print(f"documents left out ({reason}): {', '.join(documents)}", file=sys.stderr)


def check_recipe(recipe: GenerateRecipe) -> None:
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


def count_processes(recipe: GenerateRecipe, run: Run, documents: int) -> int:
    """Return how many processes are worth starting. Raises RecipeError if the run was begun with another number."""
    wanted = max(1, min(recipe.processes, documents // _DOCUMENTS_PER_PROCESS))
    count = min(wanted, _limit_processes(recipe))
    if count < wanted:
        why = "each has at least one call in flight, and an endpoint has max_in_flight"
        print(f"processes={recipe.processes}: {count} started, because {why}={count}", file=sys.stderr)
    begun = count_parts(run.path(SHARDS))
    # Shards that were made by hand, without this command, leave no session in the run's own folder.
    if begun - {count} and (count > 1 or run.sessions):
        raise RecipeError(
            f"processes={recipe.processes}: {run.path(SHARDS)} has parts of a division by "
            f"{', '.join(map(str, sorted(begun)))}; set this number, or name another run"
        )
    return count


def _limit_processes(recipe: GenerateRecipe) -> int:
    """Return how many processes can share the fewest calls at once that the recipe allows at an endpoint it asks."""
    asked = {role.endpoint for role in budgets.list_called_roles(recipe).values()}
    most = [recipe.models.endpoints[name].max_in_flight for name in asked]
    return min([recipe.processes, *(count for count in most if count is not None)])


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
    check_recipe(recipe)
    identify_weights(recipe.models)
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    for where, why in corpus.skipped:
        print(f"skipped {where}: {why}", file=sys.stderr)
    corpus.documents = group_documents(corpus.documents, recipe.documents.per_group, recipe.seed)
    return hold_run(recipe, corpus)


def hash_corpus(corpus: Corpus) -> str:
    """Hash all documents, as the manifest of a run records them."""
    return digest(json.dumps([[d.id, d.text, *d.fields.items()] for d in corpus.documents]).encode())


def hold_run(recipe: GenerateRecipe, corpus: Corpus) -> tuple[Run, Corpus]:
    """Open the run folder of a recipe; return it with the documents of its shard."""
    artefacts = {"corpus": hash_corpus(corpus), "prompts": hash_prompts(recipe.domain)}
    if recipe.budget_from:
        artefacts["budget"] = output_hash(recipe.budget_from, COMMANDS[GenerateRecipe])
    # Every shard records the hash of the whole corpus, so that the merge can check that shards belong together.
    if recipe.documents.shard:
        corpus = replace(corpus, documents=take_shard(corpus.documents, recipe.documents.shard))
        artefacts["shard"] = recipe.documents.shard
    return Run(recipe.run, "generate", recipe, artefacts), corpus


@command.report_errors()
def main() -> None:
    recipe = load(GenerateRecipe, command.read_recipe(__doc__))
    run, corpus = open_run(recipe)
    with run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        count = count_processes(recipe, run, len(corpus.documents))
        if not (generate_in_processes(recipe, run, corpus, count) if count > 1 else generate(recipe, run, corpus)):
            raise Incomplete(run.folder)


if __name__ == "__main__":
    main()
