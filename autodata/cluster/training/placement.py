"""Decides where a training and the servers of its judge run: how many nodes, and which GPUs of each."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from autodata.cluster import fleet
from autodata.cluster.fleet import ServerGroup
from autodata.config import RecipeError
from autodata.recipes.shipped import find_shipped
from autodata.recipes.training import GrpoRecipe
from autodata.types import WrongCall

ACCELERATE = "AUTODATA_ACCELERATE"  # the variable that names another accelerate file


@dataclass(frozen=True)
class Launch:
    """How accelerate starts the processes of a training."""

    file: str
    processes: int  # on all nodes
    on_cpu: bool

    @classmethod
    def choose(cls, recipe: GrpoRecipe) -> "Launch":
        """Read the accelerate file that the environment names, or that fits the recipe. Raises WrongCall."""
        default = "cpu" if recipe.trainer.get("use_cpu") else "zero2"
        file = os.environ.get(ACCELERATE) or find_shipped(f"recipes/accelerate/{default}.yaml")
        try:
            values = OmegaConf.to_container(OmegaConf.load(file))
        except OSError as error:
            raise WrongCall(f"{ACCELERATE}={file}: {error.strerror}; name a file of recipes/accelerate") from None
        return cls(file, int(values.get("num_processes", 1)), bool(values.get("use_cpu")))

    def count_gpus(self, per_node: int) -> int:
        """Count the GPUs of each node that the training uses."""
        return 0 if self.on_cpu else min(self.processes, per_node)

    def count_nodes(self, per_node: int) -> int:
        return 1 if self.on_cpu else math.ceil(self.processes / max(1, per_node))


@dataclass(frozen=True)
class Seat:
    """The place of a group of replicas: a node of the job, and the first of the GPUs there."""

    group: ServerGroup
    node: int
    first_gpu: int


@dataclass(frozen=True)
class Placement:
    """A training on the first nodes of a job, on the first GPUs of each, and its judge on what is left."""

    nodes: int  # of the job
    training_nodes: int
    training_gpus: int  # on each of its nodes
    seats: tuple[Seat, ...]

    @property
    def gpus(self) -> int:
        """The most GPUs that are used on a node."""
        return max([self.training_gpus, *(s.first_gpu + s.group.replicas * s.group.gpus for s in self.seats)])


def plan_judges(recipe: GrpoRecipe, gpus_per_node: int) -> list[ServerGroup]:
    """Plan the servers of the judges that have a server and do not run yet. Raises RecipeError."""
    return fleet.plan(recipe.models, Path(recipe.run), gpus_per_node, fleet.find_graders(recipe))


def place(groups: Sequence[ServerGroup], training_nodes: int, training_gpus: int, gpus_per_node: int) -> Placement:
    """Put each group, the largest first, on the first node that has room for it, else on one more node."""
    used, seats = [training_gpus] * training_nodes, []
    for group in sorted(groups, key=lambda group: -group.replicas * group.gpus):
        gpus = group.replicas * group.gpus
        node = next((node for node, count in enumerate(used) if count + gpus <= gpus_per_node), len(used))
        if node == len(used):
            used.append(0)
        seats.append(Seat(group, node, used[node]))
        used[node] += gpus
    return Placement(len(used), training_nodes, training_gpus, tuple(seats))


def fill(groups: Sequence[ServerGroup], nodes: int, training_gpus: int, gpus_per_node: int) -> Placement:
    """Give the training as many nodes of a job as its judge leaves. Raises RecipeError if it leaves none."""
    for training_nodes in range(nodes, 0, -1):
        placement = place(groups, training_nodes, training_gpus, gpus_per_node)
        if placement.nodes <= nodes:
            return placement
    wanted = place(groups, 1, training_gpus, gpus_per_node).nodes
    raise RecipeError(
        f"this job has {nodes} nodes with {gpus_per_node} GPUs, but the training and its judge need {wanted}; "
        f"submit it with bash slurm/train.sh, which asks for enough, or with sbatch --nodes={wanted}"
    )
