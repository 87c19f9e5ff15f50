"""Keeps the servers of one run up on a Slurm cluster.

It submits the server jobs, balances the calls, replaces jobs whose time is nearly over, and cancels all at the end.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from autodata.cluster import fleet, jobs
from autodata.cluster.fleet import ServerGroup
from autodata.cluster.jobs import SlurmError
from autodata.cluster.resources import Site
from autodata.cluster.router import Router
from autodata.cluster.shared import LEASES, write_beat
from autodata.recipes.models import Models
from autodata.serving.leases import Lease, LeaseWatch, State
from autodata.types import UserError

_QUEUE_POLL_S = 5.0  # at least this long between two calls of squeue
_LEAD_S = 120.0  # for the wait in the queue, added to the time that a server needs to get ready
_MAX_SLURM_FAILURES = 120  # failures of Slurm in a row, about ten minutes
_GIVE_UP_AFTER = 4  # server jobs in a row that end before a replica was ready


class CampaignError(UserError):
    """The campaign cannot go on; the message names the log to read."""


class Campaign:
    """Keeps the servers of one run up for as long as a command asks them."""

    def __init__(self, run: Path, models: Models, groups: Sequence[ServerGroup], site: Site):
        self._run, self._groups, self._site = run, tuple(groups), site
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

    @property
    def leases(self) -> Path:
        return self._run / LEASES

    def keep(self, endpoints: Collection[str]) -> None:
        """Cancel the jobs of all other endpoints, because no command asks them any more."""
        if retired := self.routers.keys() - endpoints:
            names = {group.name for group in self._groups if group.endpoint in retired}
            jobs.cancel(sorted(id for id, name in self._job_names.items() if name in names))
            self._groups = tuple(group for group in self._groups if group.endpoint in endpoints)
            self._job_names = {id: name for id, name in self._job_names.items() if name not in names}
            for endpoint in retired:
                self.routers.pop(endpoint).stop()

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
