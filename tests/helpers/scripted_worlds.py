"""Plays the scripted worlds of the domains as a whole: fixed outcomes, so that only prompts and rules differ."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autodata.loop import domain as base
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.types import Document, Trajectory
from tests import test_legal, test_science
from tests.helpers import prompt_material as material
from tests.helpers.fake_server import FakeServer, Scripted, fake_server
from tests.helpers.fake_world import World, models_of_world
from tests.helpers.recipes import load_recipe

# How the candidates of each document fare; the last word repeats.
PLANS = (
    ("accepted",),
    ("too_easy", "accepted"),
    ("malformed", "leak", "too_easy", "no_better", "small_gap", "accepted"),
    ("small_gap", "small_gap", "no_better", "too_easy", "accepted"),
    ("too_easy",),  # never accepted
)
# How many right answers of (weak, strong) the questions of each angle get; others get (4, 4).
COUNTS = ({4: (1, 3)}, {0: "malformed", 1: "screened", 2: (2, 4), 3: (1, 2), 4: (1, 3)}, {})
REVIEWS = (
    [test_legal.REVIEW],
    [test_legal.SENT_BACK, test_legal.SENT_BACK, test_legal.REVIEW],
    [test_legal.SENT_BACK],
)
QUESTIONS = (
    test_legal.QUESTION,
    test_legal.QUESTION.replace("roof", "boiler"),
    test_legal.QUESTION.replace("roof", "well"),
)


@dataclass
class Played:
    """What became of one document, and all requests that were sent for it."""

    trajectory: Trajectory
    requests: list[dict]


def play_all(domain: str, orchestrator: str, folder: Path) -> Iterator[Played]:
    """Play every document of a domain under one orchestrator."""
    for number, (world, document) in enumerate(make_worlds(domain)):
        yield play(domain, orchestrator, world, document, folder / f"{domain}-{orchestrator}-{number}.sqlite")


def make_worlds(domain: str) -> list[tuple[Callable[[dict, int], Scripted], Document]]:
    if domain == "cs":
        return [(World(plan), material.PAPER) for plan in PLANS]
    if domain == "science":
        return [(test_science.World(counts), material.PROBLEMS) for counts in COUNTS]
    tasks = [test_legal.proposal(question) for question in QUESTIONS]
    return [(test_legal.Court(proposals=tasks, reviews=reviews), material.OPINION) for reviews in REVIEWS]


def play(
    name: str, orchestrator: str, world: Callable[[dict, int], Scripted], document: Document, journal_at: Path
) -> Played:
    recipe = load_recipe(f"recipes/{name}/generate.yaml", "recipes/models/laptop.yaml", "domain.max_rounds=8")
    journal = Journal(journal_at)
    with fake_server(world) as server:
        try:
            return asyncio.run(_play(recipe, orchestrator, document, journal, server))
        finally:
            journal.close()


async def _play(recipe, orchestrator: str, document: Document, journal: Journal, server: FakeServer) -> Played:
    client = Client(models_of_world(server.url), journal)
    harness = Harness(base.load(recipe.domain, client, recipe.seed), document, recipe.arm)
    try:
        return Played(await ORCHESTRATORS[orchestrator](harness), server.requests)
    finally:
        await client.close()
