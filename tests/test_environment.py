"""Tests exported environments: their scorer against this project's, and their rewards by other projects' code."""

import json
import subprocess
import sys
import venv
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.data import environment
from autodata.data.environment import PROBE, describe_judging, list_attempts, write_environment
from autodata.data.exported import scorer
from autodata.domains.science.domain import read_decision
from autodata.loop import parsing, rubric
from autodata.loop.agents import split_rubric
from autodata.loop.prompts import PromptSet
from autodata.run.records import RunError
from autodata.training.rows import read_answer
from autodata.types import Criterion
from tests.helpers.environments import make_own_tasks, make_tasks
from tests.helpers.fake_server import Scripted, completion, fake_server

WEIGHTS = st.lists(st.integers(-10, 10), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    own = make_own_tasks(tmp_path_factory.mktemp("own"))
    assert write_environment(folder, "autodata_tasks", [*make_tasks(), *own]) == (7, 20)
    return folder


@pytest.fixture
def exported(package, monkeypatch):
    """Import a part of the exported package, which must not import this project."""
    monkeypatch.syspath_prepend(package)
    yield lambda name: import_module(f"autodata_tasks.{name}")
    for name in [name for name in sys.modules if name.startswith("autodata_tasks")]:
        del sys.modules[name]


@settings(max_examples=50)
@given(WEIGHTS, st.data())
def test_the_score_is_ours_to_the_last_bit(weights, data):
    met = data.draw(st.lists(st.booleans(), min_size=len(weights), max_size=len(weights) + 1))
    task = {"rubric": [{"criterion": "c", "weight": weight} for weight in weights]}
    try:
        expected = float(rubric.score([Criterion("c", weight) for weight in weights], met))
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            scorer.score(task, met)
    else:
        assert scorer.score(task, met) == expected


@settings(max_examples=30)
@given(st.text() | st.sampled_from([PROBE, scorer.PLACE, "<|im_end|>", "</answer>", "[/INST]", "\\1 \\g<0>"]))
@pytest.mark.parametrize("per_call", [0, 2])
def test_the_judge_is_sent_the_same_messages(per_call, answer):
    task = TASKS[per_call][2]
    described = json.loads(json.dumps(environment.write_task(task, describe_judging(task))))
    parts = split_rubric(task.example.candidate.rubric, per_call)
    expected = [task.domain.agents.render_judge(task.example.candidate, part, answer) for part in parts]
    sent = scorer.write_calls(described, answer)
    assert sent == [[vars(message) for message in messages] for messages in expected]


TASKS = {per_call: make_tasks(f"domain.criteria_per_call={per_call}") for per_call in (0, 2)}
VERDICTS = [
    '{"verdicts": {"1": true, "2": "No."}}',
    '{"verdicts": [{"criterion": "1. Says X", "met": "Y"}, {"number": 2, "met": "not-met"}]} Check: {"score": 1}',
    '{"verdicts": [{"criterion": 1, "met": true}, {"criterion": 2, "reason": "r", "met": false}]}',
    'So\n```json\n{"verdicts": [{"criterion": "2.", "met": "no"}, {"criterion": "Criterion 1", "met": "yes"}]}\n```',
    '{"verdicts": {"1": {"met": 1}, "2": {"met": "0"}}} and so on',
    '{"verdicts": [{"criterion": 1, "reason": "\\alpha", "met": true}, {"criterion": 2, "met": false}]}',
    '{"verdicts": [{"criterion": 1, "met": true}]} no: {"verdicts": [{"criterion": 1, "met": true}, '
    '{"criterion": 2, "met": false}]}',
]
BROKEN = [
    "",
    "no",
    "{}",
    "[true, false]",
    '{"verdicts": [{"criterion": 1, "met": true}]}',
    '{"verdicts": [{"criterion": 1, "met": true}, {"criterion": 1, "met": true}]}',
    '{"verdicts": [{"criterion": 1, "met": true}, {"criterion": 3, "met": true}]}',
    '{"verdicts": [{"criterion": 1, "met": "perhaps"}, {"criterion": 2, "met": true}]}',
    '{"verdicts": [{"criterion": 1, "met": true}, {"criterion": 2, "met": tr',
    '{"verdicts": [null, 3]}',
]


def read_ours(reply: str) -> list[bool]:
    try:
        record = parsing.read_object(reply)
    except parsing.ParseError:
        record = parsing.repair_object(reply)
    return list(parsing.read_verdicts(record, 2)[0])


@pytest.mark.parametrize("reply", VERDICTS)
def test_verdicts_are_read_as_ours_are(reply):
    assert scorer.read_reply(reply, 2) == read_ours(reply) == [True, False]


@pytest.mark.parametrize("reply", BROKEN)
def test_there_is_no_verdict_in_a_broken_reply(reply):
    with pytest.raises(scorer.Unreadable):
        scorer.read_reply(reply, 2)


@given(st.text())
def test_garbage_is_unreadable_and_nothing_else(reply):
    for criteria in (0, 2):
        with pytest.raises(scorer.Unreadable):
            scorer.read_reply(reply, criteria)


@pytest.mark.parametrize(
    ("decision", "read"), [(True, True), (False, False), ("yes", True), ("Not met", False), (0, False)]
)
def test_one_decision_is_one_verdict(decision, read):
    record = {"reason": "r", "equivalent": decision}
    assert scorer.read_reply(json.dumps(record), 0) == [read_decision(record, "equivalent")[0]] == [read]


@pytest.mark.parametrize("decision", [None, "perhaps", 2, [True]])
def test_an_unclear_decision_is_none(decision):
    with pytest.raises(scorer.Unreadable, match="not true or false"):
        scorer.read_reply(json.dumps({"equivalent": decision}), 0)


def test_every_stored_attempt_gets_its_score(package, exported, monkeypatch, capsys):
    check = exported("check")
    monkeypatch.setattr(sys, "argv", ["check", "python"])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == 0
    assert "20 rewards by python, 0 of them not equal" in capsys.readouterr().out
    stored = [json.loads(line) for line in (package / "autodata_tasks/attempts.jsonl").read_text().splitlines()]
    assert {row["score"] for row in stored} == {0.0, 1 / 3, 2 / 3, 1.0}


def test_code_decides_where_our_code_does_and_only_there(exported):
    skills, science, criteria, _, own_criteria, own_science, own_skills = exported("tasks").load_tasks()
    decide = exported("scorer").decide
    assert [decide(skills, answer) for answer in ("two”", "three”")] == [[True], [False]]
    assert [decide(science, answer) for answer in (r"\boxed{x = \dfrac{1}{2}}", "x = 0.5")] == [[True], None]
    assert [decide(criteria, answer) for answer in ("two", " ")] == [None, [False] * 3]
    assert [decide(own_skills, answer) for answer in ("two”", "one”")] == [[True], [False]]
    assert [decide(own_science, answer) for answer in (r"so \boxed{x = 2}", "3")] == [[True], None]
    assert decide(own_criteria, "two") is None


def test_the_judge_of_an_own_domain_is_sent_its_own_prompt(exported):
    own = exported("tasks").load_tasks()[4]
    messages = exported("scorer").write_calls(own, "my answer")[0]
    assert messages[-1]["content"].startswith("Why? ")
    assert "my answer" in messages[-1]["content"]


def test_an_answer_that_was_never_judged_has_no_stored_verdicts(exported):
    tasks = exported("tasks")
    with pytest.raises(LookupError, match="no verdicts on this answer"):
        tasks.StoredVerdicts()(tasks.load_tasks()[2], "new")
    with pytest.raises(ValueError, match="there are: agentic/t"):
        tasks.load_tasks(arm="cot")


def test_trl_gets_rewards_from_a_judge_and_none_where_it_fails(exported):
    reward, ids = exported("reward"), [task["id"] for task in exported("tasks").load_tasks()]
    replies = {"good": verdicts(True, True, False), "bad": verdicts(False, False, True), "lost": "?"}

    def play(body: dict, count: int) -> Scripted:
        asked = body["messages"][-1]["content"]
        return completion(next(reply for answer, reply in replies.items() if f"\n{answer}\n</answer-" in asked))

    with fake_server(play) as server:
        rewards = reward.make_reward(reward.Judge(server.url, "fake"))
        completions = [[{"role": "assistant", "content": f"<think>…</think>{answer}"}] for answer in replies]
        assert rewards(completions=completions, id=[ids[2]] * 3, prompts=[""] * 3) == [1.0, 0.0, None]
        assert rewards(completions=["two”"], id=[ids[0]]) == [1.0]
    assert reward.make_reward(reward.Judge("http://127.0.0.1:9", "none"))(completions=["x"], id=[ids[2]]) == [None]


@pytest.mark.parametrize(
    "text",
    ["answer", "<think>a</think>answer", "a</think>answer", "<think>never ends", " <think>x", "1 <think> 2", ""],
)
def test_an_answer_is_cut_out_of_a_completion_as_in_training(exported, text):
    expected = read_answer("", text) or ""
    assert exported("reward")._read(text) == exported("reward")._read([{"content": text}]) == expected
    assert exported("reward")._read([{"content": None}]) == "", "a completion may be a call of a tool"


def verdicts(*met: bool) -> str:
    return json.dumps({"verdicts": [{"criterion": i, "reason": "r", "met": m} for i, m in enumerate(met, 1)]})


def test_a_prompt_that_does_more_with_an_answer_is_refused(tmp_path):
    task = make_tasks()[2]
    (tmp_path / "judge.j2").write_text("{% block user %}{{ answer | upper }}{% endblock %}")
    task.domain.agents._prompts = task.domain.prompts = PromptSet(tmp_path)
    with pytest.raises(RunError, match="more with an answer than to put it in one place"):
        describe_judging(task)


def test_a_domain_that_judges_in_code_of_its_own_is_refused(tmp_path):
    for task in make_tasks():
        task.domain.__class__ = type("Own", (type(task.domain),), {"judge": lambda self: None})
        with pytest.raises(RunError, match="judges in code of its own"):
            write_environment(tmp_path / task.example.id, "own", [task])


def test_attempts_without_a_score_are_left_out():
    assert [row["answer"] for row in list_attempts(make_tasks()[0])] == ["two” is it", "three”", "Two"]


@pytest.mark.slow  # installs another project from the registry: half a minute to two
@pytest.mark.parametrize("way", ["verifiers", "openenv"])
def test_another_projects_code_gives_every_attempt_our_reward(package, tmp_path, way):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"{package}[{way}]"], check=True, timeout=600)
    with pytest.raises(subprocess.CalledProcessError):
        run(python, tmp_path, "-c", "import autodata")
    assert f"20 rewards by {way}, 0 of them not equal" in run(python, tmp_path, "-m", "autodata_tasks.check", way)
    if way == "verifiers":
        with fake_server(lambda body, count: completion(verdicts(True, False, False) if count > 1 else "?")) as server:
            assert run(python, tmp_path, "-c", ASK_A_JUDGE, server.url).split() == ["0.6666666666666666", "2"]


ASK_A_JUDGE = """
import asyncio, sys
import verifiers.v1 as vf
from autodata_tasks.tasks import load_tasks
task = load_tasks()[2]
judge = {"model": "fake", "base_url": sys.argv[1], "api_key_var": "PATH"}
config = {"id": "autodata_tasks", "split": task["split"], "task": {"judge": judge}}
taskset = vf.load_taskset(vf.taskset_config_type("autodata_tasks").model_validate(config))
task = next(one for one in taskset if one.key == task["id"])
trace = vf.Trace(
    task=vf.TraceTask(type="RubricTask", data=task.data),
    agent=vf.AgentInfo(config=vf.AgentConfig()),
    nodes=[vf.MessageNode(message=vf.AssistantMessage(content="an answer"), sampled=True)],
)
asyncio.run(task.score(trace))
print(trace.reward, len(trace.info["judge_calls"]))
"""


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run the other project's Python, which knows nothing of this project; return what it prints."""
    alone = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run([python, *arguments], env=alone, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        print(done.stdout, done.stderr)
    done.check_returncode()
    return done.stdout
