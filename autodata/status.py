"""Show the status of a run on any machine, from the progress.json and the manifest in its folder.

python -m autodata.status RUN [--watch] [--json]
python -m autodata.status runs                                       # a folder of runs: one line per run
python -m autodata.status runs/reproduce/table2                      # a graph of autodata.reproduce: a row per step
"""

import json
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import httpx
from rich.console import Console

from autodata import command
from autodata.cluster import jobs
from autodata.cluster.shared import LEASES
from autodata.reproduce import follow
from autodata.reproduce.record import STEPS
from autodata.run.folder import MANIFEST, find_problem, find_runs, read_manifest
from autodata.run.locks import is_held
from autodata.run.records import NoSuchRun, RunError
from autodata.run.snapshot import ENDS, FILE, Snapshot, describe, draw, read_snapshot
from autodata.serving.leases import LeaseWatch, State
from autodata.serving.limits import ServerLoad
from autodata.stats.writing import write_count, write_duration

SILENT_S = 60.0  # a run without a new progress.json for so long is silent; shared file systems show it late
_GRAPH_EVERY_S = 30.0  # how often --watch looks at a graph: it asks Slurm
_SIGNS = (MANIFEST, FILE)  # a folder with one of these files is a run folder


@dataclass(frozen=True)
class Serving:
    """The servers of one endpoint."""

    endpoint: str
    replicas: dict[str, int]  # how many are in each state
    load: ServerLoad  # the load of the replicas that answered

    def describe(self) -> str:
        ready = self.replicas.get(State.READY, 0)
        others = [f"{count} {state}" for state, count in self.replicas.items() if state != State.READY]
        silent = [f"{ready - self.load.replicas} not answering"] if ready > self.load.replicas else []
        load = f"{write_count(self.load.running, 'call')} in flight, {self.load.waiting:,} waiting"
        return f"servers of {self.endpoint}: {', '.join([f'{ready} ready', *others, *silent, load])}"


@dataclass(frozen=True)
class Sighting:
    """Everything that this machine can see of a run."""

    run: str
    snapshot: Snapshot | None
    manifest: str  # "finished", "not finished", "missing" or "damaged"
    age_s: float | None  # since progress.json was written; a run on another machine may have another clock
    is_held: bool | None  # True if a process holds the run folder; None if this machine cannot see it
    job: bool | None  # True if its Slurm job waits or runs; None without a job, or if Slurm does not answer
    servers: list[Serving]
    problem: str = ""  # the error that ended the last session

    @property
    def is_dead(self) -> bool:
        """True if the run has not ended but no process seems to work on it."""
        if self.snapshot is None or self.snapshot.state in ENDS:
            return False
        alive = self.is_held if self.is_held is not None else self.job
        return (self.age_s or 0.0) > SILENT_S if alive is None else not alive

    def explain(self) -> str:
        """Explain what the numbers do not show: whether the run is alive, and when it last wrote its progress."""
        if self.snapshot is None:
            held = {True: "a process works in it", False: "no process works in it", None: "its lock cannot be read"}
            return f"no readable progress.json; manifest {self.manifest}; {held[self.is_held]}"
        age = write_duration(self.age_s or 0.0)
        ago = f"last written {age} ago by process {self.snapshot.pid} on {self.snapshot.host}"
        if self.snapshot.slurm_job_id:
            ago += f", Slurm job {self.snapshot.slurm_job_id}"
        if self.is_dead:
            why = "its Slurm job has ended" if self.job is False else "no news for a long time"
            why = "no process holds the run folder" if self.is_held is False else why
            return f"looks dead ({why}), {ago}; run the same command again to resume"
        if self.problem and self.snapshot.state in ENDS:
            return f"{self.problem}; {ago}"
        is_silent = self.snapshot.state not in ENDS and (self.age_s or 0.0) > SILENT_S
        return f"alive but silent, {ago}" if is_silent else ago


def look(run: Path, watch: LeaseWatch) -> Sighting:
    """Look at a run once. Raises RunError if there is no run."""
    manifest, snapshot = _read_manifest(run), read_snapshot(run)
    if snapshot is None and manifest == "missing" and not (run / ".lock").exists():
        raise NoSuchRun(f"{run}: this is no run folder, because it has neither manifest.json nor progress.json")
    held = is_held(run) if snapshot is None or snapshot.host == socket.gethostname() else None
    asks_slurm = snapshot and snapshot.slurm_job_id and snapshot.state not in ENDS and held is None
    job = jobs.is_alive(snapshot.slurm_job_id) if asks_slurm else None
    servers = look_at_servers(watch)
    return Sighting(str(run), snapshot, manifest, _tell_age(snapshot), held, job, servers, _read_problem(run))


def _read_manifest(run: Path) -> str:
    try:
        manifest = read_manifest(run)
    except RunError:
        return "damaged"
    return "missing" if manifest is None else "finished" if manifest.get("finished") else "not finished"


def _read_problem(run: Path) -> str:
    with suppress(RunError):
        return find_problem(read_manifest(run) or {})
    return ""


def _tell_age(snapshot: Snapshot | None) -> float | None:
    with suppress(ValueError, TypeError):
        if snapshot:
            return max((datetime.now(UTC) - datetime.fromisoformat(snapshot.updated)).total_seconds(), 0.0)
    return None


def show(sighting: Sighting, console: Console) -> None:
    console.print(f"{sighting.run}: {sighting.explain()}", markup=False, highlight=False, soft_wrap=True)
    if sighting.snapshot:
        console.print(draw(sighting.snapshot))
    for server in sighting.servers:
        console.print(server.describe(), markup=False, highlight=False, soft_wrap=True)


def tell(sighting: Sighting) -> str:
    """Write the status of a run as one line."""
    if sighting.snapshot is None:
        return f"{sighting.run}: {sighting.explain()}"
    line = f"{sighting.run}: {describe(sighting.snapshot)}"
    return f"{line}; {sighting.explain()}" if sighting.is_dead or sighting.problem else line


def to_json(sighting: Sighting) -> str:
    return json.dumps(asdict(sighting) | {"is_dead": sighting.is_dead, "explained": sighting.explain()}, indent=1)


def _follow(run: Path, as_json: bool, forever: bool) -> None:
    watch, console = LeaseWatch(run / LEASES), Console()
    if not console.is_terminal:
        console.width = 160
    while True:
        sighting = look(run, watch)
        if forever and console.is_terminal:
            console.clear()
        if as_json:
            print(to_json(sighting), flush=True)
        else:
            show(sighting, console)
        if not forever or sighting.is_dead or (sighting.snapshot and sighting.snapshot.state in ENDS):
            return
        time.sleep(2)


def _follow_graph(folder: Path, as_json: bool, forever: bool) -> None:
    while True:
        record, standings = follow.look(folder)
        rows = [asdict(standing) for standing in standings]
        print(json.dumps(rows, indent=1) if as_json else follow.write_standing(record, standings), flush=True)
        if not forever or not {"running", "waiting"}.intersection(standing.state for standing in standings):
            return
        time.sleep(_GRAPH_EVERY_S)


def _list(folder: Path, as_json: bool) -> None:
    runs = list(find_runs(folder, signs=_SIGNS))
    if not runs:
        raise NoSuchRun(f"{folder}: this is neither a run folder nor a folder that holds runs")
    sightings = [look(run, LeaseWatch(run / LEASES)) for run in runs]
    print(f"[{', '.join(map(to_json, sightings))}]" if as_json else "\n".join(map(tell, sightings)))


def look_at_servers(watch: LeaseWatch) -> list[Serving]:
    """Look at every endpoint that has a live replica."""
    servers, by_endpoint = [], attrgetter("endpoint")
    for endpoint, group in groupby(sorted(watch.look(), key=by_endpoint), by_endpoint):
        leases, pages = [*group], []
        for lease in leases:
            with suppress(httpx.HTTPError, httpx.InvalidURL):
                if lease.state == State.READY:
                    metrics = f"{lease.url.removesuffix('/v1')}/metrics"
                    pages.append(httpx.get(metrics, timeout=2).raise_for_status().text)
        servers.append(Serving(endpoint, dict(Counter(str(lease.state) for lease in leases)), ServerLoad.read(pages)))
    return servers


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="a run folder, a folder of runs, or a folder of autodata.reproduce"
    )
    parser.add_argument("--watch", action="store_true", help="look again every two seconds until the run has ended")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_intermixed_args()
    try:
        if (options.run / STEPS).exists():
            _follow_graph(options.run, options.json, options.watch)
        elif any((options.run / name).exists() for name in (*_SIGNS, ".lock")):
            _follow(options.run, options.json, options.watch)
        else:
            _list(options.run, options.json)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
