"""Compares the fixed orchestrator with the language model: calls and tokens per accepted document.

    python -m autodata.servers recipes/demo/generate.yaml run=runs/bench/server     # in one terminal
    python bench/orchestrators.py recipes/demo/generate.yaml models.endpoints.small.base_url=http://127.0.0.1:PORT/v1

Both work on the same documents with journals of their own, so nothing is replayed.
"""

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autodata.config import load
from autodata.corpora.documents import read_corpus
from autodata.loop import domain as base
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.types import Role, Trajectory


@dataclass
class OrchestratorRun:
    """The results and costs of one orchestrator's run."""

    trajectories: list[Trajectory]
    calls: int
    seconds: float

    def rows(self) -> list[tuple[str, str]]:
        tokens = sum(sum(t.tokens.values()) for t in self.trajectories)
        directing = sum(t.tokens.get(Role.ORCHESTRATOR, 0) for t in self.trajectories)
        accepted = sum(t.accepted is not None for t in self.trajectories)

        def per_accepted(value: float) -> str:
            return f"{value / accepted:,.0f}" if accepted else "–"

        return [
            ("documents", str(len(self.trajectories))),
            ("accepted", str(accepted)),
            ("rounds", str(sum(len(t.rounds) for t in self.trajectories))),
            ("calls per accepted document", per_accepted(self.calls)),
            ("tokens per accepted document", per_accepted(tokens)),
            ("share of tokens used by the orchestrator", f"{directing / tokens:.1%}" if tokens else "–"),
            ("refused moves", str(sum(len(t.refused) for t in self.trajectories))),
            (
                "documents that fell back to the fixed order",
                str(sum("then" in t.orchestrator for t in self.trajectories)),
            ),
            ("seconds", f"{self.seconds:.0f}"),
        ]


def measure(recipe: GenerateRecipe, name: str, folder: Path) -> OrchestratorRun:
    journal = Journal(folder / f"{name}.sqlite")
    client = Client(recipe.models, journal)
    domain = base.load(recipe.domain, client, recipe.seed)
    documents = read_corpus(recipe.documents.path, recipe.documents.limit).documents

    async def run() -> list[Trajectory]:
        slots = asyncio.Semaphore(recipe.documents_in_flight)

        async def one(document) -> Trajectory:
            async with slots:
                return await ORCHESTRATORS[name](Harness(domain, document, "agentic"))

        try:
            return list(await asyncio.gather(*(one(d) for d in documents)))
        finally:
            await client.close()

    start = time.monotonic()
    try:
        trajectories = asyncio.run(run())
    finally:
        journal.close()
    return OrchestratorRun(trajectories, client.counts["calls"], time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="+", help="a recipe, then more .yaml files and key=value; later ones win")
    recipe = load(GenerateRecipe, parser.parse_args().recipe)
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: measure(recipe, name, Path(folder)) for name in ORCHESTRATORS}
    table = Table("", *runs)
    for rows in zip(*(run.rows() for run in runs.values()), strict=True):
        table.add_row(rows[0][0], *(value for _, value in rows))
    Console().print(table)


if __name__ == "__main__":
    main()
