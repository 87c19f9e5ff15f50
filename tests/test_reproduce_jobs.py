"""Tests how autodata.reproduce arranges jobs: evaluations that share servers, campaigns without room side by side."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from autodata.cluster import jobs
from autodata.cluster.jobs import Submission
from autodata.cluster.parts import plan_parts
from autodata.cluster.resources import Site
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.models import Endpoint, Models, RoleConfig, Server
from autodata.reproduce import follow, show
from autodata.reproduce.finished import find_finished
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import count_step_gpus, list_servers, schedule
from autodata.reproduce.record import Cost, Record, make_record, read_record
from autodata.reproduce.request import read_request
from autodata.reproduce.slurm.jobs import CAMPAIGN_MODULES, list_jobs, name_job, submit_all
from autodata.reproduce.slurm.joint import join, share_costs
from autodata.reproduce.slurm.room import Room, find_partition, find_too_large, find_unplaced, keep_apart
from tests.test_reproduce import (
    PAPER,
    TABLES,
    Queue,
    find,
    finish,
    graph,
    in_the_repository,
    require_order,
    verify_rows,
)

pytestmark = pytest.mark.slow

__all__ = ["in_the_repository"]  # a fixture
ONE_GPU = "recipes/models/one_gpu.yaml"
ARMS = ("generate runs/cs/agentic", "generate runs/cs/cot")


@cache
def build_all() -> list[Step]:
    """Build the graph of all tables of the paper."""
    return graph("recipes/tables", PAPER)


def forecast(steps: list[Step]) -> dict[str, Cost]:
    """Say what each step takes, without simulating it: an hour on the GPUs of its servers."""
    return {s.name: Cost("x", count_step_gpus(s.recipe), 3600.0, servers=list_servers(s.recipe)) for s in steps}


def arrange(steps: list[Step], nodes: int | None = None, finished: set[str] = frozenset()) -> list[Step]:
    room = Room(Site(), nodes)
    joined, costs = join(steps, set(finished), forecast(steps), room)
    return keep_apart(joined, set(finished), costs, room)


def list_joint(steps: list[Step]) -> list[list[str]]:
    return [[step.name.rpartition("/")[2] for step in job] for job in list_jobs(steps) if len(job) > 1]


def submit(queue: Queue, tmp_path: Path, steps: list[Step], nodes: int | None = None) -> Record:
    """Give the command once: find what is finished, arrange the rest, and submit it."""
    finished = find_finished(steps)
    arranged = arrange(steps, nodes, finished)
    record = make_record(tmp_path / "reproduce/t", arranged, forecast(steps), finished)
    return submit_all(arranged, record)


# ── evaluations that share servers ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("table", "joint"),
    [
        ("table1", []),
        ("table2", [["eval_cot", "eval_agentic"]]),
        ("table4", [["prbench_base", "prbench_strong"], ["prbench_cot", "prbench_agentic"]]),
        ("table6", [["eval_cot", "eval_agentic", "eval_combined"]]),
        ("table11", []),
    ],
)
def test_evaluations_that_become_ready_together_share_a_job(table, joint):
    assert list_joint(arrange(graph(f"recipes/tables/{table}.yaml", PAPER))) == joint


def test_no_job_has_evaluations_of_two_tables():
    """The evaluations of computer science and of science become ready after equally many steps, and share Kimi."""
    assert sorted(list_joint(arrange(build_all()))) == [
        ["eval_cot", "eval_agentic"],
        ["eval_cot", "eval_agentic", "eval_combined"],
        ["prbench_base", "prbench_strong"],
        ["prbench_cot", "prbench_agentic"],
    ]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("nodes", [None, 8])
def test_arranged_steps_are_the_same_and_can_run_in_their_order(path, nodes):
    steps = graph(str(path), PAPER)
    arranged = arrange(steps, nodes)
    require_order([replace(step, after=(*step.after, *step.behind)) for step in arranged])
    assert {step.name for step in arranged} == {step.name for step in steps}
    given = {step.name: step for step in steps}
    assert all({*given[step.name].after} <= {*step.after} for step in arranged)


def test_evaluations_without_a_common_server_have_jobs_of_their_own():
    judged = "models.endpoints.kimi.base_url=http://there/v1"
    assert list_joint(arrange(graph("recipes/tables/table2.yaml", PAPER, judged))) == []
    assert list_joint(arrange(graph("recipes/tables/table2.yaml", ONE_GPU))) == []  # each serves all within its job


def test_a_grader_of_prbench_is_shared_like_a_judge():
    steps = arrange(graph("recipes/tables/table4.yaml", PAPER, "recipes/legal/grader_gpt5.yaml"))
    for job in list_jobs(steps):
        if len(job) > 1:
            parts = plan_parts([step.arguments for step in job], 8)
            assert [{*part.borrowed} for part in parts] == [set(), {"kimi"}]


def test_a_joint_job_waits_for_what_each_evaluation_needs_and_no_more_than_fits_is_joined():
    steps = {step.name: step for step in arrange(graph("recipes/tables/table2.yaml", PAPER))}
    needed = {"grpo runs/cs/grpo_cot", "verify runs/cs/dataset", "grpo runs/cs/grpo"}
    assert {*steps["eval runs/cs/eval_cot"].after} == {*steps["eval runs/cs/eval_agentic"].after} == needed
    science = graph("recipes/tables/table6.yaml", PAPER)  # a node for Kimi, and four for each model
    assert list_joint(arrange(science, nodes=13)) == [["eval_cot", "eval_agentic", "eval_combined"]]
    assert list_joint(arrange(science, nodes=12)) == [["eval_cot", "eval_agentic"]]
    assert list_joint(arrange(science, nodes=8)) == []


def evaluate(name: str, **endpoints: Endpoint) -> Step:
    judge, solver = RoleConfig("judge"), RoleConfig(name)
    recipe = EvalRecipe(run=name, models=Models(endpoints, judge=judge, weak_solver=solver))
    return Step("autodata.eval.run", name, (), (), recipe)


def test_a_shared_server_does_the_work_of_all_and_is_counted_once():
    judge = Endpoint("k", server=Server("k", {"tensor-parallel-size": 8}))
    first, second = (evaluate(n, judge=judge, **{n: Endpoint(n, server=Server(n))}) for n in ("a", "b"))

    def share(busy: float, alone: float) -> list[tuple[int, float | None]]:
        busy_s = (("a", 9e9), ("b", 9e9), ("judge", busy))
        one, other = (Cost("x", 9, alone, busy=busy_s, servers=((n, 1, 1), ("judge", 8, 1))) for n in ("a", "b"))
        costs = share_costs([first, second], {first.name: one, second.name: other})
        return [(cost.gpus, cost.seconds) for cost in costs.values()]

    assert share(busy=60.0, alone=100.0) == [(9, 120.0), (1, 120.0)]
    assert share(busy=40.0, alone=100.0) == [(9, 100.0), (1, 100.0)]  # it has time for both
    unknown = {step.name: Cost("x", 9) for step in (first, second)}
    assert [cost.seconds for cost in share_costs([first, second], unknown).values()] == [None, None]


def test_finished_evaluations_are_skipped_and_a_failed_one_is_repeated_alone(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table6.yaml", PAPER, f"runs={tmp_path}")
    record = submit(queue, tmp_path, steps)
    names = [f"eval {tmp_path}/science/eval_{arm}" for arm in ("cot", "agentic", "combined")]
    (job,) = {record.steps[name].job for name in names}
    assert queue.commands[job].count("--and") == 2
    table = next(command for command in queue.commands.values() if "autodata.eval.tables" in command)
    base = record.steps[f"eval {tmp_path}/science/eval_base"].job
    assert f"--dependency=afterok:{base}:{job}" in table

    submitted = len(queue.commands)
    assert {submit(queue, tmp_path, steps).steps[name].job for name in names} == {job}
    assert len(queue.commands) == submitted  # nothing has changed

    by_name = {step.name: step for step in steps}
    for name in (*list(by_name)[: list(by_name).index(names[0])], names[0], names[2]):
        if "verify" not in name:
            finish(by_name[name])
    queue.jobs.clear()  # the job has failed with its second evaluation, and Slurm has cancelled those after it
    record = submit(queue, tmp_path, steps)
    again = queue.commands[record.steps[names[1]].job]
    assert "--and" not in again
    assert "recipes/science/eval_agentic.yaml" in again
    finish(by_name[names[1]])
    queue.jobs.clear()
    submitted = len(queue.commands)
    record = submit(queue, tmp_path, steps)
    assert not [c for c in list(queue.commands.values())[submitted:] if "slurm/eval.sh" in c]


def test_an_evaluation_that_runs_in_a_job_with_finished_ones_is_kept(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table4.yaml", PAPER, f"runs={tmp_path}")
    job = submit(queue, tmp_path, steps).steps[steps[0].name].job
    finish(find(steps, "autodata.eval.run"))
    record = submit(queue, tmp_path, steps)
    assert record.steps[f"eval {tmp_path}/legal/prbench_strong"].job == job


def test_status_tells_the_evaluations_of_one_job_apart(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table4.yaml", PAPER, f"runs={tmp_path}")
    job = submit(queue, tmp_path, steps).steps[steps[0].name].job
    finish(find(steps, "autodata.eval.run"))
    monkeypatch.setattr(jobs, "list_reasons", lambda: {job: ("RUNNING", "None")})
    standings = {s.name.rpartition("/")[2]: s for s in follow.look(tmp_path / "reproduce/t")[1]}
    base, strong = standings["prbench_base"], standings["prbench_strong"]
    assert [(s.state, s.job) for s in (base, strong)] == [("finished", job), ("running", job)]
    monkeypatch.setattr(jobs, "list_reasons", dict)
    assert [s.state for s in follow.look(tmp_path / "reproduce/t")[1][:2]] == ["finished", "died"]


def test_status_says_for_which_campaign_another_waits(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    submit(queue, tmp_path, steps, nodes=8)
    finish(steps[0])
    monkeypatch.setattr(jobs, "list_reasons", lambda: dict.fromkeys(queue.jobs, ("PENDING", "Dependency")))
    standings = {s.name.rpartition("/")[2]: s for s in follow.look(tmp_path / "reproduce/t")[1]}
    assert standings["cot"].detail == f"for generate {tmp_path}/cs/agentic"


def test_another_table_finds_an_evaluation_in_the_job_of_several(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    submit(queue, tmp_path, steps)
    submitted = len(queue.commands)
    alone = [step for step in steps if not step.name.endswith(("eval_agentic", "table2.md"))]
    record = submit_all(arrange(alone), make_record(tmp_path / "other", arrange(alone), forecast(alone), set()))
    assert len(queue.commands) == submitted
    assert record.steps[alone[-1].name].job in queue.jobs


def test_a_job_of_several_is_replaced_if_one_of_them_waits_for_a_job_that_died(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    record = submit(queue, tmp_path, steps)
    before = {name.rpartition("/")[2]: entry.job for name, entry in record.steps.items()}
    del queue.jobs[before["grpo_cot"]]
    for name in ("dataset", "s2orc", "agentic", "cot"):
        queue.jobs.pop(before[name], None)
    for step in steps[:3]:
        finish(step)
    verify_rows(steps[3])
    after = {n.rpartition("/")[2]: e.job for n, e in submit(queue, tmp_path, steps).steps.items()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"grpo_cot", "eval_cot", "eval_agentic", "table2.md"}
    assert after["eval_cot"] == after["eval_agentic"]
    assert f"afterok:{after['grpo_cot']}:{before['grpo']}" in " ".join(queue.commands[after["eval_cot"]])


def test_the_name_of_a_job_of_several_fits_into_a_file_name():
    job = next(job for job in list_jobs(arrange(graph("recipes/tables/table6.yaml", PAPER))) if len(job) > 1)
    assert [len(name_job(job)), len(name_job(job[:1]))] == [46, 24]


# ── campaigns without room side by side ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(("nodes", "behind"), [(None, ()), (12, ()), (11, (ARMS[0],)), (6, (ARMS[0],))])
def test_an_arm_waits_for_the_other_if_there_are_not_enough_nodes_for_both(nodes, behind):
    steps = {step.name: step for step in arrange(graph("recipes/tables/table2.yaml", PAPER), nodes)}
    assert steps[ARMS[0]].behind == ()
    assert steps[ARMS[1]].behind == behind
    others = [step for name, step in steps.items() if name not in ARMS]
    assert all({*ARMS}.isdisjoint(step.behind) for step in others)  # whatever needs both arms never stands beside them
    assert {step.behind for step in others if step.module not in CAMPAIGN_MODULES} == {()}


@pytest.mark.parametrize("nodes", [8, 13, 20, 30])
def test_whatever_may_run_at_the_same_time_has_room(nodes):
    """Campaigns of which none waits for another, directly or not, are those that may be up together."""
    room = Room(Site(), nodes)
    steps = build_all()
    joined, costs = join(steps, set(), forecast(steps), room)
    arranged = keep_apart(joined, set(), costs, room)
    waits: dict[str, set[str]] = {}
    for step in arranged:
        needed = {*step.after, *step.behind}
        waits[step.name] = needed.union(*(waits[name] for name in needed))
    sizes = {step.name: -(-costs[step.name].gpus // 8) for step in arranged if step.module in CAMPAIGN_MODULES}
    for last in (step.name for step in arranged if sizes.get(step.name)):
        beside = [name for name in waits if name in sizes and name not in waits[last] and last not in waits[name]]
        earlier = beside[: beside.index(last)]
        assert sizes[last] + sum(sizes[name] for name in earlier) <= nodes, last


def test_a_campaign_that_does_not_fit_alone_is_named():
    steps = graph("recipes/tables/table2.yaml", PAPER)
    servers = (("kimi", 8, 1), ("strong", 8, 1), ("weak", 1, 32))
    costs = forecast(steps) | {name: Cost("x", 48, 3600.0, servers=servers) for name in ARMS}
    assert find_too_large(steps, set(), costs, Room(Site(), 6)) == find_too_large(steps, set(), costs, Room()) == []
    (problem,) = find_too_large(steps, set(), costs, Room(Site(), 5))  # once for both arms
    assert problem == (
        "generate runs/cs/agentic: its servers need 6 nodes of 8 GPUs and have 5; lower "
        "models.endpoints.weak.server.replicas, which is 32, or correct AUTODATA_NODES in slurm/site.env"
    )
    assert find_too_large(steps, {*ARMS}, costs, Room(Site(), 5)) == []


def test_every_campaign_that_does_not_fit_is_named():
    steps = graph("recipes/tables/table2.yaml", PAPER)
    costs = {step.name: Cost("x", 16, servers=(("kimi", 8, 1), ("weak", 8, 1))) for step in steps}
    costs["eval runs/cs/eval_base"] = Cost("x", 24, servers=(("kimi", 8, 1), ("weak", 8, 2)))
    first, second = find_too_large(steps, set(), costs, Room(Site(), 1))
    assert first.startswith("generate runs/cs/agentic: its servers need 2 nodes of 8 GPUs and have 1; one replica of")
    assert second.startswith("eval runs/cs/eval_base: ")
    nowhere = find_too_large(steps, set(), costs, Room(Site(), 0))[0]
    assert nowhere.endswith("and have 0; sinfo lists none: correct AUTODATA_GPUS_PER_NODE or SBATCH_PARTITION in "
                            "slurm/site.env")  # fmt: skip


def test_an_arm_that_is_submitted_again_waits_for_the_one_that_runs(tmp_path, monkeypatch):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    record = submit(queue, tmp_path, steps, nodes=8)
    first, second = (record.steps[name.replace("runs", str(tmp_path))].job for name in ARMS)
    assert f"--dependency=afterok:1,afterany:{first}" in queue.commands[second]
    finish(steps[0])
    del queue.jobs["1"], queue.jobs[first]  # the first arm has died, and the second runs
    record = submit(queue, tmp_path, steps, nodes=8)
    again, kept = (record.steps[name.replace("runs", str(tmp_path))].job for name in ARMS)
    assert kept == second
    assert f"--dependency=afterany:{second}" in queue.commands[again]


def test_an_arm_waits_for_those_of_another_table(tmp_path, monkeypatch):
    queue, law = Queue(monkeypatch), graph("recipes/tables/table3.yaml", PAPER, f"runs={tmp_path}")
    record = submit(queue, tmp_path, law, nodes=12)
    arms = [entry for entry in record.steps.values() if entry.module == "autodata.generate"]
    monkeypatch.setattr(jobs, "list_reasons", lambda: dict.fromkeys(queue.jobs, ("PENDING", "Dependency")))
    monkeypatch.setattr(jobs, "count_nodes", lambda gpus, partition: 17)
    folder = tmp_path / "reproduce/table2"
    room = Room.read({}, folder)
    assert (room.nodes, [*room.others]) == (17, arms)
    steps = graph("recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}")
    costs = forecast(steps)
    steps = keep_apart(steps, set(), costs, room)
    record = submit_all(steps, make_record(folder, steps, costs, set()), room.list_jobs())
    first, second = (record.steps[name.replace("runs", str(tmp_path))].job for name in ARMS)
    waits = [word for id in (first, second) for word in queue.commands[id] if word.startswith("--dependency")]
    assert waits[0].endswith(f",afterany:{arms[1].job}")  # one of law's has room beside it
    assert waits[1].endswith(f",afterany:{arms[1].job}:{first}")
    assert Room.read({"AUTODATA_NODES": "3"}, folder).nodes == 3


def test_a_dry_run_and_the_forecast_show_who_waits_for_room():
    request = read_request(["recipes/tables/table2.yaml", PAPER], "paper")
    steps = arrange(graph("recipes/tables/table2.yaml", PAPER), 8)
    record = make_record(Path("x"), steps, forecast(steps), set())
    text = show.describe(request, steps, record, Room(Site(), 8))
    assert "GPUs of a node: 8; nodes for servers: 8." in text
    assert "| 3 | generate runs/cs/cot | 1, 2 | to do | 6 |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("$3: ")]
    assert "--dependency=afterok:$1,afterany:$2 " in line
    times = schedule(steps, forecast(steps), Site())
    assert times[ARMS[1]][1] - times[ARMS[0]][1] == 3600.0


def test_forecasts_of_time_have_no_more_nodes_than_there_are(tmp_path, monkeypatch):
    """Three trainings of two nodes and an evaluation of four become ready together."""
    table = "recipes/tables/table5.yaml"
    steps = arrange(graph(table, PAPER), 6)
    record = make_record(tmp_path, steps, forecast(steps), set())
    record.write()
    request = read_request([table, PAPER], "paper")
    texts = [show.describe(request, steps, record, Room(Site(), nodes)) for nodes in (6, 30)]
    assert "on at most 6 nodes at a time" in texts[0]
    hours = [int(re.search(r"tokens, (\d+) h 00 min", text)[1]) for text in texts]
    assert hours[0] > hours[1]
    for nodes, count in zip((6, 30), hours, strict=True):
        monkeypatch.setenv("AUTODATA_NODES", str(nodes))
        assert f"running steps counted whole: {count} h 00 min," in follow.write_standing(*follow.look(tmp_path))


@pytest.mark.parametrize(
    ("listed", "partition", "count"),
    [
        ("n1|main*|gpu:8|idle\nn2|main*|gpu:h200:8(S:0-1)|mixed\nn2|other|gpu:h200:8(S:0-1)|mixed", "", 2),
        ("n1|main*|gpu:8|down*\nn2|main*|gpu:8|drained\nn3|main*|fs:9,gpu:a:4,gpu:b:4|allocated", "", 1),
        ("n1|main*|gpu:7|idle\nn2|main*|(null)|idle", "", 0),
        ("n1|other|gpu:8|idle\nn2|other|gpu:8|idle", "other", 2),
        ("", "", 0),
    ],
)
def test_the_nodes_of_a_partition_are_counted(slurm, listed, partition, count):
    slurm("sinfo", f"printf '%s' '{listed}'")
    assert jobs.count_nodes(8, partition) == count


@pytest.mark.parametrize(
    ("options", "partition"),
    [
        ("", "all"),
        ("--qos=x", "all"),
        ("--partition=gpu --qos=x", "gpu"),
        ("--partition gpu", "gpu"),
        ("-p gpu", "gpu"),
        ("--partition=a --partition=b", "b"),
    ],
)
def test_the_partition_is_that_of_the_servers(options, partition):
    environment = {"SBATCH_PARTITION": "all", "AUTODATA_SERVER_OPTIONS": options}
    assert find_partition(Site.read(environment), environment) == partition
    assert find_partition(Site(), {}) == ""


def test_advice_names_a_key_of_the_recipe_and_leaves_what_no_node_can_hold_to_its_script():
    steps = [step for step in graph("recipes/tables/table2.yaml", PAPER) if step.target.endswith("eval_cot")]
    (name,) = (step.name for step in steps)
    costs = {name: Cost("x", 32, servers=(("kimi", 8, 1), ("evaluated", 8, 3)))}
    (problem,) = find_too_large(steps, set(), costs, Room(Site(), 3))
    assert "lower models.endpoints.weak.server.replicas, which is 3, or" in problem
    assert find_too_large(steps, set(), costs, Room(Site(gpus_per_node=4), 3)) == []
    (problem,) = find_unplaced(steps, set(), Site(gpus_per_node=4))
    assert "a replica needs 8 GPUs" in problem


def test_without_slurm_the_nodes_are_not_known(slurm):
    slurm("sinfo", "exit 1")
    assert jobs.count_nodes(8, "") is None


def test_a_name_with_a_bar_is_no_other_job(slurm):
    slurm("squeue", "printf '7|PENDING|N/A|a|b\\n8|COMPLETING|N/A|c'")
    assert [(job.id, job.name) for job in jobs.find_all()] == [("7", "a|b")]
    assert [(job.id, job.name) for job in jobs.find_ending()] == [("8", "c")]


def test_the_record_keeps_who_waits_for_room(tmp_path):
    steps = arrange(graph("recipes/tables/table2.yaml", PAPER), 8)
    make_record(tmp_path, steps, forecast(steps), set()).write()
    assert read_record(tmp_path).steps[ARMS[1]].behind == (ARMS[0],)


# ── campaigns that no table submitted ────────────────────────────────────────────────────────────


def queue_up(monkeypatch, *submissions: tuple[str, str], folder: Path | None = None) -> None:
    """Let Slurm know jobs by their numbers and their commands, as if called in a folder."""
    listed = [Submission(id, str(folder or Path.cwd()), tuple(command.split())) for id, command in submissions]
    monkeypatch.setattr(jobs, "list_submissions", lambda: listed)
    monkeypatch.setattr(jobs, "list_reasons", lambda: {id: ("RUNNING", "None") for id, _ in submissions})


def test_the_servers_of_a_campaign_by_hand_take_room(monkeypatch, tmp_path):
    queue_up(
        monkeypatch, ("7", f"/here/slurm/generate.sh recipes/legal/generate.yaml {PAPER}"), ("8", "/bin/other.sh")
    )
    room = Room.read({"AUTODATA_NODES": "12"}, tmp_path / "reproduce/table2")
    assert [(e.name, e.job, e.cost.gpus) for e in room.others] == [("generate runs/legal/agentic (by hand)", "7", 48)]
    steps = graph("recipes/tables/table2.yaml", PAPER)
    costs = forecast(steps)
    steps = {step.name: step for step in keep_apart(steps, set(), costs, room)}
    assert [steps[name].behind for name in ARMS] == [(), (ARMS[0],)]  # the earliest stay: it and the first arm
    room = replace(room, nodes=11)
    steps = {step.name: step for step in keep_apart([*steps.values()], set(), costs, room)}
    assert steps[ARMS[0]].behind == ("generate runs/legal/agentic (by hand)",)
    text = show.describe(
        read_request(["recipes/tables/table2.yaml", PAPER], "paper"),
        [*steps.values()],
        make_record(tmp_path, [*steps.values()], costs, set()),
        room,
    )
    assert "- job 7 (generate runs/legal/agentic (by hand)): 6" in text
    assert re.search(r"^\$2: .*--dependency=afterok:\$1,afterany:7 ", text, re.MULTILINE)


@pytest.mark.parametrize("nodes", [None, 100])
def test_a_step_waits_for_whoever_makes_its_run_by_hand(monkeypatch, tmp_path, nodes):
    queue_up(monkeypatch, ("7", f"slurm/generate.sh recipes/cs/generate.yaml {PAPER} documents.limit=5"))
    room = replace(Room.read({"AUTODATA_NODES": "9"}, tmp_path / "reproduce/table2"), nodes=nodes)
    steps = graph("recipes/tables/table2.yaml", PAPER)
    steps = {step.name: step for step in keep_apart(steps, set(), forecast(steps), room)}
    assert [steps[name].behind for name in ARMS] == [("generate runs/cs/agentic (by hand)",), ()]
    assert room.list_jobs() == {"generate runs/cs/agentic (by hand)": "7"}


@pytest.mark.parametrize("nodes", [8, 11])
def test_a_job_before_the_step_whose_run_is_made_by_hand_leaves_room_for_it(monkeypatch, tmp_path, nodes):
    """Both would hold some nodes and wait for more, for the step itself waits for the one by hand."""
    queue_up(monkeypatch, ("7", f"slurm/generate.sh recipes/cs/generate_cot.yaml {PAPER}"))
    room = Room.read({"AUTODATA_NODES": str(nodes)}, tmp_path / "reproduce/table2")
    steps = graph("recipes/tables/table2.yaml", PAPER)
    steps = {step.name: step for step in keep_apart(steps, set(), forecast(steps), room)}
    by_hand = f"{ARMS[1]} (by hand)"
    assert steps[ARMS[0]].behind == (by_hand,)
    assert steps[ARMS[1]].behind == (by_hand, ARMS[0])
    room = replace(room, nodes=12)
    steps = {step.name: step for step in keep_apart([*steps.values()], set(), forecast([*steps.values()]), room)}
    assert [steps[name].behind for name in ARMS] == [(), (by_hand,)]


def test_each_part_of_an_array_and_each_evaluation_of_a_job_is_counted(monkeypatch, tmp_path):
    shard = f"slurm/generate.sh recipes/cs/generate.yaml {PAPER} documents.shard=%a/2"
    both = f"slurm/eval.sh recipes/cs/eval_cot.yaml {PAPER} --and recipes/cs/eval_agentic.yaml {PAPER}"
    queue_up(monkeypatch, ("7", shard), ("7", shard), ("9", shard.replace("%a", "1")), ("8", both))
    room = Room.read({"AUTODATA_NODES": "9"}, tmp_path / "reproduce/table2")
    assert [(e.job, e.cost.gpus) for e in room.others] == [("7", 48), ("7", 48), ("9", 48), ("8", 40), ("8", 32)]
    assert room.list_jobs()["generate runs/cs/agentic/shards/1_of_2 (by hand)"] == "7:9"


def test_whatever_makes_a_run_by_hand_is_awaited(monkeypatch, tmp_path):
    """An ingest that runs holds its folder: a second one would fail, and Slurm would cancel all after it."""
    queue_up(
        monkeypatch,
        ("5", "slurm/ingest.sh recipes/ingest/ingest_s2orc.yaml"),
        ("6", f"slurm/train.sh recipes/cs/grpo.yaml {PAPER}"),
        ("7", f"slurm/run.sh autodata.generate recipes/cs/generate.yaml {ONE_GPU}"),
        ("8", "slurm/run.sh autodata.verify runs/cs/dataset"),
        ("9", "slurm/run.sh autodata.eval.tables recipes/tables/table2.yaml"),
        ("10", "slurm/serve.sh runs/x weak 8"),
        ("11", "slurm/run.sh"),
    )
    room = Room.read({"AUTODATA_NODES": "6"}, tmp_path / "reproduce/table2")
    steps = graph("recipes/tables/table2.yaml", PAPER)
    arranged = keep_apart(steps, set(), forecast(steps), room)
    behind = {step.name: step.behind for step in arranged if any("by hand" in name for name in step.behind)}
    names = ["ingest runs/ingest/s2orc", "generate runs/cs/agentic", "grpo runs/cs/grpo"]
    assert behind == {name: (f"{name} (by hand)",) for name in names}
    assert {entry.job for entry in room.others} == {"5", "6", "7"} and not room.unread


def test_a_campaign_that_cannot_be_read_from_here_is_named(monkeypatch, tmp_path):
    queue_up(monkeypatch, ("7", "slurm/generate.sh recipes/cs/generate.yaml"), ("8", "slurm/meta.sh a=[1, 2]"))
    room = Room.read({"AUTODATA_NODES": "9"}, tmp_path / "reproduce/table2")
    assert (room.others, len(room.unread)) == ([], 2)
    assert "- job 7 (slurm/generate.sh recipes/cs/generate.yaml in " in room.describe()
    queue_up(monkeypatch, ("7", f"slurm/generate.sh recipes/cs/generate.yaml {PAPER}"), folder=tmp_path)
    assert len(Room.read({}, tmp_path / "reproduce/table2").unread) == 1


def test_jobs_of_tables_are_not_by_hand(monkeypatch, tmp_path):
    queue, steps = Queue(monkeypatch), graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}")
    record = submit(queue, tmp_path, steps)
    queue_up(monkeypatch, *((id, " ".join(command[1:])) for id, command in queue.commands.items()))
    for folder in (record.folder, tmp_path / "reproduce/other"):
        room = Room.read({"AUTODATA_NODES": "9"}, folder)
        assert not [entry for entry in room.others if "by hand" in entry.name] and not room.unread


def test_a_job_that_two_tables_need_is_counted_once(monkeypatch, tmp_path):
    queue = Queue(monkeypatch)
    record = submit(queue, tmp_path, graph("recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}"))
    replace(record, folder=tmp_path / "reproduce/again").write()
    monkeypatch.setattr(jobs, "list_reasons", lambda: dict.fromkeys(queue.jobs, ("PENDING", "Dependency")))
    assert [entry.job for entry in Room.read({"AUTODATA_NODES": "9"}, tmp_path / "reproduce/third").others] == [
        "2",
        "3",
    ]


def test_how_jobs_were_submitted_is_read(slurm):
    slurm("squeue", "printf '7|RUNNING|/x|/x/slurm/a.sh b c=1|2\\n8|PENDING|/x|(null)\\n9|COMPLETING|/x|z'")
    first, second = jobs.list_submissions()
    assert first == Submission("7", "/x", ("/x/slurm/a.sh", "b", "c=1|2"))
    assert second.id == "8"
