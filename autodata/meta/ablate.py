"""What each accepted edit of the best prompt set is worth: all of them, against all but one.

python -m autodata.meta.ablate recipes/meta/cs.yaml recipes/models/api.yaml [key=value …]    # of a finished run

Tried on the test documents with the same seeds. An edit that later ones build on cannot be taken out alone. The same
command again resumes; the answers are in <run>/ablation.json.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata import command
from autodata.config import load
from autodata.loop.parsing import ParseError
from autodata.meta.evaluate import Trial
from autodata.meta.genome import Genome
from autodata.meta.mutate import read_edit
from autodata.meta.optimize import open_run
from autodata.meta.population import Member, Splits, split
from autodata.meta.search import Search
from autodata.recipes.meta import MetaRecipe
from autodata.run.folder import Run, identify_weights, require_finished
from autodata.run.records import Incomplete
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import Role

ABLATION = "ablation.json"


@dataclass(frozen=True)
class Worth:
    """Of one edit: how often the best prompt set passed where the one without the edit did not, and the reverse."""

    member: int
    hypothesis: str
    lost: int | None  # None: it cannot be taken out alone
    gained: int | None
    pairs: int


def leave_out(chain: Sequence[Member], left_out: int) -> Genome | None:
    """The baseline with every edit of a lineage but one; None where a later edit does not fit then."""
    genome = chain[0].genome
    for member in chain[1:]:
        if member.id != left_out:
            try:
                genome = read_edit(member.edit, genome).genome
            except ParseError:
                return None
    return genome


async def ablate(search: Search) -> None:
    """Writes ablation.json."""
    chain = search.population.trace(search.population.best().id)
    whole = await search.try_test(chain[-1])
    found = [await _weigh(search, chain, member, whole) for member in chain[1:]]
    search.run.write(ABLATION, json.dumps([asdict(worth) for worth in found], indent=2) + "\n")


async def _weigh(search: Search, chain: Sequence[Member], member: Member, whole: Sequence[Trial]) -> Worth:
    genome = leave_out(chain, member.id)
    if genome is None:
        return Worth(member.id, member.hypothesis, None, None, 0)
    without = await search.try_test(Member(-member.id, None, genome))
    pairs = [(with_it.passed, other.passed) for with_it, other in zip(whole, without, strict=True)
             if with_it.passed is not None and other.passed is not None]  # fmt: skip
    lost, gained = (sum(a and not b for a, b in of) for of in (pairs, [(b, a) for a, b in pairs]))
    return Worth(member.id, member.hypothesis, lost, gained, len(pairs))


def show(found: Sequence[Worth]) -> Table:
    table = Table("edit", "hypothesis", "passed only with it", "only without it", "pairs")
    for worth in found:
        cells = [str(worth.lost), str(worth.gained)] if worth.pairs else ["cannot be taken out alone", ""]
        table.add_row(str(worth.member), Text(worth.hypothesis), *cells, str(worth.pairs))
    return table


@command.report_errors()
def main() -> None:
    recipe = load(MetaRecipe, command.read_recipe(__doc__))
    require_finished(recipe.run, "python -m autodata.meta.optimize")
    identify_weights(recipe.models)
    documents = split(recipe)
    with open_run(recipe, documents) as run:
        _run(recipe, run, documents)
        found = [Worth(**of) for of in json.loads(run.path(ABLATION).read_text(encoding="utf-8"))]
    Console().print(show(found))


def _run(recipe: MetaRecipe, run: Run, documents: Splits) -> None:
    if run.path(ABLATION).exists():
        return
    journal = Journal(run.path("journal.sqlite"))
    try:
        client = Client(recipe.models, journal)
        search = Search(run, recipe, client, documents)
        with running(recipe.models, Role, run.folder) as servers:
            asyncio.run(finish(ablate(search), [client], servers))
        if not run.path(ABLATION).exists():
            raise Incomplete(run.folder)
    finally:
        journal.close()


if __name__ == "__main__":
    main()
