"""Runs a command with its servers on a Slurm cluster.

It submits the server jobs, balances the calls, replaces jobs whose time is nearly over, and cancels all at the end.

python -m autodata.cluster.campaign [--dry-run] MODULE RECIPE [more.yaml …] [key=value …]

slurm/generate.sh and slurm/eval.sh run it inside a small job of its own.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from omegaconf import OmegaConf

from autodata import command
from autodata.cluster import fleet, jobs, shared
from autodata.cluster.fleet import ServerGroup
from autodata.cluster.jobs import SlurmError
from autodata.cluster.resources import Site
from autodata.cluster.router import Router
from autodata.cluster.shared import LEASES, MODELS, write_beat
from autodata.cluster.signals import Cancelled, Requeue, end_process, ignore_signals, raise_signals
from autodata.config import load, schema_for
from autodata.recipes.models import Models
from autodata.serving.leases import Lease, LeaseWatch, State
from autodata.types import UserError

_POLL_S = 1.0
_QUEUE_POLL_S = 5.0  # at least this long between two calls of squeue
_LEAD_S = 120.0  # for the wait in the queue, added to the time that a server needs to get ready
_MAX_SLURM_FAILURES = 120  # failures of Slurm in a row, about ten minutes
_GIVE_UP_AFTER = 4  # server jobs in a row that end before a replica was ready
_TERM_S = 20.0  # for the command to end when the campaign is cancelled; Slurm kills the job after 30 s


class CampaignError(UserError):
    """The campaign cannot go on; the message names the log to read."""


class Campaign:
    """Keeps the servers of one command up for as long as the command runs."""

    def __init__(self, run: Path, models: Models, groups: Sequence[ServerGroup], site: Site):
        self._run, self._groups, self._site = run, groups, site
        self._watch = LeaseWatch(run / LEASES, float(os.environ.get("AUTODATA_STALE_S", 30)))
        self._lead_s = {g.endpoint: fleet.limit_start(models.endpoints[g.endpoint].server) + _LEAD_S for g in groups}
        self._check_limit()
        endpoints = {g.endpoint: models.endpoints[g.endpoint] for g in groups}
        self.routers = {n: Router(n, e.policy, run / "serving" / f"router-{n}.log") for n, e in endpoints.items()}
        self._beat, self._queue_read_at, self._slurm_failures = 0, float("-inf"), 0
        self._failed_jobs: Counter[str] = Counter()
        self._job_names: dict[str, str] = {}  # job → name of its group, when the queue was last read
        self._drained: set[str] = set()
        self._was_ready: set[str] = set()  # jobs that had a ready replica

    def _check_limit(self) -> None:
        for name, lead_s in self._lead_s.items():
            if jobs.parse_limit(self._site.time_limit) < lead_s + _LEAD_S / 4:
                raise CampaignError(
                    f"AUTODATA_SERVER_TIME={self._site.time_limit} is too short for {name}: the next server "
                    f"job is submitted {lead_s:.0f} s before a job ends; raise it in slurm/site.env"
                )

    def step(self) -> None:
        """Look at leases and jobs once, and act on what changed. Raises CampaignError, SlurmError, RouterError."""
        self._beat += 1
        write_beat(self._run, self._beat)
        leases = self._watch.look()
        ready = [lease for lease in leases if lease.state == State.READY]
        self._was_ready |= {lease.job for lease in ready}
        if time.monotonic() - self._queue_read_at > _QUEUE_POLL_S:
            self._queue_read_at = time.monotonic()
            self._try_to_replace(leases)
        for name, router in self.routers.items():
            router.follow([lease.url for lease in ready if lease.endpoint == name and lease.job not in self._drained])

    def stop(self) -> None:
        """Cancel all server jobs of this run, and no others."""
        self.stop_routers()
        ids = set(self._job_names)
        try:
            ids |= {job.id for job in jobs.find(group.name for group in self._groups)}
        except SlurmError as problem:
            print(f"Slurm cannot list the jobs; only those known before are cancelled: {problem}", file=sys.stderr)
        jobs.cancel(sorted(ids))

    def stop_routers(self) -> None:
        for router in self.routers.values():
            router.stop()

    def _try_to_replace(self, leases: Sequence[Lease]) -> None:
        """Call `_replace`. Raises SlurmError only after about ten minutes: the servers run without Slurm."""
        try:
            self._replace(leases)
            self._slurm_failures = 0
        except SlurmError as problem:
            self._slurm_failures += 1
            if self._slurm_failures > _MAX_SLURM_FAILURES:
                raise
            print(f"Slurm failed and is asked again in {_QUEUE_POLL_S:.0f} s: {problem}", file=sys.stderr, flush=True)

    def _replace(self, leases: Sequence[Lease]) -> None:
        """Submit a job for every group without one that lasts; drain the old job when its successor is ready."""
        queued = jobs.find(group.name for group in self._groups)
        self._count_failures({job.id for job in queued})
        self._job_names = {job.id: job.name for job in queued}
        for group in self._groups:
            group_jobs = [job for job in queued if job.name == group.name]
            lasting = {job.id for job in group_jobs if job.end - time.time() > self._lead_s[group.endpoint]}
            if not lasting:
                id = jobs.submit(fleet.submit_command(group, self._run, self._site))
                self._job_names[id] = group.name
                print(f"submitted server job {id}: {group.replicas} × {group.endpoint}", flush=True)
            ready = [lease for lease in leases if lease.job in lasting and lease.state == State.READY]
            if len(ready) >= group.replicas:
                for ending in {job.id for job in group_jobs} - lasting - self._drained:
                    self._drained.add(ending)
                    jobs.ask_to_drain(ending)

    def _count_failures(self, alive: set[str]) -> None:
        for id in self._job_names.keys() - alive:
            name = self._job_names[id]
            self._failed_jobs[name] = 0 if id in self._was_ready else self._failed_jobs[name] + 1
            if self._failed_jobs[name] >= _GIVE_UP_AFTER:
                raise CampaignError(
                    f"{self._failed_jobs[name]} server jobs {name} ended before a replica was ready; "
                    f"read the logs in {self._run / 'serving'}"
                )


class Command:
    """The process that the servers are for. It shuts down gracefully on SIGINT and resumes when it is run again."""

    def __init__(self, arguments: Sequence[str], models: Models, leases: Path):
        self._arguments, self._models, self._leases = arguments, models, leases
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, routers: dict[str, Router]) -> None:
        if self._process is None:
            command = [sys.executable, "-m", *self._arguments]
            for name, router in routers.items():
                values = {"base_url": router.url, "leases": self._leases, "api_key_env": shared.VARIABLE}
                values["model"] = self._models.endpoints[name].model
                command += [f"models.endpoints.{name}.{key}={value}" for key, value in values.items()]
            self._process = subprocess.Popen(command, start_new_session=True)

    def poll(self) -> int | None:
        return self._process.poll() if self._process else None

    def end(self, patience_s: float) -> None:
        """Let the process finish the calls in flight; end it if that takes longer than `patience_s`."""
        end_process(self._process, (signal.SIGINT, patience_s), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


def run_campaign(campaign: Campaign, command: Command) -> int:
    """Run the command and return its exit status. Cancel its servers, unless a requeued campaign needs them."""
    is_requeued = False
    try:
        while (status := command.poll()) is None:
            campaign.step()
            if all(router.workers for router in campaign.routers.values()):  # each has a replica that gets calls
                command.start(campaign.routers)
            time.sleep(_POLL_S)
        return status
    except Requeue:
        is_requeued = True
        return _requeue(campaign, command)
    except Cancelled:
        return 128 + signal.SIGTERM
    finally:
        if not is_requeued:
            ignore_signals()
            campaign.stop()
            command.end(_TERM_S)


def _requeue(campaign: Campaign, command: Command) -> int:
    """Finish the calls in flight and requeue this job, which finds its servers by name and replies in the journal."""
    ignore_signals()
    print("the job's time is nearly over: it finishes the calls in flight and is then requeued", flush=True)
    command.end(float(os.environ.get("AUTODATA_DRAIN_S", 240)))
    campaign.stop_routers()
    jobs.requeue(os.environ["SLURM_JOB_ID"])
    return 0


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
    parser.add_recipe()
    parser.add_argument("--dry-run", action="store_true", help="print every job without submitting any")
    options = parser.parse_intermixed_args()
    if not _is_command(options.module):
        parser.error(f"MODULE {options.module}: no such command, for example autodata.generate or eval.run")
    recipe = load(schema_for(options.recipe[0]), options.recipe)
    run, models = Path(recipe.run), recipe.models
    site = Site.read(os.environ)
    groups = fleet.plan(models, run, site.gpus_per_node, fleet.find_graders(recipe))
    if options.dry_run:
        print(fleet.describe(models, groups, run, site))
        return
    shared.make_key(run)
    (run / MODELS).write_text(OmegaConf.to_yaml(OmegaConf.structured(models), resolve=True))
    raise_signals()
    command_with_servers = Command([options.module, *options.recipe], models, run / LEASES)
    sys.exit(run_campaign(Campaign(run, models, groups, site), command_with_servers))


if __name__ == "__main__":
    main()
