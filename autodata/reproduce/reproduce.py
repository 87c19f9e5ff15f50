"""Reproduces a table of the paper: everything from the corpus to the table, as Slurm jobs or on this machine.

    python -m autodata.reproduce TABLE [MODELS] [corpus=FOLDER] [runs=FOLDER] [key=value …] --dry-run
    python -m autodata.reproduce recipes/tables/table2.yaml recipes/models/paper.yaml corpus=corpora/s2orc_v2
    python -m autodata.reproduce recipes/tables/table2.yaml --scale small --local

TABLE is a table's recipe, or a folder of them. On a cluster, call slurm/reproduce.sh with the same arguments. The same
command again skips what is finished, keeps the jobs that wait or run, and submits the others. corpus=FOLDER names
corpus files or the run of a finished ingest; for the tables of several domains, write corpus.cs=… corpus.legal=….
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autodata import command
from autodata.doctor.environment import read_site
from autodata.plan.server_speeds import find_measured
from autodata.report.index import report
from autodata.reproduce import show
from autodata.reproduce.alone import hold_alone
from autodata.reproduce.costs import Evidence, forecast
from autodata.reproduce.finished import find_finished, require_same
from autodata.reproduce.graph import Step, build
from autodata.reproduce.local.outcome import describe_outcome, tell_where, write_line
from autodata.reproduce.local.published import compare_published
from autodata.reproduce.local.run import StepFailed, run_all
from autodata.reproduce.record import TABLES, VERIFY, Cost, Record, make_record
from autodata.reproduce.request import SCALES, Request, read_request
from autodata.reproduce.slurm.jobs import note_kept
from autodata.reproduce.slurm.submission import describe_jobs, submit
from autodata.stats.writing import write_count, write_duration
from autodata.types import UserError


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
        finished, costs = look_at(request, steps, options.speed, options.local)
        describe = describe_here if options.local else describe_jobs
        print(describe(request, steps, finished, costs))
        return
    with hold_alone(request, options.local):
        if request.ignored:
            print(request.explain_ignored(), flush=True)
        finished, costs = look_at(request, steps, options.speed, options.local)
        if not options.local:
            submit(request, steps, finished, costs)
            print(f"to follow the jobs: python -m autodata.status {request.folder}")
            return
        start = time.monotonic()
        count = run_here(steps, make_record(request.folder, steps, costs, finished))
        print("\n".join(describe_end(request, steps, count, time.monotonic() - start)))


def look_at(
    request: Request, steps: Sequence[Step], speeds: Sequence[str], is_local: bool
) -> tuple[set[str], Mapping[str, Cost]]:
    """Look at what is finished, and forecast the rest. Raises UserError."""
    require_same(steps)
    finished = find_finished(steps)
    made = [step for step in steps if step.name in finished]
    return finished, forecast(steps, Evidence(speeds, made, find_measured(Path(request.runs)), is_local))


def describe_here(request: Request, steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost]) -> str:
    record = note_kept(make_record(request.folder, steps, costs, finished), {})
    return show.describe_here(request, steps, record, read_site())


def run_here(steps: Sequence[Step], record: Record) -> int:
    """Run all steps on this machine; Ctrl-C and SIGTERM end the step that runs. Raises StepFailed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers that are up end with this command
    print(f"to follow the steps from elsewhere: python -m autodata.status {record.folder}")
    try:
        return run_all(steps, record)
    except KeyboardInterrupt:
        raise StepFailed("stopped; give the same command again to go on from there") from None


def describe_end(request: Request, steps: Sequence[Step], count: int, seconds: float) -> list[str]:
    """Describe what came out of the steps, `count` of which ran now, and write the pages of their runs.

    Raises RunError.
    """
    duration = f"{count} of {write_count(len(steps), 'step')} in {write_duration(seconds)}"
    duration += "; the others were finished before" * (count < len(steps))
    comparison = compare_published(request, steps)
    published = [write_line("published", comparison)] if comparison else []
    return [
        *describe_outcome(steps),
        write_line("time", duration),
        tell_where(steps, write_reports(steps)),
        *published,
    ]


def write_reports(steps: Sequence[Step]) -> Path | None:
    """Write the reports of all runs, and a page over them; None if that fails, which must not fail the steps."""
    folders = [step.target for step in steps if step.module not in (TABLES, VERIFY)]
    try:
        return report(Path(os.path.commonpath(folders)))
    except UserError as error:
        print(f"no reports: {error}")
        return None
