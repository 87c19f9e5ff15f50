"""Shows a graph while its jobs or --local run: what is finished, what waits for what, and which job has died."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.doctor.environment import read_site
from autodata.reproduce.finished import find_finished
from autodata.reproduce.local.logs import FOLDER, find_failed
from autodata.reproduce.nodes import schedule
from autodata.reproduce.record import LEGEND, TABLES, VERIFY, Record, StepRecord, mark, read_record
from autodata.reproduce.slurm.room import Room
from autodata.reproduce.slurm.waits import find_outside
from autodata.run.locks import is_held
from autodata.run.snapshot import describe, read_snapshot
from autodata.stats.writing import DASH, write_duration, write_table

_FOR = "for "  # begins the detail of a step that waits for others
Queue = Mapping[str, tuple[str, str]]  # number of a job → its state and the reason why it waits


@dataclass(frozen=True)
class Standing:
    """How far one step is."""

    name: str
    job: str
    state: str  # finished, running, waiting, died, failed, unknown or to do
    detail: str  # what it waits for, how far it is, or what to read
    outside: tuple[str, ...] = ()  # the jobs of other tables among those for which it waits


def look(folder: Path) -> tuple[Record, list[Standing]]:
    """Look at all steps of a graph once. Raises RunError."""
    record = read_record(folder)
    finished = find_finished(list(record.steps.values()))
    queue = _read_queue()
    if is_held(folder):  # --local works on the steps in their order
        return record, [*_judge_in_order(record, finished)]
    standings = [_judge(entry, record, finished, queue) for entry in record.steps.values()]
    is_waiting = any(standing.job and standing.state == "waiting" for standing in standings)
    return record, _add_outside(standings, find_outside(record) if is_waiting else {})


def _add_outside(standings: Sequence[Standing], outside: Mapping[str, tuple[str, ...]]) -> list[Standing]:
    """Add what each waiting step waits for outside its table; `outside` has it by the numbers of the jobs."""
    return [_add(standing, outside.get(standing.job, ())) for standing in standings]


def _add(standing: Standing, outside: tuple[str, ...]) -> Standing:
    if standing.state != "waiting" or not outside:
        return standing
    own = [standing.detail] if standing.detail.startswith(_FOR) else []  # else the reason is that it waits for these
    detail = ", ".join([*own, *outside])
    return replace(standing, detail=detail if own else f"{_FOR}{detail}", outside=outside)


def _judge_in_order(record: Record, finished: set[str]) -> Iterator[Standing]:
    unfinished = [name for name in record.steps if name not in finished]
    for name, entry in record.steps.items():
        if name in finished:
            yield Standing(name, "", "finished", "")
        elif name == unfinished[0]:
            yield Standing(name, "", "running", _tell_progress(entry, record))
        else:
            missing = [other for other in entry.after if other not in finished]
            yield Standing(name, "", "waiting", f"for {', '.join(missing or unfinished[:1])}")


def _has_own_folder(entry: StepRecord) -> bool:
    """True if a step makes a run folder. A verification reads that of another step."""
    return entry.module not in (VERIFY, TABLES)


def _read_queue() -> Queue | None:
    """Read this user's jobs; None if Slurm cannot be asked from here."""
    try:
        return jobs.list_reasons()
    except SlurmError:
        return None


def _judge(entry: StepRecord, record: Record, finished: set[str], queue: Queue | None) -> Standing:
    state, detail = _find_state(entry, record, finished, queue)
    return Standing(entry.name, entry.job, state, detail)


def _find_state(entry: StepRecord, record: Record, finished: set[str], queue: Queue | None) -> tuple[str, str]:
    if entry.name in finished:
        return "finished", ""
    state, reason = (queue or {}).get(entry.job, ("", ""))
    if state == "RUNNING" or (_has_own_folder(entry) and is_held(Path(entry.target))):
        return "running", _tell_progress(entry, record)
    missing = [name for name in (*entry.after, *entry.behind) if name in record.steps and name not in finished]
    if state:
        return "waiting", f"{_FOR}{', '.join(missing)}" if missing else _explain_wait(state, reason)
    if entry.job and queue is not None:
        return "died", _explain_death(entry, record, missing)
    if entry.job:
        return "unknown", f"Slurm cannot be asked from here about job {entry.job}"
    return _judge_idle(entry, record, missing)


def _judge_idle(entry: StepRecord, record: Record, missing: Sequence[str]) -> tuple[str, str]:
    """Judge a step that neither a job nor --local works on."""
    if log := find_failed(record, entry.name):
        return "failed", f"read {log}; the same command goes on from there"
    return "to do", f"after {', '.join(missing)}" if missing else ""


def _tell_progress(entry: StepRecord, record: Record) -> str:
    snapshot = read_snapshot(Path(entry.target)) if _has_own_folder(entry) else None
    if snapshot or not entry.job:
        return describe(snapshot) if snapshot else ""
    return f"no progress yet: it starts, or waits for its servers; read {_find_log(entry, record)}"


def _explain_wait(state: str, reason: str) -> str:
    return f"in Slurm's queue: {reason}" if state == "PENDING" else f"Slurm has it as {state.lower()}"


def _explain_death(entry: StepRecord, record: Record, missing: Sequence[str]) -> str:
    if missing:
        return f"cancelled, because it needs {', '.join(missing)}; the same command submits it again"
    return f"read {_find_log(entry, record)}; the same command submits it again"


def _find_log(entry: StepRecord, record: Record) -> Path:
    """Find the log of a step's job; the folder of all logs if there is none yet."""
    return next(iter(sorted(record.folder.glob(f"*-{entry.job}.log"))), record.folder)


def write_standing(record: Record, standings: Sequence[Standing]) -> str:
    """Write a row for each step, then the forecast for what is not finished."""
    rows: list[Sequence[object]] = [("", "step", "state", "job", "forecast", "")]
    for number, standing in enumerate(standings, 1):
        cost = record.steps[standing.name].cost
        forecast = cost.write(cost.seconds, write_duration)
        rows.append((number, standing.name, standing.state, standing.job or DASH, forecast, standing.detail))
    return "\n\n".join([write_table(rows), *_forecast(record, standings)])


def _forecast(record: Record, standings: Sequence[Standing]) -> Iterator[str]:
    left = [record.steps[standing.name] for standing in standings if standing.state != "finished"]
    if not left:
        yield "Everything is finished."
        return
    is_local = (record.folder / FOLDER).exists() and not any(entry.job for entry in record.steps.values())
    yield _sum_up(left, None if is_local else Room.count(read_site()))
    if outside := dict.fromkeys(job for standing in standings for job in standing.outside):
        yield f"The wait for jobs outside this table comes on top: {', '.join(outside)}."
    if any(entry.cost.assumed for entry in record.steps.values()):
        yield LEGEND
    if dead := [standing.name for standing in standings if standing.state == "died"]:
        yield f"Died: {', '.join(dead)}. Repair the cause and give the same command of slurm/reproduce.sh again."


def _sum_up(left: Sequence[StepRecord], room: Room | None) -> str:
    """Sum the forecasts of the steps that are left. Without a room, one step runs after the other on this machine."""
    costs = {entry.name: entry.cost for entry in left}
    unknown = sum(cost.seconds is None for cost in costs.values())
    if unknown == len(left):
        return "No step that is left has a forecast."
    is_assumed = any(cost.assumed for cost in costs.values())
    hours = sum(cost.gpu_hours or 0.0 for cost in costs.values())
    gpu_hours = mark(f"{hours:,.1f}", is_assumed and hours > 0)
    if room:
        seconds = max(end for _, end in schedule(left, costs, room.site, room.nodes).values())
    else:
        seconds = sum(cost.seconds or 0.0 for cost in costs.values())
    duration = mark(write_duration(seconds), is_assumed)
    without = f"; {unknown} of {len(left)} steps have no forecast of time" if unknown else ""
    return f"Left by the forecast, running steps counted whole: {duration}, {gpu_hours} GPU-hours{without}."
