"""Submits a script of slurm/ as a job, with the resources that its arguments need.

python -m autodata.cluster.submit [--dry-run] [--sbatch=--option=…] -- SCRIPT ARGUMENT …

The scripts of slurm/ run it when they are called outside a job. Options of the site, such as AUTODATA_TRAIN_OPTIONS,
override what is computed here, and those of the call override both.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autodata import command
from autodata.cluster import jobs
from autodata.cluster.fleet import find_graders, find_served
from autodata.cluster.parts import plan_parts, split_recipes
from autodata.cluster.resources import Site, ask_for_client, ask_for_cpus, ask_for_gpus, count_job_gpus, read_options
from autodata.cluster.training.job import Steps
from autodata.cluster.training.placement import Launch, place, plan_judges
from autodata.config import load, schema_for
from autodata.recipes.training import GrpoRecipe
from autodata.types import WrongCall

# The commands that start servers by themselves, inside their job.
SERVING = ("autodata.generate", "autodata.judge_audit", "autodata.meta.ablate", "autodata.meta.optimize",
           "autodata.servers", "autodata.eval.question_types", "autodata.eval.run")  # fmt: skip
# The module that runs a script's command with its servers, and prints their jobs with --dry-run.
CAMPAIGNS = {
    "generate": ("autodata.cluster.commands", "autodata.generate"),
    "eval": ("autodata.eval.campaign",),
    "meta": ("autodata.cluster.commands", "autodata.meta.optimize"),
}


@dataclass(frozen=True)
class Call:
    """How a script was called."""

    script: str
    options: tuple[str, ...]  # for sbatch
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        return Path(self.script).stem

    def write(self, asked: Sequence[str]) -> list[str]:
        """Write the command that submits the script with these resources."""
        return ["sbatch", *asked, *read_options(os.environ, self.name), *self.options, self.script, *self.arguments]


def write_job(call: Call, site: Site) -> list[str]:
    """Write the command that submits the job of a call. Raises WrongCall, RecipeError."""
    if call.name == "train":
        return write_training(call, site)[0]
    if call.name in CAMPAIGNS:
        return call.write(ask_for_client(_count_served(call.arguments, site)))
    if call.name == "run":
        return call.write(_ask_for_command(call.arguments, site))
    if call.name == "ingest":
        load(schema_for(call.arguments[0]), [*call.arguments])  # a recipe with an error must not wait in the queue
        return call.write([])
    raise WrongCall(f"{call.script} runs inside jobs only: a campaign or a training starts it")


def write_training(call: Call, site: Site) -> tuple[list[str], list[list[str]]]:
    """Write the command that submits a training, and the steps of its job."""
    recipe = load(GrpoRecipe, [*call.arguments])
    launch, per_node = Launch.choose(recipe), site.gpus_per_node
    wanted = [option.partition("=")[2] for option in call.options if option.startswith("--nodes=")]
    if wanted and not (wanted[-1].isdecimal() and int(wanted[-1])):
        raise WrongCall(f"--nodes={wanted[-1]}: write how many nodes train, as a whole number from 1 on")
    training_nodes = int(wanted[-1]) if wanted else launch.count_nodes(per_node)
    groups = plan_judges(recipe, per_node)
    placement = place(groups, training_nodes, launch.count_gpus(per_node), per_node)
    processes = launch.processes + sum(group.replicas for group in groups)
    asked = ask_for_gpus(placement.gpus, site) if placement.gpus else ask_for_cpus(processes)
    options = tuple(option for option in call.options if not option.startswith("--nodes="))
    steps = Steps(Path(recipe.run), placement, [f"NODE{number + 1}" for number in range(placement.nodes)])
    judges = [steps.write_judge(seat) for seat in placement.seats]
    line = Call(call.script, options, call.arguments).write([f"--nodes={placement.nodes}", *asked])
    return line, [*judges, steps.write_training(launch, call.arguments)]


def _count_served(arguments: Sequence[str], site: Site) -> int:
    """Count the endpoints that the jobs of a campaign serve."""
    parts = plan_parts(split_recipes(fill_task(arguments)), site.gpus_per_node)
    return sum(len({group.endpoint for group in part.groups}) for part in parts)


def fill_task(arguments: Sequence[str]) -> list[str]:
    """Write the number of an array's task in place of %a, or 1 outside an array: all tasks need the same."""
    return [word.replace("%a", os.environ.get("SLURM_ARRAY_TASK_ID", "1")) for word in arguments]


def _ask_for_command(arguments: Sequence[str], site: Site) -> list[str]:
    """Ask for the GPUs of the servers that the command starts; a day is enough for more than small steps."""
    module, *recipe = arguments
    if module not in SERVING or not recipe:
        return []
    values = load(schema_for(recipe[0]), recipe)
    servers = {name: e.server for name, e in find_served(values.models, find_graders(values)).items() if e.server}
    if not servers:
        return []
    gpus = count_job_gpus(servers)
    if gpus > site.gpus_per_node:
        raise WrongCall(
            f"{module} would start servers on {gpus} GPUs, but a node has {site.gpus_per_node}; use the script that "
            "gives each server a job of its own (slurm/generate.sh, eval.sh, meta.sh), or a smaller file of models"
        )
    return ["--time=24:00:00", *(ask_for_gpus(gpus, site) if gpus else ask_for_cpus(len(servers)))]


def print_job(call: Call, site: Site, line: Sequence[str]) -> int:
    """Print a job and what it starts, without submitting anything; return the exit status."""
    print(" ".join(line), flush=True)
    if call.name == "train":
        for step in write_training(call, site)[1]:
            print("    " + " ".join(step))
    if call.name not in CAMPAIGNS:
        return 0
    print(flush=True)
    words = [*CAMPAIGNS[call.name], "--dry-run", *fill_task(call.arguments)]
    return subprocess.run([sys.executable, "-m", *words]).returncode


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("script", metavar="SCRIPT", help="a script of slurm/")
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="what the script is called with")
    parser.add_argument("--sbatch", action="append", default=[], metavar="OPTION", help="an option of sbatch")
    parser.add_argument("--dry-run", action="store_true", help="print every job without submitting any")
    options = parser.parse_args()
    call, site = Call(options.script, tuple(options.sbatch), tuple(options.arguments)), Site.read(os.environ)
    line = write_job(call, site)
    if options.dry_run:
        sys.exit(print_job(call, site, line))
    Path("runs").mkdir(exist_ok=True)  # for the job's log: without its folder the job would fail without a word
    print(jobs.run(line))


if __name__ == "__main__":
    main()
