"""Tests the whole chain as its user runs it: real vLLM, real TRL, documents from outside the repository."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autodata.config import load
from autodata.loop import domain as base
from autodata.recipes.generation import GenerateRecipe
from autodata.run.folder import require_finished
from autodata.run.records import read_records
from autodata.serving.embedded import resolve_weights
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.vllm import ServerError, command_line, running
from autodata.training.rows import render_prompt
from autodata.types import TRAJECTORY, Candidate, Criterion, Role

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
RECIPES = "recipes/demo"
DOCUMENTS = "tests/documents"  # four short texts and one broken line


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(*command: str, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, done.stdout[-3000:]
    return done


def module(name: str, recipe: str, *arguments: str) -> str:
    return run(sys.executable, "-m", name, f"{RECIPES}/{recipe}", *arguments).stdout


def test_generate_killed_in_the_middle_goes_on_where_it_was(server, runs):
    arguments = [
        f"run={runs}/agentic",
        f"documents.path={DOCUMENTS}",
        server,
        "domain.presets.just_right.weak_mean_at_most=0.75",
    ]
    command = [sys.executable, "-m", "autodata.generate", f"{RECIPES}/generate.yaml", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        journal = runs / "agentic" / "journal.sqlite-wal"
        while not (journal.exists() and journal.stat().st_size > 50_000):
            time.sleep(0.1)
            assert process.poll() is None
        process.kill()
    out = module("autodata.generate", "generate.yaml", *arguments)
    assert "skipped more.jsonl:2: not JSON" in out
    manifest = require_finished(str(runs / "agentic"), "")
    assert manifest["counts"]["replayed"] > 0
    trajectories = read_records(runs / "agentic" / "trajectories.jsonl", TRAJECTORY)
    assert {t.document_id for t in trajectories} == {"bread.txt", "ferry.md", "bees", "train"}
    assert all(len(r.weak) == 8 for t in trajectories for r in t.rounds if r.weak)
    assert sum(t.accepted is not None for t in trajectories) >= 2


def test_the_baseline_and_the_dataset(server, runs):
    module("autodata.generate", "generate_cot.yaml", f"run={runs}/cot", f"documents.path={DOCUMENTS}", server)
    out = module(
        "autodata.dataset",
        "dataset.yaml",
        f"run={runs}/dataset",
        f"arms.agentic={runs}/agentic",
        f"arms.cot={runs}/cot",
        "test_fraction=0.25",  # one of four documents, so that an accepted one is left to train on
    )
    assert "weak_avg" in out


def test_training_refuses_too_few_and_goes_on_after_a_kill(runs):
    accelerate = str(Path(sys.executable).parent / "accelerate")
    launch = [
        accelerate,
        "launch",
        "--config_file",
        "recipes/accelerate/cpu.yaml",
        "training/grpo.py",
        f"{RECIPES}/grpo.yaml",
        f"run={runs}/grpo",
        f"dataset={runs}/dataset",
    ]
    refused = subprocess.Popen(
        [*launch, "min_examples=99"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    short = [
        *launch,
        f"run={runs}/grpo_short",
        "min_examples=1",
        "evaluate=[agentic_train]",
        "trainer.max_steps=3",
        "trainer.save_steps=1",
        "trainer.num_generations=4",
        "trainer.per_device_train_batch_size=4",
    ]
    with subprocess.Popen(
        short, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while not (runs / "grpo_short" / "checkpoints" / "checkpoint-1" / "trainer_state.json").exists():
            time.sleep(0.1)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    assert "fewer than min_examples=99" in refused.communicate()[0]
    assert refused.returncode != 0
    run(*short)
    assert require_finished(f"{runs}/grpo_short", "")["steps"] == 3
    curve = json.loads((runs / "grpo_short" / "curve.json").read_text())
    assert [entry["step"] for entry in curve["train"]] == [1, 2, 3]
    assert (runs / "grpo_short" / "curve.png").stat().st_size > 1_000


def test_the_trained_model_is_served_and_evaluated_and_the_table_shows_it(server, runs):
    samples = [f"dataset={runs}/dataset", "samples=2"]
    module("autodata.eval.run", "eval_base.yaml", f"run={runs}/eval_base", server, *samples)
    module(
        "autodata.eval.run",
        "eval_trained.yaml",
        f"run={runs}/eval_trained",
        *samples,
        f"evaluated.weights={runs}/grpo_short/model",
    )
    table = module("autodata.eval.tables", "table2.yaml", f"runs={runs}", f"output={runs}/table2.md")
    assert re.search(r"\| SmolLM2-135M \| .*\d\.\d{3}", table)
    assert re.search(r"\| SmolLM2-135M \+ RL on agentic data \| .*\d\.\d{3}", table)
    assert list((runs / "eval_trained" / "logs").glob("*.eval"))
    cut_off = module("autodata.eval.tables", "table8.yaml", f"runs={runs}", f"output={runs}/table8.md")
    assert re.search(r"\| SmolLM2-135M \+ RL on agentic data \| .*\d+\.\d\d", cut_off)
    flips = module("autodata.eval.tables", "table9.yaml", f"runs={runs}", f"output={runs}/table9.md")
    assert re.search(r"\| SmolLM2-135M \+ RL on agentic data \| \d+ \|", flips)
    again = module("autodata.eval.run", "eval_base.yaml", f"run={runs}/eval_base", server, *samples)
    assert "up to date" in again


def test_training_renders_the_prompt_that_the_server_renders(server, tmp_path):
    """Compares the token ids of the tokenizer here with those of vLLM's tokenize route."""
    import httpx
    from transformers import AutoTokenizer

    recipe = load(GenerateRecipe, [f"{RECIPES}/generate.yaml", server])
    journal = Journal(tmp_path / "j")
    domain = base.load(recipe.domain, Client(recipe.models, journal))
    journal.close()
    candidate = Candidate("They keep all of their records\nThe last word is", "records", (Criterion("last", 1),))
    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("embedded"))
    here = tokenizer(render_prompt(candidate, domain, tokenizer, {}), add_special_tokens=False)["input_ids"]
    messages = [{"role": m.role, "content": m.content} for m in domain.solver_prompt(candidate)]
    body = {
        "model": "smollm2-135m-instruct",
        "messages": messages,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    url = recipe.models.endpoints["small"].base_url.removesuffix("/v1") + "/tokenize"
    assert httpx.post(url, json=body, timeout=60).json()["tokens"] == here


def test_a_real_server_that_cannot_start_shows_its_log(tmp_path):
    recipe = load(GenerateRecipe, [f"{RECIPES}/generate.yaml", "models.endpoints.small.server.flags.dtype=float99"])
    with pytest.raises(ServerError, match="float99"):
        running(recipe.models, [Role.WEAK_SOLVER], tmp_path).__enter__()


def test_ctrl_c_in_a_terminal_stops_the_server_too(runs):
    command = [sys.executable, "-m", "autodata.servers", f"{RECIPES}/generate.yaml", f"run={runs}/ctrl_c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline().startswith("starting")
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=40) == 0
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    log_name = f"{runs}/ctrl_c"
    assert log_name not in listed


def test_every_flag_of_the_models_files_is_known_to_the_installed_vllm():
    """Parses the names and values of all server flags, the paper's models included, without starting a server."""
    code = (
        "import sys, json\n"
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "parser = make_arg_parser(FlexibleArgumentParser())\n"
        "for line in json.load(sys.stdin): parser.parse_args(line)\n"
    )
    lines = []
    for models in ("laptop", "paper", "one_node", "one_gpu"):
        recipe = load(GenerateRecipe, ["recipes/cs/generate.yaml", f"recipes/models/{models}.yaml"])
        lines += [command_line(e, "0.0.0.0", 8000)[3:] for e in recipe.models.endpoints.values()]
    assert len(lines) == 8
    run(sys.executable, "-c", code, input=json.dumps(lines))
