"""Counts the GPUs of servers, and says which servers use the same ones."""

import math

from autodata.recipes.models import Endpoint, Server

_PARALLEL = ("tensor-parallel-size", "data-parallel-size", "pipeline-parallel-size")
_SHARED = "shared GPUs"


def count_gpus(server: Server) -> int:
    """Count the GPUs of one replica; 0 for a server on the CPU."""
    return 0 if server.on_cpu else math.prod(int(server.flags.get(flag, 1)) for flag in _PARALLEL)


def count_endpoint_gpus(endpoint: Endpoint) -> int | None:
    """Count the GPUs of all replicas of an endpoint; None if the number is unknown."""
    if endpoint.server is None:
        return None
    return count_gpus(endpoint.server) * (endpoint.server.replicas if endpoint.leases else 1) or None


def find_place(name: str, endpoint: Endpoint) -> str:
    """Return a name for the GPUs that an endpoint uses. All servers with `shares_gpus` have the same place."""
    return _SHARED if endpoint.server and endpoint.server.shares_gpus else name
