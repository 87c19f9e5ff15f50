"""Where the judge of a training is: at a given URL, or where a campaign on Slurm serves it."""

import time
from pathlib import Path

from accelerate import PartialState

from autodata.cluster import shared
from autodata.cluster.shared import LEASES
from autodata.config import RecipeError
from autodata.recipes.models import Endpoint, Models
from autodata.serving.leases import Lease, State, read_leases

_POLL_S = 5.0
_PATIENCE_S = 4 * 3600.0  # Slurm may let a node wait


def find_judge(models: Models, run: Path, patience_s: float = _PATIENCE_S) -> None:
    """Give the judge's endpoint the URL and the key of the run's campaign, if it has one.

    Processes take different replicas.

    Raises RecipeError when no replica gets ready, and when several processes would each have to start a server.
    """
    if models.judge is None or models.judge.endpoint not in models.endpoints:
        return
    name = models.judge.endpoint
    endpoint = models.endpoints[name]
    if endpoint.server is None or endpoint.base_url:
        return
    if (run / LEASES).exists():
        _take_replica(name, endpoint, run, patience_s)
    elif PartialState().num_processes > 1:
        raise RecipeError("several processes cannot start the judge's server: give "
                          f"models.endpoints.{name}.base_url, or sbatch slurm/judge.sh with the same arguments first"
                          )  # fmt: skip


def _take_replica(name: str, endpoint: Endpoint, run: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not (ready := _list_ready(name, run)):
        if time.monotonic() > deadline:
            raise RecipeError(f"models.endpoints.{name}: no replica got ready in {patience_s:.0f} s; see "
                              f"{run / LEASES}")  # fmt: skip
        time.sleep(_POLL_S)
    endpoint.base_url = ready[PartialState().process_index % len(ready)].url
    endpoint.api_key_env = shared.VARIABLE
    shared.make_key(run)


def _list_ready(name: str, run: Path) -> list[Lease]:
    return [lease for lease in read_leases(run / LEASES) if lease.endpoint == name and lease.state == State.READY]
