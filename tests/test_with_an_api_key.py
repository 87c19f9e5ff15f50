"""Tests the page for users with an API key: its commands run at an imitation, and its prices are those of the plan."""

import json
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.fake_world import World, legal
from tests.helpers.imitations import imitate_openai
from tests.helpers.recipes import PROVIDERS, REPO, load_committed

PAGE = (REPO / "docs/with-an-api-key.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/python -m (autodata\.\w+) (.+)$", PAGE, re.MULTILINE)
MAINS = {"autodata.doctor": "autodata.doctor.examine", "autodata.plan": "autodata.plan.plan",
         "autodata.report": "autodata.report.index"}  # fmt: skip
AT_ENDPOINT = ("autodata.doctor", "autodata.generate")
WORLD = World(["too_easy", "small_gap", "accepted"])
DOCTOR = ("The password is", "Invent a name", '{"met": true}', "Reply in JSON", "Give up:", "7 or 5", "Hello")


def play(body: dict, count: int) -> Scripted:
    """Refuse what the provider refuses; else answer the doctor, or play the roles of a run."""
    reply = imitate_openai(body, count)
    text = str(body["messages"])
    if reply.status != 200 or any(words in text for words in DOCTOR):
        return reply
    if "Legal now:" in text:  # this provider has no functions, so a move is JSON
        return completion(json.dumps({"name": legal(body)[0], "arguments": {}}))
    return WORLD(body | {"model": "strong" if body["model"].endswith("-sol") else "weak"}, count)


def run(module: str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        import_module(MAINS.get(module, module)).main()


@pytest.mark.slow
def test_every_command_of_the_page_works(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-key")
    assert [module for module, _ in COMMANDS] == [
        f"autodata.{name}"
        for name in ("doctor", "plan", "generate", "report", "plan", "generate", "dataset", "verify", "export")
    ]
    monkeypatch.chdir(tmp_path)  # the page's own recipe stands where its commands are called
    (tmp_path / "dataset_mine.yaml").write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    with fake_server(play) as server:
        at = [f"models.endpoints.{size}_model" for size in ("small", "large")]
        served = [f"{key}.base_url={server.url}" for key in at] + [f"{key}.lists_models=false" for key in at]
        for module, line in COMMANDS:
            run(module, *shlex.split(line), *(served if module in AT_ENDPOINT else []))
        assert {key for key in server.requests[0] if key.startswith("max")} == {"max_completion_tokens"}
    out, error = capsys.readouterr()
    assert "Creating parquet" not in error  # the bars of libraries stay away
    assert "follow if all goes well" in out and "fail " not in out
    assert "2 of 2 documents have an accepted candidate" in out
    assert (tmp_path / "runs/first/report.html").is_file()
    assert (tmp_path / "runs/mine/dataset/export/rows/agentic_train.messages.jsonl").stat().st_size


def test_the_table_names_every_recipe_its_models_and_its_key():
    for name in PROVIDERS:
        row = re.search(rf"^\| `{name}.yaml` \|.*$", PAGE, re.MULTILINE)[0]
        endpoints = yaml.safe_load((REPO / f"recipes/models/{name}.yaml").read_text())["models"]["endpoints"]
        for endpoint in endpoints.values():
            assert endpoint["model"] in row or name == "llama_cpp"
            assert endpoint.get("api_key_env", "OPENROUTER_API_KEY" if name == "openrouter" else "") in row


ROWS = re.findall(r"^\| (as they are|`\S+`) \| (\$[\d,.]+) \| (\$[\d,.]+) \|$", PAGE, re.MULTILINE)


FEW, MANY = (line for module, line in COMMANDS if module == "autodata.plan")


@pytest.mark.slow  # 1,000 documents are simulated
@pytest.mark.parametrize(("change", "few", "many"), ROWS)
def test_the_prices_of_the_page_are_those_that_its_commands_print(capsys, change, few, many):
    more = [] if change == "as they are" else [change.strip("`")]
    for line, cost in ((FEW, few), (MANY.replace("--like runs/first ", ""), many)):
        run("autodata.plan", *shlex.split(line), *more)
        assert find_cost(capsys.readouterr().out) == cost


@pytest.mark.parametrize("name", ["openrouter", "openai", "anthropic"])
def test_three_recipes_have_the_same_prices(name):
    endpoints = load_committed("recipes/cs/generate.yaml", f"recipes/models/{name}.yaml").models.endpoints.values()
    assert [(e.price.input, e.price.output) for e in endpoints] == [(0.1, 0.5), (2.0, 10.0)]


def find_cost(table: str) -> str:
    return re.search(r"│ cost\s+│ (\S+)", table)[1]


def test_the_page_is_listed():
    assert "with-an-api-key.md" in Path("docs/README.md").read_text()
