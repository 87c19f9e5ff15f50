"""Runs the replicas of one server job and writes a lease for each. slurm/serve.sh runs it.

python -m autodata.cluster.serve RUN ENDPOINT REPLICAS [--first-replica N] [--first-gpu N]
"""

import os
import signal
import socket
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from autodata import command
from autodata.cluster import jobs, shared
from autodata.cluster.fleet import find_roles
from autodata.cluster.replica import Replica
from autodata.cluster.shared import LEASES, MODELS, OwnerWatch
from autodata.recipes.models import Models
from autodata.serving.costs import count_gpus
from autodata.serving.leases import Lease, State, write_lease
from autodata.types import WrongCall

_BEAT_S = 5.0
_PATIENCE_S = 900.0  # a requeued campaign may wait this long in the queue and still find its servers
_POLL_S = 0.5
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class ServerJob:
    """Runs all replicas of a job until they end or the campaign is gone."""

    def __init__(self, run: Path, replicas: list[Replica], lease: Lease):
        self._folder, self._replicas, self._lease = run / LEASES, replicas, lease
        self._owner = OwnerWatch(run, float(os.environ.get("AUTODATA_OWNER_PATIENCE_S", _PATIENCE_S)))

    def run(self) -> None:
        for replica in self._replicas:
            replica.start()
        written_at, written_states = float("-inf"), None
        while any(replica.is_alive() for replica in self._replicas):
            states = [(replica.state, replica.url) for replica in self._replicas]
            if states != written_states or time.monotonic() - written_at > _BEAT_S:  # changes are written at once
                self._write_leases()
                written_at, written_states = time.monotonic(), states
            if self._owner.is_gone():
                print("the campaign of these servers has ended or died: stopping the servers", flush=True)
                self.stop()
            time.sleep(_POLL_S)
        self._write_leases()

    def drain(self) -> None:
        for replica in self._replicas:
            replica.drain()

    def stop(self) -> None:
        for replica in self._replicas:
            replica.stop()

    def _write_leases(self) -> None:
        self._lease = replace(self._lease, beat=self._lease.beat + 1)
        for number, replica in enumerate(self._replicas, self._lease.replica):
            current = {"url": replica.url, "state": replica.state, "detail": replica.detail}
            write_lease(self._folder, replace(self._lease, replica=number, **current))


def make_replicas(models: Models, lease: Lease, count: int, folder: Path, first_gpu: int = 0) -> list[Replica]:
    """Make the replicas of a job, each with its own GPUs of the node and its own log; `lease` has the first number."""
    name, roles, replicas = lease.endpoint, find_roles(models, lease.endpoint), []
    address = os.environ.get("AUTODATA_ADDRESS") or socket.gethostname()  # for the other nodes
    for number in range(count):
        endpoint = deepcopy(models.endpoints[name])
        gpus = count_gpus(endpoint.server)
        endpoint.server.env |= choose_gpus(os.environ, first_gpu + number * gpus, gpus)
        endpoint.api_key_env = shared.VARIABLE
        log = folder / f"{name}-{lease.job}-{lease.replica + number}.log"
        replicas.append(Replica(name, endpoint, roles, log, address))
    return replicas


def choose_gpus(environment: Mapping[str, str], first: int, count: int) -> dict[str, str]:
    """Return the environment in which a process sees so many of the job's GPUs on this node, and no others."""
    gpus = [gpu for gpu in environment.get(_VISIBLE, "").split(",") if gpu]
    return {_VISIBLE: ",".join(gpus[first : first + count])} if gpus and count else {}


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the run whose campaign submitted this job")
    parser.add_argument("endpoint", metavar="ENDPOINT", help="a name in models.endpoints")
    parser.add_argument("replicas", type=int, metavar="REPLICAS", help="how many servers to start")
    parser.add_argument("--first-replica", type=int, default=0, metavar="N", help="its number in this job")
    parser.add_argument("--first-gpu", type=int, default=0, metavar="N", help="the number of its GPU on this node")
    options = parser.parse_args()
    run, name = options.run, options.endpoint
    shared.require_key(run)
    models = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Models), OmegaConf.load(run / MODELS)))
    if name not in models.endpoints:
        raise WrongCall(f"{name}: not in models.endpoints of {run / MODELS} ({', '.join(models.endpoints)})")
    if (id := os.environ.get("SLURM_JOB_ID")) is None:
        raise WrongCall(f"SLURM_JOB_ID is not set: this command runs in a server job of {shared.CAMPAIGN}")
    deadline = next((job.end for job in jobs.find([os.environ["SLURM_JOB_NAME"]]) if job.id == id), float("inf"))
    lease = Lease(name, options.first_replica, id, models.endpoints[name].model, "", State.STARTING, 0, deadline)
    job = ServerJob(run, make_replicas(models, lease, options.replicas, run / "serving", options.first_gpu), lease)
    signal.signal(signal.SIGUSR1, lambda *_: job.drain())
    signal.signal(signal.SIGTERM, lambda *_: job.stop())
    job.run()


if __name__ == "__main__":
    main()
