"""Tests which servers a step of a graph really starts, on how many GPUs, and the nodes that they need."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.cluster.resources import Site
from autodata.eval import campaign
from autodata.reproduce import nodes
from autodata.reproduce.costs import Evidence, forecast, measure
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import count_nodes, count_processes, count_step_gpus, keep_one_of_each, list_servers
from autodata.reproduce.record import Cost
from autodata.reproduce.slurm.joint import share_costs
from autodata.run.folder import MANIFEST
from tests.test_reproduce import PAPER, find, finish, graph, in_the_repository

pytestmark = pytest.mark.slow

__all__ = ["in_the_repository"]  # a fixture
ONE_NODE = "recipes/models/one_node.yaml"


def count(*servers: tuple[int, int], per_node: int = 8) -> int:
    named = tuple((f"e{number}", gpus, replicas) for number, (gpus, replicas) in enumerate(servers))
    return count_nodes(Cost("x", sum(g * r for g, r in servers), servers=named), Site(gpus_per_node=per_node))


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ([(8, 1), (8, 1), (1, 32)], 6),
        ([(8, 1), (1, 5)], 2),
        ([(4, 1), (1, 4)], 1),
        ([(5, 1), (5, 1)], 2),
        ([(5, 1), (3, 1)], 1),
        ([(5, 1), (5, 1), (5, 1)], 3),  # 15 GPUs would fit two nodes, were a server not on one node
        ([(3, 5)], 3),  # two replicas to a node
        ([(3, 1), (3, 1), (5, 1), (5, 1)], 3),  # in this order: the small ones share the first node
        ([(16, 1)], 2),  # no node has room for it, which its script says
        ([], 0),
    ],
)
def test_servers_that_take_a_part_of_a_node_are_not_split(servers, expected):
    assert count(*servers) == expected


def test_a_site_whose_nodes_have_no_gpu_has_a_number_too():
    assert count((1, 2), per_node=0) == 2


def test_the_nodes_of_a_shared_server_are_counted_once():
    steps = [s for s in graph("recipes/tables/table2.yaml", PAPER) if s.target.endswith(("eval_cot", "eval_agentic"))]
    costs = {step.name: Cost("x", 13, 3600.0, servers=(("kimi", 8, 1), ("weak", 1, 5))) for step in steps}
    shared = share_costs(steps, costs)
    assert [(cost.gpus, cost.servers) for cost in shared.values()] == [
        (13, (("kimi", 8, 1), ("weak", 1, 5))),
        (5, (("weak", 1, 5),)),
    ]


def test_a_forecast_has_the_servers_of_a_step_and_of_a_training_with_its_judge():
    steps = graph("recipes/tables/table2.yaml", PAPER)
    costs = forecast([find(steps, "autodata.training.grpo"), find(steps, "autodata.eval.run")])
    training, evaluation = costs.values()
    assert training.servers == (("training", 1, 8), ("kimi", 8, 1))
    assert {*evaluation.servers} == {("kimi", 8, 1), ("weak", 1, 5)}
    assert all(cost.gpus == sum(gpus * replicas for _, gpus, replicas in cost.servers) for cost in costs.values())


def test_a_command_that_starts_its_servers_itself_has_one_replica_of_each():
    """`run.sh` asks for the GPUs of one, so a forecast of four would be too short."""
    more = graph("recipes/tables/table11.yaml", ONE_NODE)
    one = graph("recipes/tables/table11.yaml", ONE_NODE, "models.endpoints.large.server.replicas=1")
    costs = [forecast([find(steps, "autodata.eval.question_types")]) for steps in (more, one)]
    assert costs[0] == costs[1]
    assert [cost.gpus for cost in costs[0].values()] == [1]


def test_on_this_machine_every_server_has_one_replica():
    step = find(graph("recipes/tables/table2.yaml", PAPER), "autodata.eval.run")
    here, there = (forecast([step], Evidence(is_local=is_local))[step.name] for is_local in (True, False))
    assert (here.gpus, there.gpus) == (9, 13)
    assert here.seconds > there.seconds
    assert count_step_gpus(keep_one_of_each(step.recipe)) == 9
    assert keep_one_of_each(None) is None


def note(step: Step) -> Step:
    """Finish a step after an hour."""
    finish(step)
    path = Path(step.target) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"elapsed_s": 3600.0}))
    return step


def test_a_finished_step_held_the_gpus_that_its_job_started(tmp_path, monkeypatch):
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    training, evaluation = note(find(steps, "autodata.training.grpo")), note(find(steps, "autodata.eval.run"))
    assert measure(training).gpu_hours == 16  # those that train, and the judge's
    monkeypatch.setattr(nodes, "count_answers", lambda recipe: 5 * campaign.ANSWERS_PER_REPLICA)
    assert measure(evaluation).gpu_hours == 13
    monkeypatch.setattr(nodes, "count_answers", lambda recipe: 32 * campaign.ANSWERS_PER_REPLICA)
    assert measure(evaluation).gpu_hours == 40


def test_a_training_has_as_many_processes_as_its_accelerate_file_says(tmp_path, monkeypatch):
    step = find(graph("recipes/tables/table2.yaml", PAPER), "autodata.training.grpo")
    assert count_processes(step.recipe) == 8
    (tmp_path / "large.yaml").write_text("num_processes: 16\n")
    monkeypatch.setenv("AUTODATA_ACCELERATE", str(tmp_path / "large.yaml"))
    cost = forecast([step])[step.name]
    assert (cost.gpus, count_nodes(cost, Site())) == (24, 3)
    small = find(graph("recipes/tables/table2.yaml", scale="small"), "autodata.training.grpo")
    monkeypatch.delenv("AUTODATA_ACCELERATE")
    assert (count_processes(small.recipe), count_step_gpus(small.recipe)) == (None, 0)
    assert count_processes(replace(step.recipe, lora={"r": 8})) == 1


def test_the_documents_of_an_ingest_that_is_not_finished_are_assumed(tmp_path):
    ingest, arm, *_ = graph("recipes/tables/table1.yaml", f"runs={tmp_path}", scale="small")
    finish(ingest)
    path = Path(ingest.target) / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": None}))
    cost = forecast([arm])[arm.name]
    assert "; 24 documents assumed" in cost.source
    assert cost.seconds and cost.tokens


def test_a_step_that_cannot_be_planned_has_the_nodes_of_its_servers():
    step = find(graph("recipes/tables/table2.yaml", PAPER), "autodata.generate")
    recipe = deepcopy(step.recipe)
    recipe.domain.name = "mine"
    cost = forecast([replace(step, recipe=recipe)])[step.name]
    assert cost.source.startswith("not planned: ")
    assert cost.servers == list_servers(recipe) and cost.servers
    assert cost.gpus == count_step_gpus(recipe)
