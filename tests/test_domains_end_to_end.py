"""Tests the commands of the three domains, from recipe to examples, against a scripted server."""

import json
import sys

import pytest

from autodata import dataset, generate
from autodata.run.records import read_records
from autodata.types import EXAMPLE, TRAJECTORY, End, Role
from tests import test_legal, test_science
from tests.helpers.commands import fails
from tests.helpers.fake_server import fake_server
from tests.helpers.fake_world import SERVES, World

pytestmark = pytest.mark.slow
OUTCOMES = ["leak", "too_easy", "no_better", "small_gap", "malformed", "accepted"]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command(module, recipe, *arguments) runs a command and returns its output."""

    def run(module, recipe, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", recipe, *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return run


def served_by(server) -> list[str]:
    """Return arguments that serve weak and strong solver under their names and the other roles as `fake`."""
    names = {role: SERVES.get(role, "fake") for role in Role}
    endpoints = [
        f"models.endpoints.{n}.{key}"
        for n in ("fake", "weak", "strong")
        for key in (f"model={n}", f"base_url={server.url}", "retries=1")
    ]
    return [*endpoints, *(f"models.{role}.endpoint={name}" for role, name in names.items())]


def write_papers(folder, count):
    folder.mkdir()
    for i in range(count):
        (folder / f"paper{i}.txt").write_text(f"Paper {i}. " + "Flash caches wear out. " * 30)
    return folder


@pytest.mark.parametrize("orchestrator", ["fixed", "agent"])
def test_cs_from_papers_to_examples(command, tmp_path, orchestrator):
    papers = write_papers(tmp_path / "papers", 3)
    with fake_server(World(OUTCOMES)) as server:
        shared = [f"documents.path={papers}", *served_by(server)]
        out = command(
            generate, "recipes/cs/generate.yaml", f"run={tmp_path}/agentic", *shared, f"orchestrator={orchestrator}"
        )
        command(
            generate,
            "recipes/cs/generate_best_of_n.yaml",
            f"run={tmp_path}/best",
            f"budget_from={tmp_path}/agentic",
            *shared,
        )
    rounds = "0 of 3 first rounds and 3 of 15 later rounds were accepted"
    assert f"3 of 3 documents have an accepted candidate: {rounds}" in out
    assert "accepted 3, low_quality 3, malformed 3, small_gap 3, too_easy 3, too_hard 3" in out
    trajectories = read_records(tmp_path / "agentic" / "trajectories.jsonl", TRAJECTORY)
    assert {(t.end, len(t.rounds)) for t in trajectories} == {(End.ACCEPTED, 6)}
    budgets = {t.document_id: sum(t.tokens.values()) for t in trajectories}
    best = read_records(tmp_path / "best" / "trajectories.jsonl", TRAJECTORY)
    last_round = 18 * 17  # a proposal, two checks, six answers, six judgements, and two calls that may follow
    assert all(budgets[t.document_id] <= sum(t.tokens.values()) <= budgets[t.document_id] + last_round for t in best)
    with fake_server(World(["too_easy"])) as server:
        command(
            generate,
            "recipes/cs/generate_cot.yaml",
            f"run={tmp_path}/cot",
            f"documents.path={papers}",
            *served_by(server),
        )
    command(
        dataset,
        "recipes/cs/dataset.yaml",
        f"run={tmp_path}/dataset",
        f"arms.agentic={tmp_path}/agentic",
        f"arms.cot={tmp_path}/cot",
        "test_fraction=0.3",
    )
    examples = read_records(tmp_path / "dataset" / "examples.jsonl", EXAMPLE)
    assert examples
    assert {e.accepted for e in examples if e.arm == "agentic"} <= {True}


def test_a_budget_that_is_used_up_is_a_trajectory_without_an_example(command, tmp_path):
    papers = write_papers(tmp_path / "papers", 1)
    with fake_server(World(["no_better"])) as server:
        out = command(
            generate,
            "recipes/cs/generate.yaml",
            f"run={tmp_path}/run",
            f"documents.path={papers}",
            "domain.max_rounds=3",
            *served_by(server),
        )
    assert "0 of 1 documents have an accepted candidate" in out
    assert "work on the documents ended with: rounds_used 1" in out


def test_the_run_stops_when_hardly_anything_is_accepted(command, tmp_path):
    papers = write_papers(tmp_path / "papers", 5)
    with fake_server(World(["no_better"])) as server, fails("min_acceptance"):
        command(
            generate,
            "recipes/cs/generate.yaml",
            f"run={tmp_path}/run",
            f"documents.path={papers}",
            "domain.max_rounds=1",
            "min_acceptance=0.5",
            "min_acceptance_after=2",
            "documents_in_flight=1",
            *served_by(server),
        )
    assert len(read_records(tmp_path / "run" / "trajectories.jsonl", TRAJECTORY)) == 2


def test_a_document_that_fails_again_and_again_is_left_out_and_named(command, tmp_path, capsys):
    papers = write_papers(tmp_path / "papers", 2)

    class Mute(World):
        def _verify(self, body):
            reply = super()._verify(body)
            if "Paper 1" in str(body["messages"]):
                reply.body["choices"][0]["message"]["content"] = "hm"
            return reply

    with fake_server(Mute(["accepted"])) as server:
        arguments = [
            f"run={tmp_path}/run",
            f"documents.path={papers}",
            "max_error_rate=1",
            "max_unmeasured=1",
            "quarantine_after=2",
            *served_by(server),
        ]
        for _ in range(2):
            with fails("not complete"):
                command(generate, "recipes/cs/generate.yaml", *arguments)
        calls = len(server.requests)
        command(generate, "recipes/cs/generate.yaml", *arguments)
        assert len(server.requests) == calls + 3  # probes
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["quarantined"] == ["paper1.txt"]
    assert manifest["finished"]


@pytest.mark.parametrize(
    ("domain", "world"),
    [("legal", lambda: test_legal.Court()), ("science", lambda: test_science.World({}, default=(0, 8)))],
)
def test_law_and_science_from_recipe_to_trajectories(command, tmp_path, domain, world):
    with fake_server(world()) as server:
        values = [f"run={tmp_path}/run", f"documents.path=recipes/{domain}/documents", *served_by(server)]
        out = command(generate, f"recipes/{domain}/generate.yaml", *values)
    assert "3 of 3 documents have an accepted candidate" in out
