"""Runs a command with its servers on a Slurm cluster, or several commands that share servers.

python -m autodata.cluster.commands [--dry-run] MODULE RECIPE [more.yaml …] [key=value …] [--and RECIPE …]

slurm/generate.sh, slurm/eval.sh and slurm/meta.sh run it inside a small job of its own. Every server has a job of its
own. With several recipes, a server that two of them need alike is started once and ends with the last that needs it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec

from omegaconf import OmegaConf

from autodata import command
from autodata.cluster import jobs, shared
from autodata.cluster.campaign import Campaign
from autodata.cluster.parts import Part, add_recipes, describe, plan_parts
from autodata.cluster.resources import Site
from autodata.cluster.shared import MODELS
from autodata.cluster.signals import Cancelled, Requeue, end_process, ignore_signals, raise_signals
from autodata.recipes.models import Models

_POLL_S = 1.0
_TERM_S = 20.0  # for a command to end when the campaign is cancelled; Slurm kills the job after 30 s


class Command:
    """The process that the servers are for. It shuts down gracefully on SIGINT and resumes when it is run again."""

    def __init__(self, arguments: Sequence[str], models: Models, campaigns: Mapping[str, tuple[Campaign, str]]):
        """`campaigns` has the campaign that serves each endpoint, and the variable with the key of its servers."""
        self._arguments, self._models, self.campaigns = arguments, models, campaigns
        self._process: subprocess.Popen[bytes] | None = None

    def start_if_ready(self) -> None:
        """Start once every endpoint has a replica that gets calls."""
        if self._process is None and all(c.routers[name].workers for name, (c, _) in self.campaigns.items()):
            self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", *self._arguments]
        for name, (campaign, key) in self.campaigns.items():
            values = {"base_url": campaign.routers[name].url, "leases": campaign.leases, "api_key_env": key}
            values["model"] = self._models.endpoints[name].model
            command += [f"models.endpoints.{name}.{key}={value}" for key, value in values.items()]
        self._process = subprocess.Popen(command, start_new_session=True)

    def poll(self) -> int | None:
        return self._process.poll() if self._process else None

    def ask_to_end(self) -> None:
        """Let the process finish the calls in flight."""
        if self._process:
            self._process.send_signal(signal.SIGINT)

    def end(self, patience_s: float) -> None:
        """Wait for the process, which was asked to end; end it if that takes longer than `patience_s`."""
        with suppress(subprocess.TimeoutExpired):
            if self._process:
                self._process.wait(patience_s)
        if self.poll() is None:
            end_process(self._process, (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def run_commands(campaigns: Sequence[Campaign], commands: Sequence[Command]) -> int:
    """Run all commands and return the first exit status that is not 0.

    The servers are cancelled at the end, unless the job is requeued and will need them again.
    """
    is_requeued = False
    try:
        while any(command.poll() is None for command in commands):
            for campaign in campaigns:
                campaign.step()
            for command in commands:
                command.start_if_ready()
            _keep_needed(campaigns, commands)
            time.sleep(_POLL_S)
        return next((status for command in commands if (status := command.poll())), 0)
    except Requeue:
        is_requeued = True
        return _requeue(campaigns, commands)
    except Cancelled:
        return 128 + signal.SIGTERM
    finally:
        if not is_requeued:
            ignore_signals()
            for campaign in campaigns:
                campaign.stop()
            _end_all(commands, _TERM_S)


def _keep_needed(campaigns: Iterable[Campaign], commands: Iterable[Command]) -> None:
    """Give up the servers that only commands which have ended asked."""
    running = [command for command in commands if command.poll() is None]
    for campaign in campaigns:
        campaign.keep({name for c in running for name, (served_by, _) in c.campaigns.items() if served_by is campaign})


def _end_all(commands: Sequence[Command], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    for each in commands:
        each.ask_to_end()
    for each in commands:
        each.end(max(0.0, deadline - time.monotonic()))


def _requeue(campaigns: Sequence[Campaign], commands: Sequence[Command]) -> int:
    """Finish the calls in flight and requeue this job, which finds its servers by name and replies in the journal."""
    ignore_signals()
    print("the job's time is nearly over: it finishes the calls in flight and is then requeued", flush=True)
    _end_all(commands, float(os.environ.get("AUTODATA_DRAIN_S", 240)))
    for campaign in campaigns:
        campaign.stop_routers()
    jobs.requeue(os.environ["SLURM_JOB_ID"])
    return 0


def run_parts(module: str, parts: Sequence[Part], site: Site) -> int:
    """Start the servers and the commands, and return the exit status."""
    campaigns, keys, commands = [], [], []
    for number, part in enumerate(parts):
        keys.append(shared.make_key(part.run, number))
        (part.run / MODELS).write_text(OmegaConf.to_yaml(OmegaConf.structured(part.models), resolve=True))
        campaigns.append(Campaign(part.run, part.models, part.groups, site))
        served_by = {group.endpoint: number for group in part.groups if not part.is_finished} | {**part.borrowed}
        served = {name: (campaigns[lender], keys[lender]) for name, lender in served_by.items()}
        commands.append(Command([module, *part.arguments], part.models, served))
    raise_signals()
    return run_commands(campaigns, commands)


def _is_command(module: str) -> bool:
    """Return True if `python -m` finds the module: a package needs a __main__."""
    try:
        spec = find_spec(module)
        return bool(spec and (spec.submodule_search_locations is None or find_spec(f"{module}.__main__")))
    except (ImportError, ValueError):
        return False


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("module", metavar="MODULE", help="the command, for example autodata.generate")
    add_recipes(parser)
    parser.add_argument("--dry-run", action="store_true", help="print every job without submitting any")
    options = parser.parse_intermixed_args()
    if not _is_command(options.module):
        parser.error(f"MODULE {options.module}: no such command, for example autodata.generate or autodata.eval.run")
    site = Site.read(os.environ)
    parts = plan_parts([options.recipe, *options.others], site.gpus_per_node)
    if options.dry_run:
        print(describe(parts, site))
    else:
        sys.exit(run_parts(options.module, parts, site))


if __name__ == "__main__":
    main()
