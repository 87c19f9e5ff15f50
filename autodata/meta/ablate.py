"""Measure what each accepted edit of the best prompt set is worth, by comparing all edits with all but one.

python -m autodata.meta.ablate recipes/meta/cs.yaml recipes/models/api.yaml [key=value …]    # the run is finished

Both prompt sets are tried on the test documents with the same seeds. An edit that later edits build on cannot be left
out alone. Run the same command again to resume. The results are in <run>/ablation.json.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

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
from autodata.run.folder import identify_weights, require_finished
from autodata.run.records import Incomplete
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import Role

ABLATION = "ablation.json"


@dataclass(frozen=True)
class Worth:
    """What one edit is worth: how often only the prompt set with it passed, and how often only the one without it."""

    member: int
    hypothesis: str
    lost: int | None  # passed only with the edit; None if it cannot be left out alone
    gained: int | None  # passed only without it
    pairs: int  # trials where both were measured


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
    search.run.write(ABLATION, json.dumps([asdict(worth) for worth in worths], indent=2) + "\n")


async def _weigh(search: Search, chain: Sequence[Member], member: Member, whole: Sequence[Trial]) -> Worth:
    genome = leave_out(chain, member.id)
    if genome is None:
        return Worth(member.id, member.hypothesis, None, None, 0)
    without = await search.try_test(Member(-member.id, None, genome))
    pairs = [pair for _, pair in pair_trials(whole, without)]
    gained, lost = count(pairs)
    return Worth(member.id, member.hypothesis, lost, gained, len(pairs))


def show(worths: Sequence[Worth]) -> Table:
    table = Table("edit", "hypothesis", "passed only with it", "passed only without it", "pairs")
    for worth in worths:
        cells = [str(worth.lost), str(worth.gained)] if worth.pairs else ["cannot be left out alone", ""]
        table.add_row(str(worth.member), Text(worth.hypothesis), *cells, str(worth.pairs))
    return table


@command.report_errors()
def main() -> None:
    recipe = load(MetaRecipe, command.read_recipe(__doc__))
    require_finished(recipe.run, "python -m autodata.meta.optimize")
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
        worths = [Worth(**record) for record in json.loads(run.path(ABLATION).read_text(encoding="utf-8"))]
    Console().print(show(worths))


if __name__ == "__main__":
    main()
