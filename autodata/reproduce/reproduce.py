"""Reproduces a table of the paper: everything from the corpus to the table, as Slurm jobs or on this machine.

    python -m autodata.reproduce TABLE [MODELS] [corpus=FOLDER] [runs=FOLDER] [key=value …] --dry-run
    python -m autodata.reproduce recipes/tables/table2.yaml recipes/models/paper.yaml corpus=corpora/s2orc_v2
    python -m autodata.reproduce recipes/tables/table2.yaml --scale small --local

TABLE is a table's recipe, or a folder of them. On a cluster, call slurm/reproduce.sh with the same arguments. The same
command again skips what is finished, keeps the jobs that wait or run, and submits the others. corpus=FOLDER names
corpus files or the run of a finished ingest; for the tables of several domains, write corpus.cs=… corpus.legal=….
"""

import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autodata import command
from autodata.doctor.environment import read_site
from autodata.plan.server_speeds import find_measured
from autodata.reproduce import local, show
from autodata.reproduce.costs import Evidence, forecast
from autodata.reproduce.finished import find_finished, require_same
from autodata.reproduce.graph import Step, build
from autodata.reproduce.jobs import submit_all
from autodata.reproduce.record import Record, make_record
from autodata.reproduce.request import SCALES, Request, read_request
from autodata.run.folder import hold, tell_time

_COMMAND_CHARS = 200  # of the command line of a process that works in a folder
_SUBMISSION = ".submission"  # beside the folders of the tables


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
    if options.dry_run:
        describe = show.describe_here if options.local else show.describe
        print(describe(request, steps, look_at(request, steps, options.speed), read_site()))
        return
    with hold_alone(request, options.local):
        if request.ignored:
            print(request.explain_ignored(), flush=True)
        record = look_at(request, steps, options.speed)
        if options.local:
            run_here(steps, record)
        else:
            submit_all(steps, record)
            print(f"to follow the jobs: python -m autodata.status {request.folder}")


def look_at(request: Request, steps: Sequence[Step], speeds: Sequence[str]) -> Record:
    """Look at what is finished, and forecast the rest. Raises UserError."""
    require_same(steps)
    finished = find_finished(steps)
    made = [step for step in steps if step.name in finished]
    costs = forecast(steps, Evidence(speeds, made, find_measured(Path(request.runs))))
    return make_record(request.folder, steps, costs, finished)


@contextmanager
def hold_alone(request: Request, is_local: bool) -> Iterator[None]:
    """Keep other calls of this command out while this one looks at the runs and submits their jobs, or runs the steps.

    Tables share runs, so only one call at a time may submit jobs of the same `runs`. A --local run keeps the folder of
    its own table for as long as it works. Raises RunError, which names the command that works there.
    """
    holder = name_command()
    with hold(request.folder.parent / _SUBMISSION, holder):
        own = hold(request.folder, holder)
        if not is_local:
            own.close()  # no --local works here, and none can begin; autodata.status knows one by this lock
            yield
            return
    with own:
        yield


def name_command() -> str:
    """Name this process for others that want its folder."""
    command = shlex.join(sys.orig_argv)[:_COMMAND_CHARS]
    return f"process {os.getpid()} on {socket.gethostname()} since {tell_time()}: {command}"


def run_here(steps: Sequence[Step], record: Record) -> None:
    """Run all steps on this machine; Ctrl-C and SIGTERM end the step that runs. Raises StepFailed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers that are up end with this command
    print(f"to follow the steps: python -m autodata.status {record.folder}")
    try:
        local.run_all(steps, record)
    except KeyboardInterrupt:
        raise local.StepFailed("stopped; give the same command again to go on from there") from None
