"""Sums up what a generation run did, in numbers and in words, and merges the shards of a run into one."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autodata.loop.agents import CUT_OFF_REPLY
from autodata.loop.orchestrator import FALLBACK
from autodata.recipes.domain import DomainConfig, expects_cut_off
from autodata.run import shards
from autodata.run.folder import Run
from autodata.run.records import TRAJECTORIES, RunError, iterate_records, join_in_order
from autodata.serving.costs import LEDGER, Ledger, tell_usd
from autodata.serving.measured import tell_outcomes
from autodata.serving.scripted import is_made_up
from autodata.stats.writing import write_count, write_duration, write_percent
from autodata.types import TRAJECTORY, Document, Failure, Trajectory


def summarize(trajectories: Iterable[Trajectory]) -> dict[str, object]:
    """Count acceptances (round 1 and later rounds apart), failures by kind, outcomes and duplicate answers."""
    total, ends, verdicts, presets, took_over = (Counter[str]() for _ in range(5))
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for trajectory in trajectories:
        ends[trajectory.end] += 1
        total += Counter(documents=1, accepted=trajectory.accepted is not None, refused=len(trajectory.refused))
        for role, counts in trajectory.outcomes.items():
            outcomes[role].update(counts)
        if trajectory.orchestrator == FALLBACK:
            took_over[trajectory.refused[-1] if trajectory.refused else ""] += 1
        for round in trajectory.rounds:
            part, accepted = "first" if round.number == 1 else "later", round.verdict.accepted is True
            verdicts["accepted" if accepted else round.verdict.failure or "unmeasured"] += 1
            # The proposal could not be read, because the challenger ran into its budget.
            by_budget = round.verdict.failure is Failure.MALFORMED and CUT_OFF_REPLY in round.verdict.reason
            presets.update(name for name, verdict in round.presets.items() if verdict.accepted)
            total += Counter({part: 1, f"{part}_accepted": accepted, "malformed_by_budget": by_budget})
            total += Counter(attempts=len(round.weak) + len(round.strong), duplicates=round.duplicate_answers)
    return {
        "documents": total["documents"],
        "ends": dict(sorted(ends.items())),
        "refused_moves": total["refused"],
        "accepted_documents": total["accepted"],
        "rounds": total["first"] + total["later"],
        "accepted_in_round_1": [total["first_accepted"], total["first"]],
        "accepted_in_later_rounds": [total["later_accepted"], total["later"]],
        "verdicts": dict(sorted(verdicts.items())),
        "malformed_by_budget": total["malformed_by_budget"],
        "accepted_by_preset": dict(sorted(presets.items())),
        "attempts": total["attempts"],
        "duplicate_answers": total["duplicates"],
        "outcomes": {role: dict(sorted(counts.items())) for role, counts in sorted(outcomes.items())},
        "fixed_orchestrator_took_over": dict(took_over.most_common()),
    }


def sum_up(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Sum up the trajectories and the costs of a run."""
    summary = summarize(iterate_records(run.path(TRAJECTORIES), TRAJECTORY))
    return {"summary": summary, "outcomes": join_outcomes(summary, ledger), "cost": tell_usd(ledger)}


def merge(run: Run, documents: Sequence[Document], **measured: float) -> dict[str, Any]:
    """Join the trajectories and replies of all shards and add up their counts. Raises RunError, JournalError."""
    folders, facts = shards.join(run)
    order_trajectories(run, [folder / TRAJECTORIES for folder in folders], documents)
    facts |= sum_up(run, LEDGER.validate_python(facts["ledger"])) | measured
    ended = facts["summary"]["documents"] + len(facts["quarantined"])
    if ended != len(documents):
        raise RunError(
            f"{run.folder}: the shards have {write_count(ended, 'document')}, but the corpus has "
            f"{len(documents):,}; make the shards again from the same documents"
        )
    run.finish([TRAJECTORIES], **facts)
    return facts


def order_trajectories(run: Run, sources: Sequence[Path], documents: Sequence[Document]) -> None:
    """Write all trajectories to one file in the order of the documents, whatever the order of their completion."""
    place = {document.id: number for number, document in enumerate(documents)}
    join_in_order(run.path(TRAJECTORIES), sources, TRAJECTORY, lambda t: place[t.document_id])


def join_outcomes(summary: Mapping[str, Any], ledger: Ledger) -> dict[str, dict[str, int]]:
    """Count how the calls of a run ended, by role, over all sessions.

    The ledger includes documents that are not finished and calls without an answer; trajectories include replies that
    were replayed from another run. Neither counts anything twice, so the larger of the two counts is complete.
    """
    joined = {role: Counter(counts) for role, counts in summary["outcomes"].items()}
    for role, cost in ledger.items():
        joined[role] = joined.get(role, Counter()) | Counter(cost.outcomes)
    return {role: dict(sorted(counts.items())) for role, counts in sorted(joined.items())}


def describe(facts: Mapping[str, Any], domain: DomainConfig) -> str:
    """Tell in a few lines what a run did."""
    summary = facts["summary"]
    first, later = summary["accepted_in_round_1"], summary["accepted_in_later_rounds"]
    failures = ", ".join(f"{name} {count}" for name, count in summary["verdicts"].items())
    if by_budget := summary["malformed_by_budget"]:
        failures += f" (in {by_budget} of the malformed rounds the challenger was cut off by its budget)"
    ends = ", ".join(f"{name} {count}" for name, count in summary["ends"].items()) or "none"
    presets = ", ".join(f"{name} {count}" for name, count in summary["accepted_by_preset"].items()) or "none"
    lines = [
        f"{summary['accepted_documents']:,} of {summary['documents']:,} documents have an accepted candidate: "
        f"{first[0]:,} of {first[1]:,} first rounds and {later[0]:,} of {later[1]:,} later rounds were accepted; "
        f"work on the documents ended with: {ends}",
        f"{write_count(summary['rounds'], 'round')}: {failures}; rounds accepted under each preset: {presets}",
        _describe_calls(facts),
        f"cost, over all sessions: {', '.join(f'{role} {usd}' for role, usd in facts['cost'].items())}",
        f"{summary['duplicate_answers']:,} of {summary['attempts']:,} answers are identical to another answer to the "
        "same question",
        *tell_outcomes(facts["outcomes"], expects_cut_off(domain)),
    ]
    if is_made_up(facts.get("models", {}).values()):
        lines.insert(0, "MADE UP: a scripted server answered for the models, so these numbers mean nothing")
    if reasons := summary["fixed_orchestrator_took_over"]:
        share = f"{sum(reasons.values())} of {summary['documents']} documents"
        last = f"the most frequent last refusal: {next(iter(reasons))}"
        lines.append(f"the fixed orchestrator took over from the model in {share}; {last}")
    return "\n".join(lines)


def _describe_calls(facts: Mapping[str, Any]) -> str:
    """Tell what this session cost, and how often a reply could not be read at once."""
    counts = facts["counts"]
    tokens = counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)
    return (
        f"this session: {write_count(counts.get('calls', 0), 'call')}, {counts.get('replayed', 0):,} replayed, "
        f"{write_count(tokens, 'token')}, {write_duration(facts['working_s'])}; at least one call in flight "
        f"{write_percent(facts['server_busy_share'], 1)} of the time; {counts.get('asked_again', 0):,} unreadable "
        f"replies requested again, {counts.get('repaired_json', 0):,} repaired"
    )


def describe_sessions(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Say how often the command was started, killed and stopped, and what it cost in all."""
    counts: Counter[str] = sum((Counter(s.get("counts", {})) for s in sessions), Counter())
    repeated = {name.removeprefix("retried_"): n for name, n in sorted(counts.items()) if name.startswith("retried_")}
    listed = ", ".join(f"{name} {n}" for name, n in repeated.items())
    tokens = counts["prompt_tokens"] + counts["completion_tokens"]
    postponed = write_count(counts["put_off"], "document") if counts["put_off"] else "no document"
    notes = {
        "found_in_text": "answers found in the reasoning or the text, where the server had left them",
        "estimated": "replies had no token counts, so these are estimated",
    }
    return (
        f"{_describe_starts(sessions)}. {write_count(counts['calls'], 'call')}, "
        f"{f'{sum(repeated.values()):,} repeated ({listed})' if listed else 'none repeated'}, "
        f"{write_count(tokens, 'token')}, {postponed} postponed"
    ) + "".join(f"; {counts[name]:,} {words}" for name, words in notes.items() if counts[name])


def _describe_starts(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Say how often the command was started, and how often it did not end by itself."""
    killed = sum("ended" not in session for session in sessions)
    stopped = sum("problem" in session for session in sessions)
    endings = {"killed": killed, "stopped by an error": stopped}
    interruptions = [f"{count:,} {ending}" for ending, count in endings.items() if count]
    starts = "Started once" if len(sessions) == 1 else f"Started {len(sessions):,} times"
    return f"{starts}, {', '.join(interruptions) or 'no interruption'}"
