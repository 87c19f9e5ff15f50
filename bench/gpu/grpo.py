"""Trains the embedded model on the demo's data with vLLM in the trainer's process. A part of bench/gpu.sh.

    python -m bench.gpu.grpo RUNS

The recipe is recipes/demo/grpo.yaml, with its seed, learning rate and float32 weights. The data set is RUNS/dataset.
The model learns if the mean reward of the last quarter of the steps is at least 0.3 above that of the first.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median

from autodata.report.curves import read_curves
from autodata.run.folder import read_manifest
from bench.gpu.record import Number, is_small, write_record

LEARNS = 0.3  # chosen: selected questions begin at 0.5 or below
VLLM = (
    "trainer.use_vllm=true",
    "trainer.vllm_mode=colocate",
    "trainer.vllm_max_model_length=1024",
    "trainer.vllm_importance_sampling_mode=token_truncate",
    # TRL's vLLM holds these float32 weights in bfloat16. On a CPU this made a difference of 0.17 nats after one step,
    # and of 0.00001 with float32 in vLLM. The importance weights correct for it.
    "preflight.max_logp_difference=1.0",
    "trainer.generation_kwargs=null",  # its min_new_tokens is a key of transformers, which vLLM refuses
)
GPU = (
    "trainer.use_cpu=false",
    "trainer.vllm_enable_sleep_mode=true",
    "trainer.vllm_gpu_memory_utilization=0.05",  # little, because other programs start on the GPU meanwhile
)
SMALL = ("min_examples=1", "preflight.probe=0", "trainer.max_steps=2", "trainer.eval_steps=2", "trainer.save_steps=2")


def train(runs: Path) -> None:
    """Run the training in a process of its own; it resumes if it was interrupted."""
    # Without a GPU, vLLM must be told to keep weights that can be replaced.
    script = ["-m", "tests.helpers.colocate"] if is_small() else ["training/grpo.py"]
    values = [f"run={runs}/grpo", f"dataset={runs}/dataset", *VLLM, *(SMALL if is_small() else GPU)]
    subprocess.run([sys.executable, *script, "recipes/demo/grpo.yaml", *values], check=True)


def read_numbers(run: Path) -> dict[str, Number]:
    steps, manifest = read_curves(run).train, read_manifest(run) or {}
    first, last = manifest["reward_first_quarter"], manifest["reward_last_quarter"]
    return {
        "steps": manifest["steps"],
        "first_quarter": first,
        "last_quarter": last,
        "learns": "yes" if last - first >= LEARNS else "no",
        "step_s": median(step["step_time"] for step in steps),
        "logp_difference": fmean(step["sampling/sampling_logp_difference/mean"] for step in steps),
        "moved_share": manifest["moved_share"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the records and of the data set")
    runs = parser.parse_args().runs
    train(runs)
    numbers = read_numbers(runs / "grpo")
    write_record(runs, "grpo", numbers)
    print(numbers)


if __name__ == "__main__":
    main()
