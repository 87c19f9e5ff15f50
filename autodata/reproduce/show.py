"""Writes a graph as text: its steps with their forecasts, what must be there before, and the jobs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from autodata.cluster.resources import Site
from autodata.plan.workload import UNMEASURED
from autodata.reproduce import needs
from autodata.reproduce.costs import count_most_nodes, count_nodes
from autodata.reproduce.graph import Step
from autodata.reproduce.jobs import make_command
from autodata.reproduce.record import Cost, Record, find_ends
from autodata.reproduce.request import Request
from autodata.stats.writing import DASH, write_duration, write_table

_HEAD = ("step", "after", "state", "nodes", "GPUs", "GPU-hours", "tokens", "wall-clock", "forecast from")


def describe(request: Request, steps: Sequence[Step], record: Record, environment: Mapping[str, str]) -> str:
    """Describe everything before it starts."""
    site = Site.read(environment)
    sections = [
        write_costs(record, site),
        *_sum_up(steps, record, site),
        *_list_needs(steps, record, environment),
        "Jobs, each with the numbers of those before it:\n" + "\n".join(_list_jobs(steps, record)),
    ]
    tables = ", ".join(map(str, request.tables))
    head = f"{tables}: runs in {request.runs}, jobs in {record.folder}"
    ignored = [request.explain_ignored()] if request.ignored else []
    return "\n\n".join([head, *ignored, *sections])


def write_costs(record: Record, site: Site) -> str:
    """Write a row for each step. A step is named by its number in the column `after`."""
    numbers = {name: str(number) for number, name in enumerate(record.steps, 1)}
    rows: list[Sequence[object]] = [("", *_HEAD)]
    for entry in record.steps.values():
        after = ", ".join(numbers[name] for name in entry.after) or DASH
        state = "finished" if entry.finished else "to do"
        rows.append((numbers[entry.name], entry.name, after, state, *_write_cost(entry.cost, site)))
    return write_table(rows)


def _write_cost(cost: Cost, site: Site) -> tuple[str, ...]:
    hours, tokens = _write(cost.gpu_hours, ",.1f"), _write(cost.tokens, ",.0f")
    seconds = DASH if cost.seconds is None else write_duration(cost.seconds)
    nodes = str(count_nodes(cost, site) or "a part")
    return nodes, str(cost.gpus), hours, tokens, seconds, cost.source


def _write(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)


def _sum_up(steps: Sequence[Step], record: Record, site: Site) -> Iterator[str]:
    """Sum the forecasts of the steps that are not finished."""
    waiting = [step for step in steps if not record.steps[step.name].finished]
    if not waiting:
        yield "Everything is finished."
        return
    costs = {step.name: record.steps[step.name].cost for step in waiting}
    unknown = [name for name, cost in costs.items() if cost.seconds is None]
    hours = sum(cost.gpu_hours or 0.0 for cost in costs.values())
    tokens = sum(cost.tokens or 0.0 for cost in costs.values())
    seconds, nodes = max(find_ends(waiting, costs).values()), count_most_nodes(waiting, costs, site)
    place = f"on at most {nodes} {'node' if nodes == 1 else 'nodes'} at a time" if nodes else "on parts of nodes"
    yield (
        f"To do in all: {hours:,.1f} GPU-hours, {tokens:,.0f} tokens, {write_duration(seconds)}{_write_days(seconds)} "
        f"{place}. The wait in the queue comes on top{_leave_out(unknown, len(costs))}."
    )
    if any(UNMEASURED in cost.source for cost in costs.values()):
        yield (
            "Forecasts from priors.yaml are assumptions: no speed and no length was measured. "
            "--speed ENDPOINT=PREFILL,DECODE,CONCURRENCY states a measured speed."
        )


def _write_days(seconds: float) -> str:
    return f" ({seconds / 86400:,.0f} days)" if seconds > 2 * 86400 else ""


def _leave_out(unknown: Sequence[str], count: int) -> str:
    return f", and so do {len(unknown)} of {count} steps, for which there is no forecast of time" if unknown else ""


def _list_needs(steps: Sequence[Step], record: Record, environment: Mapping[str, str]) -> Iterator[str]:
    waiting = [step for step in steps if not record.steps[step.name].finished]
    weights = needs.list_weights(waiting)
    if weights:
        lines = [
            f"- hf download {name}: {f'{size:,.0f} GB' if size else 'size unknown'}" for name, size in weights.items()
        ]
        yield "\n".join(["Weights to fetch beforehand, on a machine with a connection:", *lines])
    yield from _list("Data to fetch beforehand (docs/reproduce.md says how):", needs.list_missing_data(waiting))
    yield from _list("Keys of providers to set:", needs.list_missing_keys(waiting, environment))
    costs = {step.name: record.steps[step.name].cost for step in waiting}
    disk = needs.count_disk(weights, costs)
    yield (
        f"Disk: {disk:,.0f} GB for weights, downloaded corpora, replies, models and checkpoints; "
        "logs, and the documents that an ingest keeps, come on top."
    )
    if problems := needs.find_site_problems(environment):
        yield "\n".join(["The site file lacks:", *(f"- {problem}" for problem in problems)])


def _list(head: str, needed: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """List what is needed, each with the steps that need it."""
    if needed:
        yield "\n".join([head, *(f"- {name}, for {', '.join(readers)}" for name, readers in needed.items())])


def _list_jobs(steps: Sequence[Step], record: Record) -> Iterator[str]:
    """List the commands that submit the unfinished steps; `$3` stands for the number of the third step's job."""
    numbers = {name: f"${number}" for number, name in enumerate(record.steps, 1)}
    for step in steps:
        if not record.steps[step.name].finished:
            after = [numbers[name] for name in step.after if not record.steps[name].finished]
            yield f"{numbers[step.name]}: " + _quote(make_command(step, after, record.folder))


def _quote(command: Sequence[str]) -> str:
    return " ".join(word if "$" in word and " " not in word else shlex.quote(word) for word in command)
