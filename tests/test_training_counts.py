"""Tests the counts of a training over its sessions and processes, and after kills."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.recipes.training import GrpoRecipe, PreflightConfig
from autodata.run.folder import Run, read_manifest
from autodata.run.progress import Progress
from autodata.run.records import RunError
from autodata.serving.costs import Cost
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError
from autodata.serving.request import Request
from autodata.training import preflight
from autodata.training.preflight import PreflightError
from autodata.training.rewards import counts as module
from autodata.training.rewards.counts import Books, JudgementCounts, combine, read_counts
from autodata.training.rewards.judging import name_failure
from autodata.training.weights.card import describe_judgements
from autodata.types import Message, Role
from tests.helpers.fake_server import Scripted, fake_server


def a_client(cost: Cost) -> SimpleNamespace:
    """Make a client with the fields that are counted; its cost can be changed."""
    client = SimpleNamespace(cost=cost, draining=False, accounts={}, busy_at={}, models=Models())
    client.ledger = lambda: {Role.JUDGE: client.cost}
    return client


def judge(folder, rank: int, failures: list[str], calls: int = 0) -> Books:
    """Count the judgements of one process in one session, then stop without closing."""
    books = Books(folder, rank, [a_client(Cost(calls, prompt_tokens=10 * calls))])
    books.count(failures)
    books.write()
    return books


def test_counts_are_of_all_sessions_and_all_processes(tmp_path):
    for rank in range(4):
        judge(tmp_path, rank, ["", "", "HTTP 500"], calls=2)
    judge(tmp_path, 1, ["", "asked 2 times: no JSON object in the reply"], calls=5)
    total = judge(tmp_path, 0, [""] * 4, calls=1).gather()
    assert (total.sessions, total.processes, total.judgements, total.failed) == (2, 4, 4 * 3 + 2 + 4, 5)
    assert total.failures == {"HTTP 500": 4, "asked 2 times: no JSON object in the reply": 1}
    assert total.ledger == {Role.JUDGE: Cost(14, prompt_tokens=140)}


def test_a_session_that_judged_nothing_changes_nothing(tmp_path):
    judge(tmp_path, 0, ["", ""], calls=2)
    for _ in range(3):
        judge(tmp_path, 0, [])
    total = Books(tmp_path, 0, []).gather()
    assert (total.sessions, total.judgements, total.ledger) == (1, 2, {Role.JUDGE: Cost(2, prompt_tokens=20)})


def test_both_judges_of_a_process_are_in_its_ledger(tmp_path):
    clients = []
    books = Books(tmp_path, 0, clients)
    clients += [a_client(Cost(3, gpu_seconds=1.0)), a_client(Cost(4, gpu_seconds=2.0))]
    assert books.ledger() == {Role.JUDGE: Cost(7, gpu_seconds=3.0)}


@pytest.mark.parametrize(("seconds", "expected"), [((5.0, 7.0, 6.0), 7.0), ((5.0, None), None), ((0.0,), 0.0)])
def test_processes_judge_on_the_same_gpus_at_the_same_time(seconds, expected):
    ledgers = [JudgementCounts(ledger={Role.JUDGE: Cost(1, gpu_seconds=s)}) for s in seconds]
    assert combine(ledgers).ledger == {Role.JUDGE: Cost(len(seconds), gpu_seconds=expected)}


def test_reasons_without_end_are_summed_up(tmp_path):
    books = judge(tmp_path, 0, [f"not a verdict:\n{n}" + "x" * 200 for n in (*range(50), 1)])
    failures = books.gather().failures
    assert failures["other reasons"] == 30
    assert (len(failures), sum(failures.values()), max(map(len, failures))) == (21, 51, 80)


def test_what_a_kill_left_is_all_but_the_last_second(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_S", 0.01)
    client = a_client(Cost())
    books = Books(tmp_path, 0, [client])

    async def work() -> tuple[Cost, Cost]:
        async with books.keep_writing():
            client.cost = Cost(8)
            await asyncio.sleep(0.3)
            meanwhile = read_counts(tmp_path / "counts_0.json").ledger[Role.JUDGE]
            client.cost = Cost(9)
        return meanwhile, read_counts(tmp_path / "counts_0.json").ledger[Role.JUDGE]

    assert asyncio.run(work()) == (Cost(8), Cost(9))


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"judgements": "many"}'])
def test_a_damaged_file_is_named_before_anything_is_counted(tmp_path, text):
    (tmp_path / "counts_1.json").write_text(text)
    for rank in (0, 1):
        with pytest.raises(RunError, match=r"counts_1\.json: damaged .*; restore it from a copy or remove it"):
            Books(tmp_path, rank, [])
    assert not (tmp_path / "counts_0.json").exists()


def test_a_file_that_cannot_be_read_for_once_counts_as_it_last_was(tmp_path):
    judge(tmp_path, 1, ["", ""])
    books = Books(tmp_path, 0, [])
    (tmp_path / "counts_1.json").write_text("")
    assert books.gather().judgements == 2
    (tmp_path / "counts_1.json.new").write_text("{")  # as a kill leaves it
    assert books.gather().processes == 2


@pytest.fixture
def run(tmp_path):
    with Run(str(tmp_path / "run"), "grpo", GrpoRecipe(run=str(tmp_path / "run")), {}) as opened:
        opened.start()
        yield opened


def test_the_runs_ledger_has_all_processes_once_over_kills_and_restarts(run):
    """Runs two processes, then one, then two; the main one's progress.json has the sum and is not added again."""
    for session, others in enumerate((1, 0, 1), 1):
        with Progress(run, "steps") as progress:
            books = Books(run.folder, 0, [client := a_client(Cost(10))])
            progress.watch(client)
            progress.read_ledger = books.ledger
            for rank in range(1, others + 1):
                judge(run.folder, rank, [], calls=5)
            books.write()
            books.gather()
        paid = 10 * session + 5 * (1 if session < 3 else 2)
        assert read_manifest(run.folder)["ledger"]["judge"]["calls"] == paid
        assert json.loads(run.path("progress.json").read_text())["calls"] == paid


def test_a_run_from_before_these_files_keeps_its_ledger(run):
    with Progress(run, "steps") as progress:
        progress.watch(a_client(Cost(7)))
    assert Books(run.folder, 1, []).ledger() == {}
    assert Books(run.folder, 0, []).ledger() == {Role.JUDGE: Cost(7)}
    assert Books(run.folder, 0, []).ledger() == {Role.JUDGE: Cost(7)}


def test_progress_tells_of_all_judgements_after_every_step(run):
    from autodata.training.callbacks import ProgressWriter

    judge(run.folder, 1, ["", "HTTP 500"])
    with Progress(run, "steps") as progress:
        books = Books(run.folder, 0, [])
        follow = ProgressWriter(progress, books)
        follow.on_log(None, None, None, logs={"reward": 0.5})
        assert (progress.facts, progress.failures) == ({"reward": 0.5, "judgements": 2}, {"failed judgements": 1})
        books.count(["", "late"])
        follow.on_log(None, None, None, logs={})
        assert (progress.facts["judgements"], progress.failures) == (4, {"failed judgements": 2})


@pytest.mark.parametrize(
    ("earlier", "probe", "stops"),
    [
        (["", ""], ["lost", "lost"], True),  # readable replies of an earlier session are no evidence for this probe
        (["lost"] * 9, ["", "lost"], False),
        (["lost"] * 9, [], False),
    ],
)
def test_the_probe_looks_at_its_own_judgements_only(tmp_path, monkeypatch, earlier, probe, stops):
    judge(tmp_path, 0, earlier)
    books = Books(tmp_path, 0, [])
    monkeypatch.setattr(preflight, "check_probe", lambda measured, limits: None)
    trainer = SimpleNamespace(probe=lambda rows: books.count(probe) or {})
    reward = SimpleNamespace(books=books)
    if not stops:
        preflight.run_probe(trainer, [{"prompt": "p"}], reward, PreflightConfig(probe=1))
        return
    with pytest.raises(PreflightError, match="none of 2 judgements could be read"):
        preflight.run_probe(trainer, [{"prompt": "p"}], reward, PreflightConfig(probe=1))


@pytest.mark.parametrize(("sessions", "processes", "over"), [
    (1, 1, ""), (2, 1, ", counted over 2 sessions"), (1, 8, ", counted over 8 processes"),
    (3, 2, ", counted over 3 sessions and 2 processes"),
])  # fmt: skip
def test_judgements_are_told_with_what_they_were_counted_over(sessions, processes, over):
    facts = {"judgements": 104, "failed_judgements": 4, "judged_over": {"sessions": sessions, "processes": processes}}
    assert describe_judgements(facts) == f"4 of 104 judgements failed and gave no reward{over}"


@pytest.mark.parametrize(("scripted", "name"), [
    (Scripted(status=500), "HTTP 500"), (Scripted(status=422), "HTTP 422"), (Scripted(b"{}"), "BadShape"),
    (Scripted(drop=True), "ConnectionLost"),
])  # fmt: skip
def test_failures_of_one_kind_have_one_name(tmp_path, scripted, name):
    journal = Journal(tmp_path / "journal.sqlite")
    with fake_server(lambda body, count: scripted) as server:
        models = Models(
            {"j": Endpoint("fake", sampling=Sampling(max_tokens=64), base_url=server.url, retries=0)},
            judge=RoleConfig("j"),
        )
        with pytest.raises(EndpointError) as caught:
            asyncio.run(ask_once(Client(models, journal)))
    journal.close()
    assert name_failure(caught.value) == name


async def ask_once(client: Client) -> None:
    try:
        await client.ask(Request(Role.JUDGE, (Message("user", "x"),), 0))
    finally:
        await client.close()
