"""Tests that no job is kept with other settings than those of the call, and that none is submitted without a place."""

from pathlib import Path

import pytest

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.cluster.resources import Site
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Record, read_record
from autodata.reproduce.request import read_request
from autodata.reproduce.slurm import submission
from autodata.reproduce.slurm.jobs import submit_all
from autodata.reproduce.slurm.room import find_unplaced
from autodata.types import WrongCall
from tests.test_reproduce import PAPER, Queue, finish, graph, in_the_repository, record_of
from tests.test_reproduce_jobs import ONE_GPU, arrange, forecast

pytestmark = pytest.mark.slow

__all__ = ["in_the_repository"]  # a fixture


def give(folder: Path, *values: str, table: str = "table1") -> tuple[list[Step], Record]:
    """Give the command once; return its steps and the record that it left."""
    steps = graph(f"recipes/tables/{table}.yaml", PAPER, f"runs={folder}", *values)
    return steps, submit_all(steps, record_of(folder / "reproduce" / table, steps))


def test_a_job_in_the_queue_with_other_settings_is_named_and_nothing_is_submitted(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    steps, record = give(tmp_path)
    submitted, before = len(queue.commands), read_record(record.folder)
    arm = next(step for step in steps if step.module == "autodata.generate")
    with pytest.raises(WrongCall) as refused:
        give(tmp_path, "documents.limit=5")
    text = str(refused.value)
    id = record.steps[arm.name].job
    assert f"job {id} was submitted with other settings of {arm.name}:\n  documents.limit: null → 5\n" in text
    assert f"`scancel {id}" in text and text.endswith("nothing was submitted")
    assert len(queue.commands) == len(queue.jobs) == submitted
    assert read_record(record.folder) == before
    give(tmp_path)  # the earlier settings
    give(tmp_path, "documents.limit=null")  # the same ones in other words
    assert len(queue.commands) == submitted


def test_a_job_that_is_submitted_again_does_not_differ_silently_from_those_that_are_kept(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    steps, record = give(tmp_path)
    arms = [step for step in steps if step.module == "autodata.generate"]
    finish(steps[0])
    del queue.jobs["1"], queue.jobs[record.steps[arms[0].name].job]  # the first arm has died, the second one runs
    with pytest.raises(WrongCall, match=f"other settings of {arms[1].name}"):
        give(tmp_path, "documents.limit=5")
    queue.jobs.clear()
    _, record = give(tmp_path, "documents.limit=5")  # none is left, so these are the settings
    assert all("documents.limit=5" in queue.commands[record.steps[arm.name].job] for arm in arms)


def test_settings_of_steps_whose_jobs_are_submitted_again_may_change(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    steps, record = give(tmp_path, table="table2")
    for step in steps:
        if step.module == "autodata.training.grpo":
            del queue.jobs[record.steps[step.name].job]
    _, record = give(tmp_path, "trainer.seed=7", table="table2")
    assert [id for id in queue.jobs if "trainer.seed=7" in queue.commands[id]]


def test_the_job_of_another_table_is_compared_as_well(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    give(tmp_path, table="table2")
    with pytest.raises(WrongCall, match=r"documents\.limit: null → 5"):
        give(tmp_path, "documents.limit=5")
    submitted = len(queue.commands)
    _, record = give(tmp_path)
    assert len(queue.commands) < submitted + len(record.steps)  # the arms are shared
    (tmp_path / "reproduce/table2/steps.json").unlink()
    with pytest.raises(WrongCall, match=r"documents\.limit: null → 5"):
        give(tmp_path, "documents.limit=5")  # this table has noted the arguments of the jobs that it kept


def test_a_job_whose_recipe_is_gone_or_of_which_nothing_is_known(tmp_path, monkeypatch):
    Queue(monkeypatch)
    _, record = give(tmp_path)
    file = record.folder / "steps.json"
    file.write_text(file.read_text().replace("paper.yaml", "gone.yaml"))
    with pytest.raises(WrongCall, match=r"its arguments were .*gone\.yaml"):
        give(tmp_path)
    file.unlink()
    give(tmp_path, "documents.limit=5")  # the job of an earlier version is kept as before


def test_a_dry_run_names_the_changes_and_the_jobs_that_are_kept_if_slurm_can_be_asked(tmp_path, monkeypatch):
    Queue(monkeypatch)
    give(tmp_path)
    arguments = ["recipes/tables/table1.yaml", PAPER, f"runs={tmp_path}"]

    def describe(*more: str) -> str:
        request, steps = read_request([*arguments, *more], "paper"), graph(*arguments, *more)
        return submission.describe_jobs(request, steps, set(), forecast(steps))

    assert "documents.limit: null → 5" in describe("documents.limit=5")
    text = describe()
    assert "| job 2 |" in text and "to do |" not in text
    assert "\n$2: job 2 is kept\n" in text and "generate.sh" not in text.rpartition("Jobs, each")[2]

    def fail() -> None:
        raise SlurmError("squeue not found")

    monkeypatch.setattr(jobs, "find_all", fail)
    text = describe("documents.limit=5")
    assert "null → 5" not in text and "| to do |" in text


# ── jobs without a place ─────────────────────────────────────────────────────────────────────────


def test_a_job_that_its_script_would_refuse_is_named_before_the_first_is_submitted(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    arguments = ["recipes/tables/table2.yaml", PAPER, f"runs={tmp_path}"]
    request, steps = read_request(arguments, "paper"), graph(*arguments)
    monkeypatch.setattr(submission, "read_site", lambda: {"AUTODATA_GPUS_PER_NODE": "4", "AUTODATA_NODES": "99"})
    problem = f"generate {tmp_path}/cs/agentic: models.endpoints.strong: a replica needs 8 GPUs, but a node has 4"
    with pytest.raises(WrongCall, match=problem):
        submission.submit(request, steps, set(), forecast(steps))
    assert not queue.commands
    text = submission.describe_jobs(request, steps, set(), forecast(steps))
    assert f"What is missing, so that nothing would be submitted:\n- {problem}" in text


def test_only_unfinished_jobs_need_a_place():
    steps = arrange(graph("recipes/tables/table2.yaml", PAPER))
    assert find_unplaced(steps, set(), Site()) == []
    problems = find_unplaced(steps, set(), Site(gpus_per_node=4))
    assert [problem.partition(": a replica")[0] for problem in problems] == [
        "generate runs/cs/agentic: models.endpoints.strong",
        "eval runs/cs/eval_base: models.endpoints.kimi",
    ]
    assert find_unplaced(steps, {step.name for step in steps}, Site(gpus_per_node=4)) == []


def test_a_training_and_a_command_with_its_servers_in_its_job_need_a_place_too():
    steps = graph("recipes/tables/table2.yaml", PAPER)
    trainings = [step for step in steps if step.module == "autodata.training.grpo"]
    (problem,) = find_unplaced(trainings, set(), Site(gpus_per_node=4))
    assert problem.startswith(f"{trainings[0].name}: models.endpoints.kimi: a replica needs 8 GPUs")
    small = [s for s in graph("recipes/tables/table2.yaml", ONE_GPU) if s.module == "autodata.generate"]
    assert find_unplaced(small, set(), Site(gpus_per_node=1)) == []


def test_a_site_without_gpus_has_no_place_for_large_servers(monkeypatch):
    arguments = ["recipes/tables/table1.yaml", PAPER]
    monkeypatch.setattr(submission, "read_site", lambda: {"AUTODATA_GPUS_PER_NODE": "0", "AUTODATA_NODES": "99"})
    steps = graph(*arguments)
    text = submission.describe_jobs(read_request(arguments, "paper"), steps, set(), forecast(steps))
    assert "models.endpoints.weak: a replica needs 1 GPUs, but a node has 0" in text
