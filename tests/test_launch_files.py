"""Tests that training/grpo.py starts with the committed launch files, and goes on after a judge or a disk failed."""

import json
import re
import subprocess

import pytest

from autodata.run.folder import read_manifest
from autodata.training.weights.student import load_model
from tests.helpers.commands import fails
from tests.helpers.fake_server import Scripted, fake_server, judge_by_hash
from tests.helpers.training_runs import arguments, count_asked, judge, read_curve, train, world, world_and_judge
from tests.helpers.training_world import REPO, launch

__all__ = ["judge", "world", "world_and_judge"]  # fixtures
pytestmark = pytest.mark.slow


def test_a_judge_that_fails_in_the_middle_stops_and_the_same_command_goes_on(world, tmp_path, monkeypatch):
    broken = [True]

    def fails_later(body, count):
        return Scripted(status=500) if broken[0] and count > 60 else judge_by_hash(body, count)

    with fake_server(fails_later) as server:
        values = [*arguments(world, server, tmp_path / "run", max_steps=12), "models.endpoints.judge.retries=0"]
        with fails(r"judgements failed, more than reward\.max_failures=0\.1: .*HTTP 500"):
            train(monkeypatch, *values)
        assert list((tmp_path / "run" / "checkpoints").glob("checkpoint-*/trainer_state.json"))
        broken[0] = False
        train(monkeypatch, *values)
    assert read_manifest(tmp_path / "run")["steps"] == 12


def test_a_full_disk_leaves_the_last_good_checkpoint(world, judge, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no small disk can be made here")
    try:
        with fails("No space left on device"):
            train(monkeypatch, *arguments(world, judge, disk / "run", max_steps=6))
        subprocess.run(["mount", "-o", "remount,size=900m", str(disk)], check=True)
        train(monkeypatch, *arguments(world, judge, disk / "run", max_steps=6))
        assert read_manifest(disk / "run")["steps"] == 6
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # TRL's logs may be open


SPY_ENGINE = """
import json
from transformers import TrainerCallback
class Spy(TrainerCallback):
    def on_train_end(self, args, state, control, model=None, **more):
        trainer = seen[0]
        print("SPY " + json.dumps([type(trainer.model_wrapped).__module__, trainer.is_deepspeed_enabled,
              str(trainer.accelerator.distributed_type), trainer.accelerator.num_processes,
              trainer.model_wrapped.zero_optimization_stage() if trainer.is_deepspeed_enabled else 0]), flush=True)
"""
SPY_PRECISION = """
import json
from transformers import TrainerCallback
class Spy(TrainerCallback):
    def on_substep_end(self, args, state, control, model=None, **more):
        optimizer = seen[0].model_wrapped.optimizer
        if args.deepspeed_plugin.zero_stage == 2:
            masters = optimizer.single_partition_of_fp32_groups
            gradients = [g for group in optimizer.averaged_gradients.values() for g in group]
        else:
            masters = optimizer.fp32_partitioned_groups_flat
            gradients = list(optimizer._DeepSpeedZeroOptimizer_Stage3__param_id_to_grad_partition.values())
        assert masters and gradients and any(g.abs().sum() > 0 for g in gradients)
        trained = [p for p in model.parameters() if p.requires_grad]
        held = [sorted({str(tensor.dtype) for tensor in tensors}) for tensors in (trained, masters, gradients)]
        print("SPY " + json.dumps(held), flush=True)
"""
RUN_SPIED = """
from autodata.training import grpo
from autodata.training.trainer import Training
seen, run = [], Training.run
def spied(self):
    seen.append(self.trainer); self.trainer.add_callback(Spy())
    return run(self)
Training.run = spied
grpo.main()
"""

# Changes of the committed files, to run here. On CPUs accelerate does not count DeepSpeed's processes.
HERE = {
    "cpu": {'"NO"': "MULTI_GPU", "num_processes: 1": "num_processes: 2"},
    "zero2": {"num_processes: 8": "num_processes: 1"},
    "zero3": {"num_processes: 8": "num_processes: 1"},
}


def launch_spied(folder, name: str, spy: str, values: list[str]) -> str:
    """Run the command with a committed launch file, changed for this machine, and a spy; return what it prints."""
    text = (REPO / "recipes" / "accelerate" / f"{name}.yaml").read_text()
    for ours, here in HERE[name].items():
        assert ours in text
        text = text.replace(ours, here)
    config, script = folder / "accelerate.yaml", folder / "spied.py"
    config.write_text(text)
    script.write_text(spy + RUN_SPIED)
    command = launch(*values, config=str(config))
    command[command.index("training/grpo.py")] = str(script)
    done = subprocess.run(command, cwd=REPO, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", [["torch.nn.parallel.distributed", False, "DistributedType.MULTI_CPU", 2, 0]] * 2),
        ("zero2", [["deepspeed.runtime.engine", True, "DistributedType.DEEPSPEED", 1, 2]]),
        ("zero3", [["deepspeed.runtime.engine", True, "DistributedType.DEEPSPEED", 1, 3]]),
    ],
)
def test_the_committed_launch_files(world_and_judge, tmp_path, name, expected):
    watched = {"eval_strategy": "steps", "eval_steps": 2}
    values = arguments(*world_and_judge, tmp_path / "run", max_steps=2, save_steps=1, **watched)
    values += ["evaluate=[cot_test]", "save_models_at=[1]"]
    told = launch_spied(tmp_path, name, SPY_ENGINE, values)
    reports = [json.loads(line) for line in re.findall(r"SPY (\[.*?\])", told)]  # two may share a line
    assert reports == expected
    manifest, cost = read_manifest(tmp_path / "run"), read_manifest(tmp_path / "run")["ledger"]["judge"]
    assert cost["calls"] == count_asked(world_and_judge[1])
    assert manifest["judgements"] == cost["calls"] + cost["replayed"]  # sums over all processes
    assert manifest["judged_over"] == {"sessions": 1, "processes": len(expected)}
    # Two steps of 2 prompts by 4, the probe's 8 (two processes fill its batch up to 12), and 2 watched prompts by 3.
    assert manifest["judgements"] == 16 + (12 if len(expected) == 2 else 8) + 6
    assert 0 < manifest["evaluation_share"] < 1
    assert len(read_curve(tmp_path / "run")) == 2
    for name in ("model", "model_at_1"):
        assert all(parameter.numel() for parameter in load_model(str(tmp_path / "run" / name), {}).parameters())


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_deepspeed_holds_float32_weights_and_gradients_beside_bfloat16_ones(world_and_judge, tmp_path, name):
    values = arguments(*world_and_judge, tmp_path / "run", max_steps=1, bf16=True, learning_rate=1e-6)
    values.append("trainer.model_init_kwargs={dtype: bfloat16}")
    told = launch_spied(tmp_path, name, SPY_PRECISION, values)
    (report,) = [json.loads(line) for line in re.findall(r"SPY (\[.*\])", told)]
    assert report == [["torch.bfloat16"], ["torch.float32"], ["torch.float32"]]
    assert read_manifest(tmp_path / "run")["moved_share"] > 0.9  # of the float32 weights
