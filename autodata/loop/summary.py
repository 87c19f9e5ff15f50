"""Sums up what a generation run did, in numbers and in words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autodata.loop.agents import CUT_OFF_REPLY
from autodata.loop.orchestrator import FALLBACK
from autodata.serving.costs import Ledger
from autodata.serving.measured import tell_outcomes
from autodata.stats.writing import write_percent
from autodata.types import Failure, Round, Trajectory


def summarize(trajectories: Iterable[Trajectory]) -> dict[str, object]:
    """Count acceptances (round 1 and later rounds apart), failures by kind, outcomes and duplicate answers."""
    total: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    presets: Counter[str] = Counter()
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    took_over: Counter[str] = Counter()
    for trajectory in trajectories:
        ends[trajectory.end] += 1
        total += Counter(documents=1, accepted=trajectory.accepted is not None, refused=len(trajectory.refused))
        for role, counts in trajectory.outcomes.items():
            outcomes[role].update(counts)
        if trajectory.orchestrator == FALLBACK:
            took_over[trajectory.refused[-1] if trajectory.refused else ""] += 1
        for tried in trajectory.rounds:
            part, accepted = "first" if tried.number == 1 else "later", tried.verdict.accepted is True
            verdicts["accepted" if accepted else tried.verdict.failure or "unmeasured"] += 1
            presets.update(name for name, verdict in tried.presets.items() if verdict.accepted)
            total += Counter({part: 1, f"{part}_accepted": accepted, "duplicates": tried.duplicate_answers,
                              "malformed_by_budget": _is_cut_off(tried),
                              "attempts": len(tried.weak) + len(tried.strong)})  # fmt: skip
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


def _is_cut_off(tried: Round) -> bool:
    """True if a proposal could not be read because the challenger ran into its budget."""
    return tried.verdict.failure is Failure.MALFORMED and CUT_OFF_REPLY in tried.verdict.reason


def join_outcomes(summary: Mapping[str, Any], ledger: Ledger) -> dict[str, dict[str, int]]:
    """Count how the calls of a run ended, by role, over all sessions.

    The ledger includes documents that are not finished and calls without an answer; trajectories include replies that
    were replayed from another run. Neither counts anything twice, so the larger of the two counts is complete.
    """
    joined = {role: Counter(counts) for role, counts in summary["outcomes"].items()}
    for role, cost in ledger.items():
        joined[role] = joined.get(role, Counter()) | Counter(cost.outcomes)
    return {role: dict(sorted(counts.items())) for role, counts in sorted(joined.items())}


def describe(facts: Mapping[str, Any]) -> str:
    """Tell in a few lines what a run did."""
    summary, counts = facts["summary"], facts["counts"]
    first, later = summary["accepted_in_round_1"], summary["accepted_in_later_rounds"]
    failures = ", ".join(f"{name} {count}" for name, count in summary["verdicts"].items())
    if by_budget := summary["malformed_by_budget"]:
        failures += f" ({by_budget} of the malformed: the challenger was cut off by its budget)"
    tokens = counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)
    ends = ", ".join(f"{name} {count}" for name, count in summary["ends"].items())
    again = f"{counts.get('asked_again', 0)} replies asked for again, {counts.get('repaired_json', 0)} repaired"
    lines = [
        f"{summary['accepted_documents']} of {summary['documents']} documents have an accepted candidate: "
        f"{first[0]} of {first[1]} in round 1, {later[0]} of {later[1]} in later rounds; ended: {ends}",
        f"{summary['rounds']} rounds: {failures}; accepted by preset: {summary['accepted_by_preset']}",
        f"this session: {counts.get('calls', 0)} calls, {counts.get('replayed', 0)} replayed, {tokens} tokens, "
        f"{facts['working_s']} s, a call under way {write_percent(facts['server_busy_share'], 1)} of the time; "
        f"{again}; {summary['duplicate_answers']} of {summary['attempts']} answers repeat another of their round",
        *tell_outcomes(facts["outcomes"]),
    ]
    return "\n".join([*lines, *_tell_fallbacks(summary)])


def _tell_fallbacks(summary: Mapping[str, Any]) -> list[str]:
    """Say in one line how often the fixed orchestrator had to take over, and why."""
    reasons = summary["fixed_orchestrator_took_over"]
    if not reasons:
        return []
    return [f"the fixed orchestrator took over from the model in {sum(reasons.values())} of {summary['documents']} "
            f"documents; the commonest last refusal: {next(iter(reasons))}"]  # fmt: skip


def describe_sessions(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Say how often the command was started, killed and stopped, and what it cost in all."""
    counts: Counter[str] = sum((Counter(s.get("counts", {})) for s in sessions), Counter())
    repeated = {name.removeprefix("retried_"): n for name, n in sorted(counts.items()) if name.startswith("retried_")}
    listed = ", ".join(f"{name} {n}" for name, n in repeated.items())
    killed = sum("ended" not in session for session in sessions)
    stopped = sum("problem" in session for session in sessions)
    tokens = counts["prompt_tokens"] + counts["completion_tokens"]
    notes = {"found_in_text": "answers taken from the reasoning or the text, where the server left them",
             "estimated": "replies without usage, whose tokens are estimated"}  # fmt: skip
    return (
        f"{len(sessions)} sessions, {killed} killed, {stopped} stopped by an error; in all {counts['calls']} calls, "
        f"{tokens} tokens, {sum(repeated.values())} repeated{f': {listed}' if listed else ''}; "
        f"{counts['put_off']} documents put off"
    ) + "".join(f"; {counts[name]} {words}" for name, words in notes.items() if counts[name])
