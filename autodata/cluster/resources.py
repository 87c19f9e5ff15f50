"""Computes what a Slurm job asks for: GPUs, CPUs, memory, and whether it needs its nodes for itself."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from autodata.recipes.models import Server
from autodata.serving.costs import count_gpus
from autodata.types import WrongCall

_CPUS, _MEMORY_GB = 4, 16  # chosen: one process without a GPU, such as a small server on the CPU or a command


@dataclass(frozen=True)
class Site:
    """The settings of slurm/site.env that jobs need."""

    gpus_per_node: int = 8
    time_limit: str = "24:00:00"  # of a server job
    options: tuple[str, ...] = ()  # passed to sbatch unchanged for every server job
    cpus_per_gpu: int = 8  # at least; a job that has its nodes for itself has all
    memory_gb_per_gpu: int = 64  # likewise
    whole_nodes: bool = True  # a job that uses all GPUs of a node gets the node for itself
    nodes: int | None = None  # how many nodes campaigns may use together; None: as many as Slurm has

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Site":
        """Read the variables of slurm/site.env. Raises WrongCall for one that is no whole number."""
        number = lambda name, default: _read_number(environment, name, default)  # noqa: E731
        return cls(
            number("AUTODATA_GPUS_PER_NODE", cls.gpus_per_node),
            environment.get("AUTODATA_SERVER_TIME") or cls.time_limit,
            read_options(environment, "SERVER"),
            number("AUTODATA_CPUS_PER_GPU", cls.cpus_per_gpu),
            number("AUTODATA_MEMORY_GB_PER_GPU", cls.memory_gb_per_gpu),
            bool(number("AUTODATA_WHOLE_NODES", int(cls.whole_nodes))),
            number("AUTODATA_NODES", 0) or None,
        )


def read_options(environment: Mapping[str, str], job: str) -> tuple[str, ...]:
    """Read the options that a site adds to every job of a kind, such as TRAIN. They override those computed here.

    Raises WrongCall for a quotation mark that is not closed.
    """
    name = f"AUTODATA_{job.upper()}_OPTIONS"
    try:
        return tuple(shlex.split(environment.get(name, "")))
    except ValueError as error:
        raise WrongCall(f"{name}={environment[name]}: {error}; correct it in slurm/site.env") from error


def ask_for_gpus(gpus: int, site: Site) -> list[str]:
    """Return the options of sbatch for a job that uses so many GPUs of each node, at least one."""
    options = [f"--gpus-per-node={gpus}", f"--cpus-per-task={gpus * site.cpus_per_gpu}"]
    if gpus == site.gpus_per_node and site.whole_nodes:
        return [*options, "--exclusive", "--mem=0"]  # all CPUs and all memory: nobody can use the rest of the node
    return [*options, f"--mem={gpus * site.memory_gb_per_gpu}G"]


def ask_for_cpus(processes: int) -> list[str]:
    """Return the options of sbatch for a job without GPUs that runs so many large processes, at least one."""
    cpus, memory_gb = _CPUS * max(1, processes), _MEMORY_GB * max(1, processes)
    return ["--gpus-per-node=0", f"--cpus-per-task={cpus}", f"--mem={memory_gb}G"]


def ask_for_client(endpoints: int) -> list[str]:
    """Return the options of sbatch for a command whose servers have jobs of their own: it runs a router for each."""
    return [f"--cpus-per-task={2 + endpoints}", f"--mem={_MEMORY_GB}G"]


def count_job_gpus(servers: Mapping[str, Server]) -> int:
    """Count the GPUs of servers that run in one job; those with `shares_gpus` use the same ones."""
    alone = [count_gpus(server) for server in servers.values() if not server.shares_gpus]
    return sum(alone) + max((count_gpus(server) for server in servers.values() if server.shares_gpus), default=0)


def _read_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise WrongCall(f"{name}={text}: write a whole number in slurm/site.env")
    return int(text)
