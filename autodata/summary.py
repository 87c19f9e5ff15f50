"""What a generation run did, in numbers and in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from autodata.types import Trajectory


def summarize(trajectories: Sequence[Trajectory]) -> dict[str, object]:
    """Acceptance, in round 1 beside later rounds, and how candidates failed; all counted."""
    rounds = [r for t in trajectories for r in t.rounds]
    first, later = [r for r in rounds if r.number == 1], [r for r in rounds if r.number > 1]
    verdicts = Counter("accepted" if r.verdict.accepted else r.verdict.failure or "unmeasured" for r in rounds)
    presets = Counter(name for r in rounds for name, v in r.presets.items() if v.accepted)
    attempts = sum(len(r.weak) + len(r.strong) for r in rounds)
    return {
        "documents": len(trajectories),
        "ends": dict(sorted(Counter(t.end for t in trajectories).items())),
        "refused_moves": sum(len(t.refused) for t in trajectories),
        "accepted_documents": sum(t.accepted is not None for t in trajectories),
        "rounds": len(rounds),
        "accepted_in_round_1": [sum(r.verdict.accepted is True for r in first), len(first)],
        "accepted_in_later_rounds": [sum(r.verdict.accepted is True for r in later), len(later)],
        "verdicts": dict(sorted(verdicts.items())),
        "accepted_by_preset": dict(sorted(presets.items())),
        "attempts": attempts,
        "duplicate_answers": sum(r.duplicate_answers for r in rounds),
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
