"""Tests that autodata.status names the jobs of other tables for which those of a table wait."""

import pytest

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.cluster.resources import Site
from autodata.reproduce import follow
from autodata.reproduce.record import Record, make_record
from autodata.reproduce.slurm.jobs import submit_all
from autodata.reproduce.slurm.room import Room, keep_apart
from tests.test_reproduce import PAPER, Queue, finish, graph, in_the_repository
from tests.test_reproduce_jobs import forecast

pytestmark = pytest.mark.slow

__all__ = ["in_the_repository"]  # a fixture


@pytest.fixture
def tables(tmp_path, monkeypatch) -> tuple[Queue, Record, Record]:
    """Submits Table 1, then Table 3, with nodes for one arm at a time: those of Table 3 wait for those of Table 1."""
    queue, records, others = Queue(monkeypatch), [], []
    for table in ("table1", "table3"):
        steps = graph(f"recipes/tables/{table}.yaml", PAPER, f"runs={tmp_path}")
        costs, room = forecast(steps), Room(Site(), 6, others)
        steps = keep_apart(steps, set(), costs, room)
        record = make_record(tmp_path / "reproduce" / table, steps, costs, set())
        records.append(submit_all(steps, record, room.list_jobs()))
        others = [e for e in records[0].steps.values() if e.module == "autodata.generate"]
        if table == "table3":
            finish(steps[0])
    monkeypatch.setattr(jobs, "list_reasons", lambda: dict.fromkeys(queue.jobs, ("PENDING", "Dependency")))
    return queue, records[0], records[1]


def find_arms(record: Record) -> list[str]:
    return [entry.job for entry in record.steps.values() if entry.module == "autodata.generate"]


def test_status_names_the_jobs_of_another_table_and_leaves_them_out_of_the_forecast(tables, monkeypatch, tmp_path):
    queue, first, second = tables
    arms = find_arms(first)
    waiting, last = find_arms(second)
    assert f"--dependency=afterok:{second.steps[next(iter(second.steps))].job},afterany:{':'.join(arms)}" in " ".join(
        queue.commands[waiting]
    )
    awaited = {waiting: [*arms, *arms, "999"], last: [waiting], "998": ["997"]}
    monkeypatch.setattr(jobs, "list_awaited", lambda: awaited)
    record, standings = follow.look(second.folder)
    by_job = {standing.job: standing for standing in standings}
    named = f"job {arms[0]} (generate {tmp_path}/cs/agentic of table1: 1 h 00 min)"
    assert by_job[waiting].detail.startswith(f"for {named}, job {arms[1]} (generate {tmp_path}/cs/cot of table1: ")
    assert by_job[waiting].detail.endswith(", job 999")
    assert by_job[last].outside == () and by_job[last].detail.startswith("for generate ")
    text = follow.write_standing(record, standings)
    assert f"The wait for jobs outside this table comes on top: {named}, " in text


def test_status_names_its_own_steps_before_the_jobs_of_others(tables, monkeypatch):
    _, first, second = tables
    arms, (_, last) = find_arms(first), find_arms(second)
    monkeypatch.setattr(jobs, "list_awaited", lambda: {last: arms[:1]})
    (detail,) = [standing.detail for standing in follow.look(second.folder)[1] if standing.job == last]
    assert detail.startswith("for generate ") and f", job {arms[0]} (" in detail


def test_status_names_no_others_if_none_is_awaited_or_slurm_does_not_say_it(tables, monkeypatch):
    _, _, second = tables

    def fail() -> None:
        raise SlurmError("squeue did not answer")

    for answer in (dict, fail):
        monkeypatch.setattr(jobs, "list_awaited", answer)
        record, standings = follow.look(second.folder)
        assert not any(standing.outside for standing in standings)
        assert "outside this table" not in follow.write_standing(record, standings)


def test_what_slurm_says_of_dependencies_is_read(slurm):
    lines = ["1|(null)", "2|afterok:1(unfulfilled),afterany:112(unfulfilled)", "3|afterok:7:8_*(unfulfilled)"]
    slurm("squeue", "printf '%s\\n' " + " ".join(f"'{line}'" for line in lines))
    assert jobs.list_awaited() == {"2": ["1", "112"], "3": ["7", "8"]}
