"""Writes a graph as text: its steps with their forecasts, what must be there before, and the jobs."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from autodata.cluster.resources import Site
from autodata.reproduce import needs
from autodata.reproduce.graph import Step
from autodata.reproduce.local import run
from autodata.reproduce.local.logs import find_failed
from autodata.reproduce.nodes import count_most_nodes, count_nodes, schedule
from autodata.reproduce.record import LEGEND, Cost, Record, mark
from autodata.reproduce.request import Request
from autodata.reproduce.slurm.jobs import find_awaited, list_jobs, make_command, write_call
from autodata.reproduce.slurm.room import Room
from autodata.stats.writing import DASH, write_duration, write_table

_HEAD = ("step", "after", "state", "nodes", "GPUs", "GPU-hours", "tokens", "wall-clock", "forecast from")


def describe(request: Request, steps: Sequence[Step], record: Record, room: Room, refused: Sequence[str] = ()) -> str:
    """Describe the jobs of a cluster before the first is submitted; `refused` says why none would be.

    A step whose job would be kept has its number in the record.
    """
    site = room.site
    waiting = _list_waiting(steps, record)
    costs = {step.name: record.steps[step.name].cost for step in waiting}
    times = schedule(waiting, costs, site, room.nodes)
    nodes = count_most_nodes(times, costs, site)
    most = mark(str(nodes), any(cost.assumed for cost in costs.values()))  # what runs at once follows from the times
    place = f"on at most {most} {'node' if nodes == 1 else 'nodes'} at a time" if nodes else "on parts of nodes"
    seconds = max((end for _, end in times.values()), default=0.0)
    problems = needs.find_site_problems(room.environment)
    return "\n\n".join(
        [
            *_begin(request, f"jobs in {record.folder}"),
            write_costs(record, site),
            *_sum_up(costs, seconds, f"{place}. The wait in the queue comes on top"),
            *_tell_how_to_count([s for s in waiting if not record.steps[s.name].job], _call_script),
            room.describe(),
            *_name("What is missing, so that nothing would be submitted:", refused),
            *_list_needs(waiting, costs, room.environment),
            *_name("The site file lacks:", problems),
            "Jobs, each with the numbers of those before it:\n"
            + "\n".join(_list_jobs(steps, record, room.list_jobs())),
        ]
    )


def describe_here(request: Request, steps: Sequence[Step], record: Record, environment: Mapping[str, str]) -> str:
    """Describe the commands that --local runs one after the other."""
    waiting = _list_waiting(steps, record)
    costs = {step.name: record.steps[step.name].cost for step in waiting}
    seconds = sum(cost.seconds or 0.0 for cost in costs.values())
    commands = "\n".join(shlex.join(run.make_command(step)) for step in waiting)
    return "\n\n".join(
        [
            *_begin(request, "all steps on this machine"),
            write_costs(record, Site.read(environment)),
            *_sum_up(costs, seconds, "one step after the other. The start of servers comes on top"),
            *_tell_how_to_count(waiting, run.make_command),
            *_list_needs(waiting, costs, environment),
            f"Commands, in this order; steps in a row that ask the same servers share them:\n{commands}",
        ]
    )


def _begin(request: Request, place: str) -> list[str]:
    head = f"{', '.join(map(str, request.tables))}: runs in {request.runs}, {place}"
    return [head, *([request.explain_ignored()] if request.ignored else [])]


def _list_waiting(steps: Sequence[Step], record: Record) -> list[Step]:
    return [step for step in steps if not record.steps[step.name].finished]


def write_costs(record: Record, site: Site) -> str:
    """Write a row for each step. A step is named by its number in the column `after`."""
    numbers = {name: str(number) for number, name in enumerate(record.steps, 1)}
    todo = [name for name, entry in record.steps.items() if not entry.finished]
    failed = {name: log for name in todo if (log := find_failed(record, name))}
    rows: list[Sequence[object]] = [("", *_HEAD)]
    for entry in record.steps.values():
        waits = {name for name in (*entry.after, *entry.behind) if name in numbers}
        after = ", ".join(number for name, number in numbers.items() if name in waits) or DASH
        waiting = f"job {entry.job}" if entry.job else "failed" if entry.name in failed else "to do"
        state = "finished" if entry.finished else waiting
        rows.append((numbers[entry.name], entry.name, after, state, *_write_cost(entry.cost, site)))
    return "\n\n".join([write_table(rows), *(f"Failed: {name}; read {log}" for name, log in failed.items())])


def _write_cost(cost: Cost, site: Site) -> tuple[str, ...]:
    hours, tokens = cost.write(cost.gpu_hours, "{:,.1f}".format), cost.write(cost.tokens, "{:,.0f}".format)
    seconds = cost.write(cost.seconds, write_duration)
    nodes = str(count_nodes(cost, site) or "a part")
    return nodes, str(cost.gpus), hours, tokens, seconds, cost.source


def _sum_up(costs: Mapping[str, Cost], seconds: float, place: str) -> Iterator[str]:
    """Sum the forecasts of the steps that are not finished."""
    if not costs:
        yield "Everything is finished."
        return
    unknown = [name for name, cost in costs.items() if cost.seconds is None]
    hours = sum(cost.gpu_hours or 0.0 for cost in costs.values())
    tokens = sum(cost.tokens or 0.0 for cost in costs.values())
    is_assumed = any(cost.assumed for cost in costs.values())
    amounts = ((f"{hours:,.1f}", hours), (f"{tokens:,.0f}", tokens), (write_duration(seconds), seconds))
    gpu_hours, count, duration = (mark(text, is_assumed and value > 0) for text, value in amounts)
    yield (
        f"To do in all: {gpu_hours} GPU-hours, {count} tokens, {duration}{_write_days(seconds)} "
        f"{place}{_leave_out(unknown, len(costs))}."
    )
    if is_assumed:
        yield f"{LEGEND} --speed ENDPOINT=PREFILL,DECODE,CONCURRENCY states a measured speed."


def _tell_how_to_count(steps: Sequence[Step], write: Callable[[Step], Sequence[str]]) -> Iterator[str]:
    """Say which commands make the numbers of documents exact; `write` writes that of a step."""
    if uncounted := needs.list_uncounted(steps):
        head = (
            "How many documents are read is known when their ingest has finished. To know it before anything else "
            "starts, run the ingest alone, wait for its end, and give this command again:"
        )
        yield _join(head, [f"{shlex.join(write(ingest))}, for {', '.join(names)}" for ingest, names in uncounted])


def _call_script(step: Step) -> list[str]:
    script, *arguments = write_call((step,))
    return ["bash", f"slurm/{script}", *arguments]


def _write_days(seconds: float) -> str:
    return f" ({seconds / 86400:,.0f} days)" if seconds > 2 * 86400 else ""


def _leave_out(unknown: Sequence[str], count: int) -> str:
    return f", and so do {len(unknown)} of {count} steps, for which there is no forecast of time" if unknown else ""


def _list_needs(waiting: Sequence[Step], costs: Mapping[str, Cost], environment: Mapping[str, str]) -> Iterator[str]:
    """List what the steps need beforehand."""
    weights = needs.list_weights(waiting)
    if weights:
        lines = [f"hf download {n}: {f'{size:,.0f} GB' if size else 'size unknown'}" for n, size in weights.items()]
        yield _join("Weights to fetch beforehand, on a machine with a connection:", lines)
    yield from _list("Data to fetch beforehand (docs/reproduce.md says how):", needs.list_missing_data(waiting))
    yield from _list("Keys of providers to set:", needs.list_missing_keys(waiting, environment))
    disk = mark(f"{needs.count_disk(weights, costs):,.0f}", any(cost.assumed for cost in costs.values()))
    yield (
        f"Disk: {disk} GB for weights, downloaded corpora, replies, models and checkpoints; "
        "logs, and the documents that an ingest keeps, come on top."
    )


def _name(head: str, problems: Sequence[str]) -> Iterator[str]:
    """Name problems, if there are any."""
    if problems:
        yield _join(head, problems)


def _join(head: str, lines: Iterable[str]) -> str:
    """Join a head and what is listed below it, one a line."""
    return "\n".join([head, *(f"- {line}" for line in lines)])


def _list(head: str, needed: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """List what is needed, each with the steps that need it."""
    if needed:
        yield _join(head, (f"{name}, for {', '.join(readers)}" for name, readers in needed.items()))


def _list_jobs(steps: Sequence[Step], record: Record, others: Mapping[str, str]) -> Iterator[str]:
    """List the commands that submit the unfinished steps; `$3` stands for the number of the third step's job.

    A job in the queue that is kept is listed by its number.
    """
    kept = {name: entry.job for name, entry in record.steps.items() if entry.job}
    order = {name: number for number, name in enumerate(record.steps, 1)}
    for step in steps:
        first = order[step.beside[0] if step.beside else step.name]
        record = record.change(replace(record.steps[step.name], job=kept.get(step.name, f"${first}")))
    for job in list_jobs(step for step in steps if not record.steps[step.name].finished):
        after, ended = find_awaited(job, steps, record, kept, others)
        numbers = ", ".join(f"${order[step.name]}" for step in job)
        if job[0].name in kept:
            yield f"{numbers}: job {kept[job[0].name]} is kept"
            continue
        yield f"{numbers}: " + _quote(make_command(job, after, record.folder, ended))


def _quote(command: Sequence[str]) -> str:
    return " ".join(word if "$" in word and " " not in word else shlex.quote(word) for word in command)
