"""Tests every command's help and its exit codes 0 (done), 1 (failed) and 2 (called wrongly)."""

import importlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from autodata.__main__ import MODULES
from autodata.recipes.models import Canary, Endpoint, Server
from autodata.serving import probes
from autodata.serving.measured import EndpointError
from autodata.stats.writing import make_table
from autodata.types import Role
from tests.helpers import fake_server as fake_server_module
from tests.helpers.fake_server import Scripted, completion, fake_server

REPO = Path(__file__).parent.parent
FILES = [
    REPO / "autodata" / p.relative_to(REPO) if folder != "autodata" else p
    for folder in ("autodata", "eval", "training")
    for p in sorted((REPO / folder).rglob("*.py"))
]
FRAME = "@command.report_errors()\ndef main("
COMMANDS = [
    ".".join(p.relative_to(REPO).with_suffix("").parts)
    for p in FILES
    if FRAME in p.read_text("utf-8") and p.stem != "__main__"  # which only chooses one of the others
]
DEMO = "recipes/demo/generate.yaml"
# A recipe of each command that asks models.
RECIPES = {
    "autodata.generate": "recipes/cs/generate.yaml",
    "autodata.merge": "recipes/cs/generate.yaml",
    "autodata.doctor.examine": "recipes/cs/generate.yaml",
    "autodata.plan.plan": "recipes/cs/generate.yaml",
    "autodata.cluster.commands": "recipes/cs/generate.yaml",
    "autodata.judge_audit.audit": "recipes/judge_audit/judge_audit.yaml",
    "autodata.meta.optimize": "recipes/meta/cs.yaml",
    "autodata.meta.ablate": "recipes/meta/cs.yaml",
    "autodata.eval.run": "recipes/cs/eval_base.yaml",
    "autodata.eval.question_types": "recipes/science/question_types.yaml",
    "autodata.training.grpo": "recipes/cs/grpo.yaml",
}
# Commands that run without any argument.
NEEDS_NOTHING = ("autodata.domains.copy_recipes", "autodata.fidelity", "autodata.serving.scripted")
# They belong to developers, or are started by accelerate or Slurm.
LEFT_OUT = {
    "autodata.fidelity",
    "autodata.training.grpo",
    "autodata.eval.campaign",
    "autodata.reproduce.local.published",
}
OPTIONS = {"autodata.publish": ["--to", "owner/name"]}  # options that a command requires


@pytest.fixture
def call(monkeypatch, capsys):
    """call(command, *arguments) returns exit code, stdout and stderr."""

    def run(name: str, *arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as end:
            importlib.import_module(name).main()
        return end.value.code, *capsys.readouterr()

    return run


def list_required(call, name: str) -> list[str]:
    """List the names of the arguments that a command requires, in their order."""
    if name in NEEDS_NOTHING:  # it would begin its work
        return []
    code, _, error = call(name)
    assert code == 2
    return re.search("arguments are required: (.*); --help", error)[1].split(", ")


def test_only_workers_that_no_user_starts_read_their_arguments_by_hand():
    assert [p.stem for p in FILES if "sys.argv" in p.read_text("utf-8")] == [
        "__main__",  # what stands behind the name of a command belongs to that command
        "pdf",
        "check",  # of an exported environment, which has a package of its own
        "symbolic",
    ]


def test_one_command_leads_to_all_that_a_user_calls(call):
    code, out, _ = call("autodata.__main__", "--help")
    assert code == 0
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in MODULES)
    left_out = {name for name in COMMANDS if name not in MODULES.values()}
    assert all(name.startswith("autodata.cluster.") for name in left_out - LEFT_OUT)
    assert not {*MODULES.values()} - {*COMMANDS}


def test_one_command_hands_everything_else_on(call, monkeypatch, capsys):
    code, out, _ = call("autodata.__main__", "generate", "--help")
    assert (code, out.partition("\n")[0]) == (0, call("autodata.generate", "--help")[1].partition("\n")[0])
    assert call("autodata.__main__", "verify", "/nope")[::2] == (2, call("autodata.verify", "/nope")[2])
    assert (
        call("autodata.__main__", "generat")[2] == "error: autodata generat: no such command; did you mean generate?\n"
    )
    assert call("autodata.__main__", "--nonsense")[2].startswith("error: unrecognized arguments: --nonsense")
    assert re.fullmatch(r"autodata (\d[\w.]*|\(not installed\))\n", call("autodata.__main__", "--version")[1])
    assert call("autodata.__main__", "completion", "fish")[0] == 2
    monkeypatch.setattr(sys, "argv", ["autodata", "completion", "bash"])
    importlib.import_module("autodata.__main__").main()
    completion = capsys.readouterr().out + 'COMP_WORDS=(autodata gen); COMP_CWORD=1; _autodata; echo "$COMPREPLY"'
    assert subprocess.run(["bash", "-c", completion], capture_output=True, text=True).stdout == "generate\n"


def test_one_command_without_a_name_lists_all(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["autodata"])
    importlib.import_module("autodata.__main__").main()
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\w", out, re.MULTILINE) for name in MODULES)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_how_to_call_a_command_and_names_its_arguments(call, name):
    code, out, error = call(name, "--help")
    assert (code, error) == (0, "")
    assert "python -m" in out or "accelerate launch" in out
    assert all(re.search(rf"^  {argument}\b", out, re.MULTILINE) for argument in list_required(call, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_a_wrong_call(call, name):
    values = ["1" for argument in list_required(call, name) if not argument.startswith("-")]
    code, out, error = call(name, *values, *OPTIONS.get(name, []), "--nonsense")
    assert (code, out) == (2, "")
    assert error == "error: unrecognized arguments: --nonsense; --help lists the arguments\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recipe_that_is_not_there_is_a_wrong_call(call, name, tmp_path):
    required = list_required(call, name)
    if "RECIPE" not in required:
        pytest.skip("takes no recipe")
    missing = str(tmp_path / "generate.yaml")
    code, out, error = call(name, *["autodata.generate"] * (len(required) - 1), missing)
    assert (code, out) == (2, "")
    assert error == f"error: {missing}: no such file\n"


@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        ("autodata.generate", "demo/dataset.yaml", "python -m autodata.dataset, not for python -m autodata.generate"),
        ("autodata.dataset", "demo/generate.yaml", "python -m autodata.generate, not for python -m autodata.dataset"),
        (
            "autodata.eval.run",
            "demo/generate.yaml",
            "python -m autodata.generate, not for python -m autodata.eval.run",
        ),
        ("autodata.eval.tables.write", "demo/grpo.yaml", "training/grpo.py, not for python -m autodata.eval.tables"),
    ],
)
def test_a_recipe_of_another_stage_is_named_with_its_command(call, name, recipe, message):
    code, _, error = call(name, f"recipes/{recipe}")
    assert (code, error) == (2, f"error: recipes/{recipe} is a recipe for {message}\n")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("replay.replay", ["{}/gone.zip", "{}/runs"], "gone.zip: no such file; name a file"),
        ("merge", [DEMO, "run={}"], "shards: no shards there; make them with documents.shard=1/n"),
    ],
)
def test_a_pack_and_shards_that_are_not_there_are_wrong_calls(call, tmp_path, name, arguments, message):
    code, _, error = call(f"autodata.{name}", *(word.format(tmp_path) for word in arguments))
    assert (code, message in error) == (2, True)


def test_a_run_of_another_kind_is_named(call, tmp_path):
    (tmp_path / "manifest.json").write_text('{"finished": "now", "inputs": {"kind": "generate"}, "outputs": {}}')
    code, _, error = call("autodata.verify", str(tmp_path))
    wanted = "a run of kind generate; name one of kind dataset, which python -m autodata.dataset makes"
    assert (code, error) == (2, f"error: {tmp_path}: {wanted}\n")


@pytest.mark.parametrize("width", [30, 60])
def test_no_table_of_a_narrow_terminal_cuts_a_name_or_a_number(width):
    table, out = make_table("role", "prompt tokens", "endpoint", title="plan"), io.StringIO()
    table.add_row("quality_verifier", "1,266,000", "large_model_of_a_node")
    Console(file=out, width=width).print(table)
    assert "…" not in out.getvalue()


def test_only_one_function_makes_tables_for_the_terminal():
    makers = [path.name for path in FILES if re.search(r"[^\w]Table\([\"*]", path.read_text("utf-8"))]
    # Explained values and the verified checks have a form of their own; a snapshot is a few numbers.
    assert sorted(makers) == ["config.py", "snapshot.py", "verify.py", "writing.py"]


def test_explained_values_are_whole_in_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["config", "recipes/demo/generate.yaml"])
    importlib.import_module("autodata.config").main()
    out = capsys.readouterr().out
    assert "recipes/demo/generate.yaml:3" in out
    assert not re.search(r"\w… ", out)


@pytest.mark.parametrize(
    "words",
    ["verify RUN", "status RUN", "report.index RUN", "journal.actions RUN", "journal.actions RUN export x",
     "journal.actions RUN salvage", "export RUN", "publish RUN --to owner/name", "publish RUN --pack x.zip",
     "plan.plan recipes/demo/generate.yaml --like RUN", "eval.truncation RUN",
     "eval.attribution RUN RUN"],
)  # fmt: skip
def test_a_run_or_file_that_is_not_there_is_a_wrong_call(call, words, tmp_path):
    name, *arguments = words.replace("RUN", str(tmp_path / "nowhere")).split()
    code, out, error = call(f"autodata.{name}", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: (.* )?{tmp_path}/nowhere.*\n", error)


def test_a_task_without_answers_is_a_wrong_call(call, tmp_path):
    (tmp_path / "answers.jsonl").touch()
    code, _, error = call("autodata.eval.truncation", str(tmp_path), "--task", "nosuch")
    assert (code, error) == (2, f"error: --task nosuch: {tmp_path} has no answers to it, only to no task\n")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("merge", "documents.shard=1/2", "documents.shard=1/2: leave it out"),
        ("generate", "documents.shard=9/2", "documents.shard=9/2: write it as i/n"),
        ("generate", "documents.path=/nope", "documents.path=/nope: no such file or folder"),
        ("generate", "budget_from=/nope arm=best_of_n", "/nope: no such run"),
        ("generate", "models.weak_solver=null", "models.weak_solver: name the endpoint"),
        ("plan.plan", "--speed nonsense", "--speed nonsense: write ENDPOINT"),
        ("plan.plan", "--speed small=1,2,3 --gpus -1", "--gpus -1: must be at least 1"),
    ],
)
def test_a_wrong_value_is_a_wrong_call(call, name, change, message, tmp_path):
    code, out, error = call(f"autodata.{name}", DEMO, f"run={tmp_path / 'run'}", *change.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {re.escape(message)}.*\n", error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("models.judge.endpoint=zzz", r"models\.judge\.endpoint=zzz: not in models\.endpoints \(.*\)"),
        ("models.endpoints.large.structured_output=zz", r"models\.\S*=zz: choose one of json_schema, .*, none"),
    ],
)
def test_a_model_that_cannot_answer_is_noticed_before_the_run_is_opened(call, name, change, message, tmp_path):
    modules = ["autodata.generate"] if name == "autodata.cluster.commands" else []
    arguments = [*modules, RECIPES[name], "recipes/models/one_node.yaml", f"run={tmp_path}/run", change]
    code, out, error = call(name, *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: .*{message}\n", error)
    assert not (tmp_path / "run").exists()


def test_an_api_key_that_is_not_set_is_a_wrong_call(call, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    endpoint = "models.endpoints.small"
    values = [f"{endpoint}.base_url=http://127.0.0.1:9/v1", f"{endpoint}.api_key_env=NO_SUCH_KEY"]
    code, _, error = call("autodata.generate", DEMO, f"run={tmp_path}/run", *values)
    assert code == 2
    assert error == "error: http://127.0.0.1:9/v1: the environment variable NO_SUCH_KEY is not set\n"


def test_an_endpoint_without_an_address_and_a_server_is_a_wrong_call(call, tmp_path):
    code, _, error = call("autodata.generate", DEMO, f"run={tmp_path}/run", "models.endpoints.small.server=null")
    assert code == 2
    assert error.startswith("error: models.endpoints.small: set base_url")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("generate DEMO run=RUN domain.prompts=/nope", "domain.prompts=/nope: no such folder"),
        ("tables.write recipes/demo/table1.yaml output=/proc/x/t.md", "output=/proc/x/t.md: .*; name a file"),
        ("cluster.serve RUN x 1", "RUN: no campaign has started"),
        ("journal.actions DIR salvage", "DIR: not a file"),
        ("journal.actions DIR/text salvage", "DIR/text: not an SQLite database"),
        ("journal.actions DIR", "DIR: not a file"),
        ("journal.actions RUN import /nope.jsonl", "/nope.jsonl: no such file"),
        ("journal.actions RUN/journal.sqlite import DIR/text", "RUN/journal.sqlite: no folder RUN"),
        ("journal.actions DIR/text export RUN/pack.jsonl", "RUN/pack.jsonl: no folder RUN"),
        ("cluster.commands autodata.nosuch DEMO run=RUN", "MODULE autodata.nosuch: no such command"),
        ("cluster.commands --dry-run nosuch.module DEMO run=RUN", "MODULE nosuch.module: no such command"),
        ("cluster.commands autodata.cluster DEMO run=RUN", "MODULE autodata.cluster: no such command"),
        ("generate DEMO sede=1", r"command line: Key 'sede' not in 'GenerateRecipe'. Did you mean: 'seed'\?"),
        (
            "generate DEMO colour=1",
            "command line: Key 'colour' not in 'GenerateRecipe'. Choose one of run, ",
        ),
    ],
)
def test_a_wrong_argument_is_named(call, words, message, tmp_path):
    places = {"DEMO": DEMO, "RUN": str(tmp_path / "run"), "DIR": str(tmp_path)}
    for place, path in places.items():
        words, message = words.replace(place, path), message.replace(place, path)
    (tmp_path / "text").write_text("no database, but longer than the first sixteen bytes")
    name, *arguments = words.split()
    code, _, error = call(f"{'eval' if 'tables' in name else 'autodata'}.{name}", *arguments)
    assert code == 2
    assert re.fullmatch(f"error: {message}.*\n", error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ask", [probes.probe, probes.read_served])
@pytest.mark.parametrize("listed", [b'"text"', b"[1]", b'{"data": ["a"]}', b'{"data": 3}', b'{"error": ', b"{}"])
def test_a_list_of_models_of_another_form_is_an_error_of_the_endpoint(ask, listed, monkeypatch):
    monkeypatch.setattr(fake_server_module._Handler, "do_GET", lambda handler: handler._send(Scripted(listed)))
    with fake_server(lambda body, count: completion("x")) as server:
        try:
            assert ask(Endpoint("fake", base_url=server.url)) is None
        except EndpointError as error:
            assert server.url in str(error)


def test_a_probe_hides_the_key_in_what_a_model_replies(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    monkeypatch.setattr(fake_server_module, "NAMES", ("sk-secret",))
    with fake_server(lambda body, count: completion("sk-secret")) as server:
        replica = Server("fake", canary=Canary("Who?", "me"))
        endpoint = Endpoint("fake", base_url=server.url, api_key_env="SOME_KEY", server=replica)
        for probe in probes.choose_probes(endpoint, [Role.JUDGE]).values():
            with pytest.raises(EndpointError, match=r"\*\*\*") as raised:
                probes.run_probe(endpoint, probe)
            assert "sk-secret" not in str(raised.value)


def test_the_exit_code_reaches_the_shell_without_a_traceback(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")  # a run that is not finished
    for words, code in ((["autodata.verify", str(tmp_path)], 1), (["autodata.generate", DEMO, "sed=1"], 2)):
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=REPO)
        assert (done.returncode, done.stdout) == (code, "")
        assert re.fullmatch("error: .*\n", done.stderr)


def test_a_logged_warning_is_printed_with_its_level_and_source():
    script = "import logging\nfrom autodata import command\nwith command.report_errors():\n"
    script += "    logging.getLogger('some.library').warning('slow disk')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert (done.stdout, done.stderr) == ("", "WARNING some.library: slow disk\n")
