"""Trains inside a Slurm job whose nodes also serve the judge: both start together and end together.

python -m autodata.cluster.training.job RECIPE [more.yaml …] [key=value …]

slurm/train.sh runs it in its job. Training and judge share one allocation, so no GPU waits in the queue for the other
and no order of starting matters. It is not a heterogeneous job, because only Slurm's backfill scheduler starts those,
and because the nodes of a training and of its judge are of one kind.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from autodata import command
from autodata.cluster import jobs, shared
from autodata.cluster.shared import LEASES, MODELS
from autodata.cluster.signals import Cancelled, Requeue, end_process, ignore_signals, raise_signals
from autodata.cluster.training.placement import Launch, Placement, Seat, fill, plan_judges
from autodata.config import REPO, load
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import read_manifest
from autodata.types import UserError, WrongCall

_POLL_S = 1.0
_END = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))  # what ends a step, and how many seconds it has
_DRAIN = (signal.SIGUSR1, 60.0)  # for servers, which then say in their leases that they have ended


class JudgeEnded(UserError):
    """The servers of the judge ended before the training; the message names the log to read."""


class Steps:
    """The steps of the job: the servers of the judge, and the training."""

    def __init__(self, run: Path, placement: Placement, nodes: Sequence[str]):
        self._run, self._placement, self._nodes, self._beat = run, placement, nodes, 0
        self._judges: list[subprocess.Popen[bytes]] = []
        self._training: subprocess.Popen[bytes] | None = None

    def start(self, launch: Launch, arguments: Sequence[str]) -> None:
        """Start everything at once: the processes of the training wait for the judge by themselves."""
        self._tell_alive()
        for seat in self._placement.seats:
            self._judges.append(subprocess.Popen(self.write_judge(seat)))
        self._training = subprocess.Popen(self.write_training(launch, arguments))

    def wait(self) -> int:
        """Wait for the training and return its exit status. Raises JudgeEnded if the judge ends before it."""
        while (status := self._training.poll()) is None:
            if any(judge.poll() is not None for judge in self._judges):
                raise JudgeEnded(
                    "the judge ended, so the training is stopped; read the logs of its servers in "
                    f"{self._run / 'serving'}, then submit the same command: it goes on from the last checkpoint"
                )
            self._tell_alive()
            time.sleep(_POLL_S)
        return status

    def end(self) -> None:
        """End the training first, so that it never runs without a judge, then the judge."""
        end_process(self._training, *_END)
        for judge in self._judges:
            end_process(judge, _DRAIN, *_END)

    def write_judge(self, seat: Seat) -> list[str]:
        """Write the step that serves a group of replicas."""
        before = [s.group for s in self._placement.seats[: self._placement.seats.index(seat)]]
        first = sum(group.replicas for group in before if group.endpoint == seat.group.endpoint)
        # The script reads slurm/site.env again, because a node's address may be computed there.
        serve = ["bash", str(REPO / "slurm" / "serve.sh"), str(self._run), seat.group.endpoint]
        numbers = [str(seat.group.replicas), f"--first-replica={first}", f"--first-gpu={seat.first_gpu}"]
        return [*_write_step([self._nodes[seat.node]]), *serve, *numbers]

    def write_training(self, launch: Launch, arguments: Sequence[str]) -> list[str]:
        """Write the step that trains, with one launcher on each of its nodes."""
        nodes, gpus = self._nodes[: self._placement.training_nodes], self._placement.training_gpus
        rank = ["-m", "autodata.cluster.training.rank", launch.file, str(gpus), nodes[0]]
        return [*_write_step(nodes), sys.executable, *rank, *arguments, *self._name_judges()]

    def _name_judges(self) -> list[str]:
        """Return the settings by which the training finds its judge."""
        values = {"leases": self._run / LEASES, "api_key_env": shared.VARIABLE}
        names = sorted({seat.group.endpoint for seat in self._placement.seats})
        return [f"models.endpoints.{name}.{key}={value}" for name in names for key, value in values.items()]

    def _tell_alive(self) -> None:
        self._beat += 1
        shared.write_beat(self._run, self._beat)


def _write_step(nodes: Sequence[str]) -> list[str]:
    """Write the beginning of a step on these nodes. Steps overlap: each uses the GPUs that its own command names."""
    where = [f"--nodes={len(nodes)}", f"--nodelist={','.join(nodes)}", "--ntasks-per-node=1", f"--ntasks={len(nodes)}"]
    return ["srun", "--overlap", "--mem=0", "--cpu-bind=none", "--kill-on-bad-exit=1", *where]


def run_steps(steps: Steps, launch: Launch, arguments: Sequence[str]) -> int:
    """Run all steps to the end of the training; return its exit status. Raises JudgeEnded."""
    try:
        raise_signals()
        steps.start(launch, arguments)
        return steps.wait()
    except Cancelled:
        return 128 + signal.SIGTERM
    except Requeue:
        ignore_signals()
        print("the job's time is nearly over: it is requeued and goes on from the last checkpoint", flush=True)
        steps.end()
        jobs.requeue(os.environ["SLURM_JOB_ID"])
        return 0
    finally:
        ignore_signals()
        steps.end()


@command.report_errors()
def main() -> None:
    arguments = command.read_recipe(__doc__)
    recipe = load(GrpoRecipe, arguments)
    if "SLURM_JOB_NODELIST" not in os.environ:
        raise WrongCall("SLURM_JOB_NODELIST is not set: submit the training with bash slurm/train.sh")
    run, launch = Path(recipe.run), Launch.choose(recipe)
    nodes, gpus = jobs.list_nodes(os.environ["SLURM_JOB_NODELIST"]), int(os.environ.get("SLURM_GPUS_ON_NODE") or 0)
    # A finished training only says so, and asks no judge.
    groups = [] if (read_manifest(run) or {}).get("finished") else plan_judges(recipe, gpus)
    placement = fill(groups, len(nodes), launch.count_gpus(gpus), gpus)
    shared.make_key(run)
    (run / MODELS).write_text(OmegaConf.to_yaml(OmegaConf.structured(recipe.models), resolve=True))
    sys.exit(run_steps(Steps(run, placement, nodes), launch, arguments))


if __name__ == "__main__":
    main()
