"""Computes which server jobs a recipe needs. It starts nothing; --dry-run prints the result."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path

from autodata.cluster.resources import Site, ask_for_cpus, ask_for_gpus
from autodata.config import REPO, RecipeError
from autodata.recipes.models import Endpoint, Models, Server
from autodata.serving.costs import count_gpus
from autodata.serving.llm import role_config
from autodata.serving.vllm import command_line
from autodata.types import Role

POLICIES = ("cache_aware", "power_of_two", "round_robin", "random", "consistent_hash")  # the policies of vllm-router
_S_PER_GB = 10.0  # reading weights from a slow shared file system, at a tenth of a gigabyte per second


@dataclass(frozen=True)
class ServerGroup:
    """One server job: one or more replicas of an endpoint on one node."""

    endpoint: str
    replicas: int
    gpus: int  # per replica
    name: str  # the job's name, the same for the same run and the same server


def plan(models: Models, run: Path, gpus_per_node: int, graders: Collection[str] = ()) -> list[ServerGroup]:
    """Plan the jobs of every endpoint that has a server and that a role or a grader uses. Raises RecipeError.

    The first jobs of all endpoints come first, because a command starts once every endpoint has a replica.
    """
    groups, served = [], find_served(models, graders)
    _check_sharing(served)
    for name, endpoint in served.items():
        _check_policy(f"models.endpoints.{name}.policy", endpoint.policy, endpoint.server.replicas)
        gpus, replicas = count_gpus(endpoint.server), endpoint.server.replicas
        if gpus > gpus_per_node:
            raise RecipeError(
                f"models.endpoints.{name}: a replica needs {gpus} GPUs, but a node has {gpus_per_node}; lower the "
                "parallel sizes in server.flags, or correct AUTODATA_GPUS_PER_NODE in slurm/site.env"
            )
        for number, in_job in enumerate(divide(replicas, gpus, gpus_per_node)):
            groups.append((number, ServerGroup(name, in_job, gpus, _name(name, number, endpoint, run))))
    return [group for _, group in sorted(groups, key=itemgetter(0))]


def divide(replicas: int, gpus: int, gpus_per_node: int) -> list[int]:
    """Divide the replicas of an endpoint over server jobs, each on one node; `gpus` is what a replica takes."""
    per_job = gpus_per_node // gpus if gpus else replicas
    return [min(per_job, replicas - first) for first in range(0, replicas, per_job)]


def find_served(models: Models, graders: Collection[str] = ()) -> dict[str, Endpoint]:
    """Find the endpoints that a role or a grader uses and that have a server to start."""
    used = {*graders, *(role_config(models, role).endpoint for role in Role if getattr(models, role))}
    return {name: e for name, e in models.endpoints.items() if name in used and e.server and not e.base_url}


def find_graders(recipe: object) -> set[str]:
    """Find the endpoints that a recipe asks outside its roles: PRBench's graders, or the second judge."""
    roles = [*getattr(recipe, "graders", {}).values(), getattr(recipe, "second_judge", None)]
    return {role.endpoint for role in roles if role}


def find_roles(models: Models, endpoint: str) -> list[Role]:
    """Find the roles that an endpoint plays. One without a role belongs to a grader, which is asked as a judge."""
    roles = [r for r in Role if getattr(models, r) and role_config(models, r).endpoint == endpoint]
    return roles or [Role.JUDGE]


def limit_start(server: Server) -> float:
    """Return the seconds until a replica must be ready: the recipe's limit, and time to read the weights."""
    return server.ready_timeout_s + server.weights_gb * _S_PER_GB


def submit_command(group: ServerGroup, run: Path, site: Site) -> list[str]:
    """Return the command that submits the job of a group.

    Partition, account and the like come from the SBATCH_* variables of slurm/site.env.
    """
    options = [f"--job-name={group.name}", "--nodes=1", "--ntasks=1", f"--time={site.time_limit}"]
    options += ["--signal=B:USR1@60", "--open-mode=append", f"--output={run}/serving/{group.endpoint}-%j.log"]
    options += ask_for_gpus(group.replicas * group.gpus, site) if group.gpus else ask_for_cpus(group.replicas)
    arguments = [str(run), group.endpoint, str(group.replicas)]
    return ["sbatch", "--parsable", *options, *site.options, str(REPO / "slurm" / "serve.sh"), *arguments]


def describe(models: Models, groups: Iterable[ServerGroup], run: Path, site: Site) -> str:
    """Describe every job as it would be submitted, with the command of its servers."""
    lines = []
    for group in groups:
        endpoint = models.endpoints[group.endpoint]
        roles = ", ".join(find_roles(models, group.endpoint))
        lines += [
            f"# {group.endpoint} for {roles}: replicas: {group.replicas}, GPUs per replica: {group.gpus}, on one node",
            " ".join(submit_command(group, run, site)),
            "    " + " ".join(["python", *command_line(endpoint, "0.0.0.0", 8000)[1:]]),
            "",
        ]
    return "\n".join(lines)


def _check_policy(key: str, policy: str, replicas: int) -> None:
    if policy not in POLICIES:
        raise RecipeError(f"{key}={policy}: choose one of {', '.join(POLICIES)}")
    if policy == "power_of_two" and replicas < 2:
        raise RecipeError(f"{key}={policy}: needs two replicas; choose cache_aware for one")


def _check_sharing(served: Mapping[str, Endpoint]) -> None:
    """Check that no two servers share their GPUs: here each has a job of its own. Raises RecipeError."""
    sharing = [f"models.endpoints.{name}" for name, e in served.items() if e.server and e.server.shares_gpus]
    if len(sharing) > 1:
        raise RecipeError(
            f"{' and '.join(sharing)}: servers with server.shares_gpus need one job for all of them; submit the "
            "command itself with bash slurm/run.sh, and it starts them (see slurm/README.md)"
        )


def _name(endpoint: str, number: int, config: Endpoint, run: Path) -> str:
    """Make a job name that no other run has, and no earlier recipe of this run with a different server."""
    identity = json.dumps([str(run.resolve()), number, asdict(config)], sort_keys=True, default=str)
    return f"autodata-{hashlib.sha256(identity.encode()).hexdigest()[:10]}-{endpoint}-{number}"
