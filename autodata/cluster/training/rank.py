"""Starts the processes of a training on one node of its job, with accelerate. autodata.cluster.training.job runs it.

python -m autodata.cluster.training.rank ACCELERATE GPUS NODE ARGUMENT …
"""

import os
import sys
from collections.abc import Mapping, Sequence

from autodata import command
from autodata.cluster.serve import choose_gpus


def write_launch(file: str, gpus: int, first_node: str, training: Sequence[str], step: Mapping[str, str]) -> list[str]:
    """Write accelerate's command for this node. `step` has the variables that Slurm sets in a step."""
    nodes = int(step["SLURM_STEP_NUM_NODES"])
    # One process per GPU; without GPUs, as many processes as the accelerate file names for one node.
    processes = ["--num_processes", str(nodes * gpus)] if gpus else []
    machines = ["--num_machines", str(nodes), "--machine_rank", step["SLURM_PROCID"]]
    port = 20_000 + int(step["SLURM_JOB_ID"]) % 20_000  # the same on all nodes, another for each job
    address = ["--main_process_ip", step.get("AUTODATA_ADDRESS") or first_node, "--main_process_port", str(port)]
    launch = ["accelerate.commands.launch", "--config_file", file, *processes, *machines, *address]
    return [sys.executable, "-m", *launch, "training/grpo.py", *training]


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("accelerate", metavar="ACCELERATE", help="an accelerate file")
    parser.add_argument("gpus", type=int, metavar="GPUS", help="how many GPUs of this node the training uses")
    parser.add_argument("node", metavar="NODE", help="the first node, where the processes meet")
    parser.add_argument("training", nargs="+", metavar="ARGUMENT", help="what training/grpo.py is called with")
    options = parser.parse_args()
    os.environ |= choose_gpus(os.environ, 0, options.gpus)
    line = write_launch(options.accelerate, options.gpus, options.node, options.training, os.environ)
    os.execv(line[0], line)


if __name__ == "__main__":
    main()
