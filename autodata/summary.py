"""What a generation run did, in numbers and in words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autodata.types import Trajectory


def summarize(trajectories: Iterable[Trajectory]) -> dict[str, object]:
    """Acceptance, in round 1 beside later rounds, and how candidates failed; all counted, one after the other."""
    total: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    presets: Counter[str] = Counter()
    for trajectory in trajectories:
        ends[trajectory.end] += 1
        total += Counter(documents=1, accepted=trajectory.accepted is not None, refused=len(trajectory.refused))
        for tried in trajectory.rounds:
            part, accepted = "first" if tried.number == 1 else "later", tried.verdict.accepted is True
            verdicts["accepted" if accepted else tried.verdict.failure or "unmeasured"] += 1
            presets.update(name for name, verdict in tried.presets.items() if verdict.accepted)
            total += Counter({part: 1, f"{part}_accepted": accepted, "duplicates": tried.duplicate_answers,
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
        "accepted_by_preset": dict(sorted(presets.items())),
        "attempts": total["attempts"],
        "duplicate_answers": total["duplicates"],
    }


def describe(facts: Mapping[str, Any]) -> str:
    """What a run did, in a few lines."""
    summary, counts = facts["summary"], facts["counts"]
    first, later = summary["accepted_in_round_1"], summary["accepted_in_later_rounds"]
    failures = ", ".join(f"{name} {count}" for name, count in summary["verdicts"].items())
    tokens = counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)
    ends = ", ".join(f"{name} {count}" for name, count in summary["ends"].items())
    again = f"{counts.get('asked_again', 0)} replies asked for again, {counts.get('repaired_json', 0)} repaired"
    return (
        f"{summary['accepted_documents']} of {summary['documents']} documents have an accepted candidate: "
        f"{first[0]} of {first[1]} in round 1, {later[0]} of {later[1]} in later rounds; ended: {ends}\n"
        f"{summary['rounds']} rounds: {failures}; accepted by preset: {summary['accepted_by_preset']}\n"
        f"{counts.get('calls', 0)} calls, {counts.get('replayed', 0)} replayed, {tokens} tokens, "
        f"{facts['working_s']} s, a call under way {facts['server_busy_share']:.1%} of the time; "
        f"{again}; {summary['duplicate_answers']} of {summary['attempts']} answers repeat another of their round"
    )


def describe_sessions(sessions: Sequence[Mapping[str, Any]]) -> str:
    """What went wrong on the way, over every time that the command was run."""
    counts: Counter[str] = sum((Counter(s.get("counts", {})) for s in sessions), Counter())
    repeated = {name.removeprefix("retried_"): n for name, n in sorted(counts.items()) if name.startswith("retried_")}
    listed = ", ".join(f"{name} {n}" for name, n in repeated.items())
    killed = sum("ended" not in session for session in sessions)
    stopped = sum("problem" in session for session in sessions)
    return (
        f"{len(sessions)} sessions, {killed} killed, {stopped} stopped by an error; in all {counts['calls']} calls, "
        f"{sum(repeated.values())} repeated{f': {listed}' if listed else ''}; {counts['put_off']} documents put off"
    )
