"""Tests PRBench end to end with two graders, on our own rows in the exact form of the data set."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from autodata.config import RecipeError, load
from autodata.eval.prbench.data import find_files, read_split
from autodata.eval.prbench.grader import read_verdict, strip_reasoning
from autodata.eval.prbench.rules import CLASSES
from autodata.eval.tables.scores import prbench
from autodata.recipes.evaluation import EvalRecipe, TableRecipe, TableRow
from autodata.run.snapshot import read_snapshot
from autodata.serving.request import make_body, resolve_sampling
from autodata.types import Role
from tests.helpers.commands import fails
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.recipes import request
from tests.test_principia_bench import evaluate

pytestmark = pytest.mark.slow

SAMPLE = Path("recipes/legal/prbench_sample")


def criterion(title: str, weight_class: str, weight: int, category: str = "Legal Accuracy") -> dict:
    notes = {f"{name.replace(' ', '_')}_weight": None for name in CLASSES}
    notes[f"{weight_class.replace(' ', '_')}_weight"] = weight
    notes["slightly_important_weight"] = notes["slightly_important_weight"] or 3  # an unused weight
    notes |= {
        "criteria_category": category,
        "criteria_description": "requirement in prompt",
        "field_for_category": "Legal",
        "weight_class": weight_class,
    }
    return {"id": title, "title": title, "annotations": notes}


def make_row(task: str, topic: str, turns: int = 1, **values: object) -> dict:
    """Make a row with all columns of the data set; the rubric has a wish and a fault."""
    rubric = [
        criterion(f"{task}: names the deadline", "critically important", 10),
        criterion(f"{task}: invents a statute", "detrimental", -5),
    ]
    row = {"task": task, "turns": turns, "field": "Legal", "topic": topic, "expert": "expert", "scratchpad": "",
           "rubric": rubric}  # fmt: skip
    for turn in range(10):
        row |= {f"prompt_{turn}": f"Question {turn}?" if turn < turns else None, f"reference_texts_{turn}": []}
        if turn < 9:
            row |= {f"response_{turn}": f"Answer {turn}." if turn < turns - 1 else None, f"model_{turn}": None}
    return row | values


def write(folder: Path, name: str, *rows: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / f"{name}.parquet")


def play(body: dict, count: int) -> Scripted:
    """Answer by topic. The strict grader finds no wish met, no grader finds a fault, and "broken" cannot be read."""
    text = body["messages"][-1]["content"]
    if body.get("max_tokens") == 1:
        return completion("x")
    if "criteria_met" not in text:
        return completion("The deadline is two weeks.")
    if "t3" in text and "statute" in text:
        return completion("no verdict")
    met = "deadline" in text.partition("<property")[2] and body["model"] != "strong"
    return completion(json.dumps({"explanation": "so", "criteria_met": met}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [make_row("t1", "tax"), make_row("t2", "labour", 2, reference_texts_1=["A law."]), make_row("t3", "tax")]
    write(tmp_path / "prbench", "legal", *rows, make_row("t4", "tax", rubric=[]))
    return tmp_path / "prbench"


def recipe_arguments(folder: Path, run: Path, url: str) -> list[str]:
    return [
        "recipes/legal/prbench_base.yaml",
        f"run={run}",
        f"prbench.path={folder}",
        "prbench.splits=[legal]",
        "samples=1",
        "max_failures=1",
        "label=fake",
        "evaluated={weights: null, endpoint: fake}",
        "models.endpoints.fake.model=fake",
        f"models.endpoints.fake.base_url={url}",
        "models.endpoints.other.model=strong",
        f"models.endpoints.other.base_url={url}",
        "graders.kimi=null",
        "models.judge.endpoint=fake",
        "graders.fake=${models.judge}",
        "graders.strong={endpoint: other, sampling: {max_tokens: 64}}",
        "models.endpoints.fake.retries=0",
    ]


def require_progress(run: Path, calls: int) -> None:
    now = read_snapshot(run)
    assert (now.state, now.done, now.total) == ("finished", 3, 3)
    assert now.roles[Role.WEAK_SOLVER].calls == calls


def test_a_split_with_two_graders(folder, tmp_path, monkeypatch, capsys):
    with fake_server(play) as server:
        arguments = recipe_arguments(folder, tmp_path / "run", server.url)
        evaluate(monkeypatch, *arguments)
        requests = [body for body in server.requests if "criteria_met" not in str(body) and body["max_tokens"] != 1]
        calls = len(server.requests)
        evaluate(monkeypatch, *arguments)
        assert "up to date" in capsys.readouterr().out
        assert len(server.requests) == calls
    conversation = next(body["messages"] for body in requests if len(body["messages"]) == 3)
    assert [m["role"] for m in conversation] == ["user", "assistant", "user"]
    assert conversation[2]["content"] == "Reference Text 0:\nA law.\n\nQuestion 1?"
    result = json.loads((tmp_path / "run" / "prbench.json").read_text())["prbench_legal"]
    assert (result["tasks"], result["left_out"]) == (3, {"no rubric": 1})
    mild, strict = result["graders"]["fake"], result["graders"]["strong"]
    assert (mild["mean_clipped"], strict["mean_clipped"]) == (1.0, 0.0)
    assert (mild["scored"], mild["unresolved"]) == (2, 1)
    assert (mild["low"], mild["high"]) == (pytest.approx((1 + 1 + 0.5) / 3), 1.0)
    assert mild["met_by_weight_class"] == {"critically important": [1.0, 3], "detrimental": [0.0, 2]}
    assert set(mild["by_topic"]) == {"labour", "tax"}
    assert result["agreement"]["compared"] == 5
    assert (strict["clipped"]["value"], strict["clipped"]["low"], strict["clipped"]["documents"]) == (0.0, 0.0, 2)
    assert strict["normalized"]["low"] == pytest.approx(0.025**0.5 / 3), "two tasks, alike"
    table = TableRecipe("t", "prbench", str(tmp_path), "t.md", [TableRow("fake", str(tmp_path / "run"), "c")])
    header, cells = prbench(table)[0].rows
    assert header == [
        "model",
        "fake legal",
        "strong legal",
        "fake legal normalised",
        "strong legal normalised",
        "thousand tokens",
        "GPU-seconds",
    ]
    assert cells[1:5] == [
        "1.000 [0.000, 1.000] n=2",
        "0.000 [0.000, 0.842] n=2",
        "1.000 [0.158, 1.000] n=2",
        "0.333 [0.053, 0.895] n=2",
    ]
    assert float(cells[5]) > 0
    assert cells[6] == "–"  # the run does not own the servers
    require_progress(tmp_path / "run", len(requests))


def test_a_task_that_does_not_end_earns_nothing_and_asks_no_grader(folder, tmp_path, monkeypatch):
    def silent(body, count):
        if body.get("max_tokens") == 1 or "criteria_met" in str(body["messages"]):
            return play(body, count)
        return completion("", "length", reasoning="and so on")

    with fake_server(silent) as server:
        evaluate(monkeypatch, *recipe_arguments(folder, tmp_path / "run", server.url))
        assert not [body for body in server.requests if "criteria_met" in str(body["messages"])]
    grader = json.loads((tmp_path / "run" / "prbench.json").read_text())["prbench_legal"]["graders"]["fake"]
    assert (grader["mean_clipped"], grader["mean_normalized"]) == (0.0, pytest.approx(5 / 15))


def test_a_conversation_that_is_not_answered_is_counted_and_graded_by_nobody(folder, tmp_path, monkeypatch):
    def once(body, count):
        is_asked = "criteria_met" not in str(body["messages"]) and "tax" not in str(body["messages"])
        is_first = is_asked and body["max_tokens"] != 1 and len(refused) < 1
        refused.extend([count] * is_first)
        return completion(None, refusal="no") if is_first else play(body, count)

    refused: list[int] = []
    with fake_server(once) as server:
        evaluate(monkeypatch, *recipe_arguments(folder, tmp_path / "run", server.url), "max_unmeasured=1")
    result = json.loads((tmp_path / "run" / "prbench.json").read_text())["prbench_legal"]
    tasks = {name: grader["tasks"] for name, grader in result["graders"].items()}
    assert (result["unanswered"], tasks["fake"], tasks["strong"]) == (1, 2, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["prbench.splits=[laws]"], "prbench.splits: unknown split laws; choose from legal, legal_hard"),
        (["prbench.splits=[finance]"], "no file of the split finance; download ScaleAI/PRBench"),
        (["prbench=null"], "nothing to evaluate on"),
    ],
)
def test_what_is_missing_is_named(folder, tmp_path, monkeypatch, values, message):
    with fails(message):
        evaluate(monkeypatch, *recipe_arguments(folder, tmp_path / "run", "http://127.0.0.1:9/v1"), *values)


def test_a_limit_takes_the_first_tasks_and_a_folder_without_files_is_an_error(folder):
    assert [task.id for task in read_split(folder, "legal", 2).tasks] == ["t1", "t2"]
    with pytest.raises(RecipeError, match="no file of the split legal_hard"):
        read_split(folder, "legal_hard")


def test_a_grader_that_always_fails_leaves_bounds_and_no_score(folder, tmp_path, monkeypatch):
    def mumble(body, count):
        return completion("no verdict") if "criteria_met" in str(body["messages"]) else play(body, count)

    with fake_server(mumble) as server:
        evaluate(monkeypatch, *recipe_arguments(folder, tmp_path / "run", server.url))
    result = json.loads((tmp_path / "run" / "prbench.json").read_text())["prbench_legal"]
    graded = result["graders"]["fake"]
    assert (graded["mean_clipped"], graded["clipped"], graded["scored"], graded["unresolved"]) == (None, None, 0, 6)
    assert (graded["low"], graded["high"]) == (0.0, 1.0)
    assert result["agreement"]["compared"] == 0


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think> b", "b"),
        ("<reasoning>a</reasoning>b<reason>c</reason>d", "bd"),
        ("b<thinking>never ends", "b<thinking>never ends"),
        ("plain", "plain"),
    ],
)
def test_reasoning_is_taken_out_as_the_benchmark_does(text, left):
    assert strip_reasoning(text) == left


@pytest.mark.parametrize("value", ["true", 1, None])
def test_a_verdict_is_true_or_false(value):
    with pytest.raises(ValueError, match="criteria_met is"):
        read_verdict({"criteria_met": value})


def test_the_recipes_name_graders_and_splits():
    recipe = load(EvalRecipe, ["recipes/legal/prbench_base.yaml"])
    assert recipe.prbench.splits == ["legal", "legal_hard"]
    assert recipe.dataset is None
    with pytest.raises(RecipeError):
        load(EvalRecipe, ["recipes/legal/prbench_base.yaml", "prbench.split=legal"])


@pytest.mark.parametrize("arm", ["base", "strong", "cot", "agentic"])
def test_gpt5_grades_beside_kimi_or_alone(arm):
    arguments = [f"recipes/legal/prbench_{arm}.yaml", "recipes/legal/grader_gpt5.yaml"]
    recipe = load(EvalRecipe, arguments)
    assert {name: role.endpoint for name, role in recipe.graders.items()} == {"kimi": "kimi", "gpt5": "gpt5"}
    endpoint = recipe.models.endpoints["gpt5"]
    assert endpoint.base_url and endpoint.api_key_env and not endpoint.server, "nothing is started for it"
    sampling = resolve_sampling(recipe.graders["gpt5"].sampling, endpoint.sampling, "judge")
    body = make_body(request(schema={"type": "object"}), endpoint, sampling)
    assert (body["model"], body["temperature"], body["top_p"]) == ("openai/gpt-5", 1.0, 1.0)
    alone = load(EvalRecipe, [*arguments, "graders.kimi=null"])
    assert "kimi" not in alone.models.endpoints, "its server is not needed"


def test_the_sample_that_is_shipped_has_the_columns_of_the_data_set():
    """The rows have the columns of make_row, except two columns of classifiers."""
    (path,) = find_files(SAMPLE, "legal")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(set(row) == {*make_row("t", "tax"), "economic_pathway", "decision_type"} for row in rows)
    split = read_split(SAMPLE, "legal")
    assert (len(split.tasks), split.left_out) == (2, {})
    assert [len(task.messages) for task in split.tasks] == [1, 3]
