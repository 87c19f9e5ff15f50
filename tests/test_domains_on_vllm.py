"""Tests the mechanics of the paper's domains on a real vLLM with the embedded model."""

import asyncio
import json
from pathlib import Path

import pytest

from autodata.config import load
from autodata.loop import domain as base
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import orchestrate
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Endpoint
from autodata.run.records import read_records
from autodata.serving.llm import Client
from autodata.serving.vllm import running
from autodata.types import TRAJECTORY, Document, Outcome
from tests.helpers.commands import run, run_at_once
from tests.helpers.fake_server import fake_server
from tests.helpers.fake_world import World

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
DOMAINS = ("cs", "legal", "science")
SMALL = ("documents.limit=1", "domain.max_rounds=1", "domain.document_chars=800")


@pytest.fixture(scope="module")
def commands(server, tmp_path_factory) -> dict[str, tuple[str, ...]]:
    """Run one command for each domain and return the commands."""
    folder = tmp_path_factory.mktemp("domains")
    by_domain = {
        domain: (
            "autodata.generate",
            f"recipes/{domain}/generate.yaml",
            "recipes/models/laptop.yaml",
            f"run={folder / domain}",
            f"documents.path=recipes/{domain}/documents",
            server,
            *SMALL,
        )
        for domain in DOMAINS
    }
    run_at_once(*by_domain.values())
    return by_domain


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domains_recipe_runs_unchanged_with_every_role_on_the_embedded_model(commands, domain):
    """A 135M model writes nothing useful; the test checks that every reply has a defined outcome."""
    folder = Path(commands[domain][3].removeprefix("run="))
    (trajectory,) = read_records(folder / "trajectories.jsonl", TRAJECTORY)
    assert trajectory.end in ("rounds_used", "skipped", "accepted", "gave_up")
    assert trajectory.orchestrator.startswith("agent")
    assert sum(trajectory.tokens.values()) > 0
    summary = json.loads((folder / "manifest.json").read_text())["summary"]
    assert summary["rounds"] == len(trajectory.rounds)
    assert "up to date" in run(*commands[domain])


def test_solvers_and_judge_are_real_where_the_challenger_is_scripted(server, tmp_path, journal):
    """Thirteen criteria are judged under a schema, five per call, and every verdict is there."""
    recipe = load(
        GenerateRecipe,
        [
            "recipes/cs/generate.yaml",
            "recipes/models/laptop.yaml",
            server,
            "domain.weak_attempts=1",
            "domain.strong_attempts=1",
            "domain.max_rounds=1",
            "domain.criteria_per_call=5",
            "models.weak_solver.sampling.max_tokens=64",
        ],
    )
    document = Document("d", "Caches. " * 50, "d.txt")
    with fake_server(World(["accepted"])) as scripted, running(recipe.models, [], Path(tmp_path)):
        recipe.models.endpoints["scripted"] = Endpoint(model="fake", base_url=scripted.url)
        for role in (recipe.models.challenger, recipe.models.quality_verifier):
            role.endpoint = "scripted"

        async def go():
            client = Client(recipe.models, journal)
            try:
                return await orchestrate(Harness(base.load(recipe.domain, client), document, "agentic"))
            finally:
                await client.close()

        trajectory = asyncio.run(go())
    (only,) = trajectory.rounds
    assert len(only.weak) == 1
    assert all(a.outcome in (Outcome.ANSWERED, Outcome.CUT_OFF) and a.answer for a in only.weak)
    assert all(len(a.judgement.met) == 13 and a.judgement.score is not None for a in only.weak)
