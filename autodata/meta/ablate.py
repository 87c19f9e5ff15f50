"""Measure what each accepted edit of the best prompt set is worth, by comparing all edits with all but one.

python -m autodata.meta.ablate recipes/meta/cs.yaml recipes/models/api.yaml [key=value …]    # the run is finished

Both prompt sets are tried on the test documents with the same seeds. An edit that later edits build on cannot be left
out alone. Run the same command again to resume. The results are in <run>/ablation.json.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata import command
from autodata.config import load
from autodata.loop.parsing import ParseError
from autodata.meta.evaluate import Trial, pair_trials
from autodata.meta.gate import count
from autodata.meta.genome import Genome
from autodata.meta.mutate import read_edit
from autodata.meta.optimize import open_run
from autodata.meta.population import Member, split
from autodata.meta.search import Search
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import identify_weights, require_finished
from autodata.run.records import Incomplete, read_json
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import Role

ABLATION = "ablation.json"


def leave_out(chain: Sequence[Member], left_out: int) -> Genome | None:
    """Apply every edit of a lineage except one to the baseline; None if a later edit does not fit without it."""
    genome = chain[0].genome
    for member in chain[1:]:
        if member.id != left_out:
            try:
                genome = read_edit(member.edit, genome).genome
            except ParseError:
                return None
    return genome


async def ablate(search: Search) -> None:
    """Measure each edit of the best member's lineage, and write ablation.json."""
    chain = search.population.trace(search.population.best().id)
    whole = await search.try_test(chain[-1])
    worths = [await _weigh(search, chain, member, whole) for member in chain[1:]]
    search.run.write(ABLATION, json.dumps(worths, indent=2) + "\n")


async def _weigh(search: Search, chain: Sequence[Member], member: Member, whole: Sequence[Trial]) -> dict[str, Any]:
    """Count the trials that passed only with the edit (`lost`), and only without it (`gained`)."""
    worth, genome = {"member": member.id, "hypothesis": member.hypothesis}, leave_out(chain, member.id)
    if genome is None:
        return {**worth, "lost": None, "gained": None, "pairs": 0}
    without = await search.try_test(Member(-member.id, None, genome))
    pairs = [pair for _, pair in pair_trials(whole, without)]
    gained, lost = count(pairs)
    return {**worth, "lost": lost, "gained": gained, "pairs": len(pairs)}


def show(worths: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("edit", "hypothesis", "passed only with it", "passed only without it", "pairs")
    for worth in worths:
        reason = "cannot be left out alone" if worth["lost"] is None else "no pair was measured"
        cells = [str(worth["lost"]), str(worth["gained"])] if worth["pairs"] else [reason, ""]
        table.add_row(str(worth["member"]), Text(worth["hypothesis"]), *cells, str(worth["pairs"]))
    return table


@command.report_errors()
def main() -> None:
    recipe = load(MetaRecipe, command.read_recipe(__doc__))
    require_finished(recipe.run, COMMANDS[MetaRecipe])
    identify_weights(recipe.models)
    documents = split(recipe)
    with open_run(recipe, documents) as run:
        if not run.path(ABLATION).exists():
            with closing(Journal(run.path("journal.sqlite"))) as journal:
                client = Client(recipe.models, journal)
                search = Search(run, recipe, client, documents)
                with running(recipe.models, Role, run.folder) as servers:
                    asyncio.run(finish(ablate(search), [client], servers))
        if not run.path(ABLATION).exists():
            raise Incomplete(run.folder)
        Console().print(show(read_json(run.path(ABLATION))))


if __name__ == "__main__":
    main()
