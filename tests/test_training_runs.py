"""Tests training/grpo.py as its users run it, on a random model of Qwen3.5's architecture and a judge over HTTP."""

import json
import math
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from autodata.run.folder import read_manifest
from autodata.run.snapshot import read_snapshot
from autodata.training.rewards.counts import read_counts
from autodata.training.weights.student import load_model
from autodata.types import Role
from tests.helpers.commands import fails
from tests.helpers.fake_server import Scripted, fake_server, judge_by_hash
from tests.helpers.training_runs import arguments, count_asked, judge, read_curve, train, world, world_and_judge
from tests.helpers.training_world import REPO, launch, make_arguments, make_dataset

__all__ = ["judge", "world", "world_and_judge"]  # fixtures
pytestmark = pytest.mark.slow
SIX = {"max_steps": 6, "save_steps": 2}  # two epochs
KEPT = "save_models_at=[4]"


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    with fake_server(judge_by_hash) as server:
        command = launch(*arguments(world, server, run, **SIX, save_total_limit=1, report_to="trackio"), KEPT)
        subprocess.run(command, check=True, cwd=REPO)
    return run


def test_what_is_saved_loads_and_the_vision_tower_is_as_it_was(world, undisturbed):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    before, after = load_model(str(world / "qwen"), {}), load_model(str(undisturbed / "model"), {})
    changed = {
        name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])
    }
    assert changed
    assert not any(".visual." in name for name in changed)
    assert any("visual" in name for name in after.state_dict())
    saved = load_file(undisturbed / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    tokenizer = AutoTokenizer.from_pretrained(undisturbed / "model")
    assert "<think>" in tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )
    assert (undisturbed / "model" / "generation_config.json").exists()
    assert "Domain: cs; arms: agentic; steps: 6; judge: " in (undisturbed / "model" / "README.md").read_text()
    assert not (undisturbed / "full").exists()
    manifest = read_manifest(undisturbed)
    assert manifest["outputs"].keys() == {"model", "model_at_4"}
    assert manifest["examples"] == {"train": 6}
    assert [path.name for path in (undisturbed / "checkpoints").glob("checkpoint-*")] == ["checkpoint-6"]
    card = (undisturbed / "model_at_4" / "README.md").read_text()
    assert "steps: 4; judge: " in card and "Trained: all weights" in card
    assert list((undisturbed / "trackio").glob("*.db"))  # and not in the user's cache


def test_killed_and_resumed_it_is_the_same_training_and_pays_nothing_twice(world, undisturbed, judge, tmp_path):
    import torch
    from safetensors.torch import load_file

    command = launch(*arguments(world, judge, tmp_path / "run", **SIX, save_total_limit=1), KEPT)
    with subprocess.Popen(command, cwd=REPO, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while not (tmp_path / "run" / "checkpoints" / "checkpoint-4" / "trainer_state.json").exists():
            time.sleep(0.05)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    subprocess.run(command, check=True, cwd=REPO)
    assert read_curve(tmp_path / "run") == read_curve(undisturbed)
    requests = [json.dumps(body, sort_keys=True) for body in judge.requests if body.get("max_tokens") != 1]
    assert len(set(requests)) == len(requests) > 40
    for model in ("model", "model_at_4"):
        same = load_file(tmp_path / "run" / model / "model.safetensors")
        for name, tensor in load_file(undisturbed / model / "model.safetensors").items():
            assert torch.equal(tensor, same[name]), name


@pytest.mark.parametrize("lora", ["{}", "{r: 4, lora_alpha: 4, target_modules: all-linear}"], ids=["all", "lora"])
def test_killed_after_its_last_step_it_saves_that_model_and_adds_no_step(world, judge, tmp_path, monkeypatch, lora):
    from safetensors.torch import load_file

    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    runs = [tmp_path / name for name in ("whole", "killed")]
    whole, killed = ([*arguments(world, judge, run, max_steps=2), f"lora={lora}"] for run in runs)
    train(monkeypatch, *whole)
    with monkeypatch.context() as broken, fails("the disk is gone"):
        broken.setattr("autodata.training.run.save_student", fail)
        train(monkeypatch, *killed)
    train(monkeypatch, *killed)
    manifests, weights = map(read_manifest, runs), [load_file(run / "model" / "model.safetensors") for run in runs]
    assert [manifest["steps"] for manifest in manifests] == [2, 2]
    assert read_curve(runs[0]) == read_curve(runs[1])
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())
    assert not (runs[1] / "full").exists()


class Stalling:
    """A judge whose 12th reply is an error and that waits for `goes_on` from the 53rd on, in the sixth step."""

    def __init__(self):
        self.answered, self.lock = 0, threading.Lock()
        self.stalls, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, body: dict, count: int) -> Scripted:
        if body.get("max_tokens") == 1:
            return judge_by_hash(body, count)
        if count > 52 and not self.goes_on.is_set():
            self.stalls.set()
            self.goes_on.wait()
            return Scripted(drop=True)
        if count == 12:
            return Scripted(status=500)
        with self.lock:
            self.answered += 1
        return judge_by_hash(body, count)


def kill_when(event: threading.Event, command: list[str]) -> None:
    """Run a command until the event, give it time to write its counts, and kill it."""
    with subprocess.Popen(command, cwd=REPO, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        while not event.wait(0.1):
            assert process.poll() is None
        time.sleep(2.5)
        os.killpg(process.pid, signal.SIGKILL)


def test_killed_within_a_step_and_resumed_it_tells_what_both_sessions_judged(world, tmp_path):
    run, script = tmp_path / "run", Stalling()
    with fake_server(script) as server:
        command = [*launch(*arguments(world, server, run, **SIX)), "models.endpoints.judge.retries=0"]
        kill_when(script.stalls, command)
        first = read_counts(run / "counts_0.json")
        paid = first.ledger[Role.JUDGE]
        assert (paid.calls, first.failed) == (script.answered, 1)
        interrupted = paid.calls + paid.replayed + first.failed - first.judgements
        assert 0 < interrupted < 8  # answered, but the batch was not finished
        script.goes_on.set()
        done = subprocess.run(command, check=True, cwd=REPO, text=True, capture_output=True)
    manifest, now = read_manifest(run), read_snapshot(run)
    cost = manifest["ledger"]["judge"]
    assert cost["calls"] == script.answered > paid.calls
    assert manifest["judgements"] == cost["calls"] + cost["replayed"] + 1 - interrupted
    assert cost["replayed"] >= paid.replayed + interrupted + 6  # the fifth step is done again
    assert manifest["failed_by_reason"] == {"HTTP 500": 1}
    message = f"1 of {manifest['judgements']} judgements failed and gave no reward, counted over 2 sessions"
    assert f"{message}: HTTP 500 1" in done.stdout
    assert f"{message}." in (run / "model" / "README.md").read_text()
    assert (now.calls, now.facts["judgements"]) == (cost["calls"], manifest["judgements"])


def test_watched_sets_have_curves_and_a_second_judge(world, judge, tmp_path, monkeypatch, capsys):
    values = {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 2, "eval_on_start": True}
    command = [
        *arguments(world, judge, tmp_path / "run", **values),
        "evaluate=[cot_test,agentic_test]",
        "second_judge.endpoint=other",
        "second_judge.sampling.max_tokens=64",
        "second_judge_examples=1",
        f"models.endpoints.other.base_url={judge.url}",
        "models.endpoints.other.model=strong",
    ]
    train(monkeypatch, *command)
    watched = json.loads((tmp_path / "run" / "curve.json").read_text())["watched"]
    assert set(watched) == {"cot_test", "agentic_test", "probe"}
    counts = read_manifest(tmp_path / "run")["examples"]
    assert counts == {"train": 6, "cot_test": 2, "agentic_test": 2}, "padding is no example"
    for name in ("cot_test", "agentic_test"):
        assert [point["step"] for point in watched[name]] == [0, 2]
        assert all(0 <= point["second_judge"] <= 1 for point in watched[name])
    assert {body["model"] for body in judge.requests} == {"fake", "strong"}
    now = read_snapshot(tmp_path / "run")
    assert (now.state, now.done, now.total) == ("finished", 2, 2)
    assert 0 < now.facts["reward"] <= 1 and now.calls == count_asked(judge)
    train(monkeypatch, *command)
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["min_examples=99"], "too few training examples: 6, fewer than min_examples=99"),
        (["train_examples=7"], "too few training examples: 6, fewer than train_examples=7"),
        (["evaluate_dataset=nowhere"], "nowhere: no such run; make it with python -m autodata.dataset"),
        (["domain.name=legal"], "domain.name=legal: the arm agentic of .* was made for cs"),
        (["arms=[best_of_n]"], "has no arm best_of_n; it has agentic, cot"),
        (["evaluate=[cot_dev]"], "'cot_dev' is not of the form <arm>_train or <arm>_test"),
        (["trainer.learning_rat=1"], "trainer: .*learning_rat"),
        (["save_models_at=[4]"], r"save_models_at: step 4 is beyond trainer\.max_steps=3"),
        (["lora={target_modules: [qproj]}"], "lora: .*this model has the linear layers down_proj, "),
        (["trainer.output_dir=/tmp"], r"trainer\.output_dir: set by this command"),
        (["preflight.prompt_tokens=10"], r"prompts longer than preflight\.prompt_tokens=10: 6"),
        (["trainer.max_completion_length=100000"], "do not fit the context of 32768 tokens"),
        (["trainer.per_device_eval_batch_size=6"], "not a multiple of the group size 4"),
        (["preflight.max_cut_off=0.5"], "100 % of the untrained model's completions are cut off"),
        (["reward.cut_off=zero"], "in 100 % of the groups all rewards are equal"),
        (["models.endpoints.judge.model=other"], "serves fake, weak, strong, not other"),
        (["models.endpoints.judge.base_url=http://127.0.0.1:9/v1"], "127.0.0.1:9"),
    ],
)
def test_what_is_said_before_the_first_step(world_and_judge, tmp_path, monkeypatch, values, message):
    with fails(message):
        train(monkeypatch, *arguments(*world_and_judge, tmp_path / "run"), *values)
    assert not (tmp_path / "run" / "checkpoints").exists() or not list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_set_without_examples_is_not_watched(world, judge, tmp_path, monkeypatch):
    make_dataset(tmp_path / "data", test=0)
    paths = (world / "qwen", tmp_path / "data", judge.url, tmp_path / "run")
    values = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True}
    train(monkeypatch, *make_arguments(*paths, **values), "evaluate=[cot_test]")
    assert set(json.loads((tmp_path / "run" / "curve.json").read_text())["watched"]) == {"probe"}


def test_watched_sets_of_another_data_set_are_an_input_of_the_training(world, judge, tmp_path, monkeypatch):
    watched = make_dataset(tmp_path / "watched", train=0, test=3)
    values = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    command = [*arguments(world, judge, tmp_path / "run", **values), "train_examples=4", "evaluate=[cot_test]"]
    train(monkeypatch, *command, f"evaluate_dataset={watched}")
    assert set(json.loads((tmp_path / "run" / "curve.json").read_text())["watched"]) == {"cot_test", "probe"}
    inputs = read_manifest(tmp_path / "run")["inputs"]
    assert inputs["train_examples"] == 4 and inputs["dataset"] != inputs["evaluate_dataset"]
    assert inputs["evaluate_dataset"][:16] in (tmp_path / "run" / "model" / "README.md").read_text()
    with fails("made from other inputs"):
        train(monkeypatch, *command)


def test_a_judge_that_cannot_be_read_is_said_before_the_first_step(world, tmp_path, monkeypatch):
    def mumble(body, count):
        message = {"role": "assistant", "content": "hm"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        reply = {"model": "fake", "object": "chat.completion", "id": "x", "created": 1, "usage": usage}
        return Scripted(reply | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    with fake_server(mumble) as server, fails("none of 8 judgements could be read"):
        train(monkeypatch, *arguments(world, server, tmp_path / "run"))


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(world, judge, tmp_path, monkeypatch):
    from trl import GRPOTrainer

    step, steps = GRPOTrainer.training_step, []

    def diverge(trainer, model, *rest):
        loss = step(trainer, model, *rest)
        steps.append(loss)
        if len(steps) == 4:  # the second batch of the second step
            next(p for p in model.parameters() if p.requires_grad).grad.fill_(math.nan)
        return loss

    monkeypatch.setattr(GRPOTrainer, "training_step", diverge)
    with fails("step 2: weights are no longer finite; the last checkpoint was written before that"):
        train(monkeypatch, *arguments(world, judge, tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_checkpoint_of_another_model_is_refused(world, judge, undisturbed, tmp_path, monkeypatch):
    shutil.copytree(undisturbed / "checkpoints", tmp_path / "run" / "checkpoints")
    for config in (tmp_path / "run" / "checkpoints").glob("*/config.json"):
        config.write_text(config.read_text().replace('"hidden_size": 64', '"hidden_size": 80'))
    with fails("checkpoint-6 belongs to another model: hidden_size 80, not 64"):
        train(monkeypatch, *arguments(world, judge, tmp_path / "run", **SIX))
