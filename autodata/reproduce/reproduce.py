"""Reproduces a table of the paper: everything from the corpus to the table, as Slurm jobs or on this machine.

    python -m autodata.reproduce TABLE [MODELS] [corpus=FOLDER] [runs=FOLDER] [key=value …] --dry-run
    python -m autodata.reproduce recipes/tables/table2.yaml recipes/models/paper.yaml corpus=corpora/s2orc_v2
    python -m autodata.reproduce recipes/tables/table2.yaml --scale small --local

TABLE is a table's recipe, or a folder of them. On a cluster, call slurm/reproduce.sh with the same arguments. The same
command again skips what is finished, keeps the jobs that wait or run, and submits the others.
"""

import signal
from collections.abc import Mapping, Sequence

from autodata import command
from autodata.doctor.environment import read_site
from autodata.reproduce import local, show
from autodata.reproduce.costs import forecast
from autodata.reproduce.finished import find_finished, require_same
from autodata.reproduce.graph import Step, build
from autodata.reproduce.record import Cost, Record, make_record
from autodata.reproduce.request import SCALES, Request, read_request
from autodata.reproduce.slurm.jobs import submit_all
from autodata.reproduce.slurm.joint import join
from autodata.reproduce.slurm.room import Room, find_too_large, keep_apart
from autodata.types import WrongCall


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    table_help = "a table's recipe or a folder; then files of models and key=value, for the steps that have their keys"
    parser.add_argument("table", nargs="+", metavar="TABLE", help=table_help)
    parser.add_argument("--dry-run", action="store_true", help="print graph, cost and needs; start nothing")
    parser.add_argument("--local", action="store_true", help="run the steps one after the other on this machine")
    scale_help = "small: the same graph with the embedded model and short documents; MODELS is not read"
    parser.add_argument("--scale", choices=SCALES, default="paper", help=scale_help)
    speed_help = "a server's speed for the forecast: ENDPOINT=PREFILL,DECODE,CONCURRENCY, the first two in tokens/s"
    parser.add_argument("--speed", action="append", default=[], metavar="SPEED", help=speed_help)
    options = parser.parse_intermixed_args()
    request = read_request(options.table, options.scale)
    steps = build(request)
    require_same(steps)
    if request.ignored and not options.dry_run:
        print(request.explain_ignored(), flush=True)
    finished = find_finished(steps)
    costs = forecast(steps, options.speed)
    if not options.local:
        run_on_cluster(request, steps, costs, finished, options.dry_run)
        return
    record = make_record(request.folder, steps, costs, finished)
    if options.dry_run:
        print(show.describe_here(request, steps, record, read_site()))
    else:
        run_here(steps, record)


def run_on_cluster(
    request: Request, steps: Sequence[Step], costs: Mapping[str, Cost], finished: set[str], is_dry: bool
) -> None:
    """Submit the jobs of all steps, or describe them. Raises WrongCall, SlurmError."""
    site = read_site()
    room = Room.read(site, request.folder)
    steps, costs = join(steps, finished, costs, room)
    steps = keep_apart(steps, finished, costs, room)
    record, problem = make_record(request.folder, steps, costs, finished), find_too_large(steps, finished, costs, room)
    if is_dry:
        print(show.describe(request, steps, record, site, f"{room.describe()} {problem}".strip()))
        return
    if problem:
        raise WrongCall(problem)
    submit_all(steps, record, room.list_jobs())
    print(f"to follow the jobs: python -m autodata.status {request.folder}")


def run_here(steps: Sequence[Step], record: Record) -> None:
    """Run all steps on this machine; Ctrl-C and SIGTERM end the step that runs. Raises StepFailed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers that are up end with this command
    print(f"to follow the steps: python -m autodata.status {record.folder}")
    try:
        local.run_all(steps, record)
    except KeyboardInterrupt:
        raise local.StepFailed("stopped; give the same command again to go on from there") from None
