"""Builds what the loop-judge sees: how both solvers did on each criterion and each capability (paper Sec. 3.2)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import fmean, pstdev
from typing import Any

from autodata.domains.legal.post_filter import Findings
from autodata.loop.acceptance import are_equal, mean, scores
from autodata.types import Attempt, Candidate, Round

_OPINION_KEYS = ("verdict", "verdict_reason", "gap_interpretation", "grpo_suitability", "suggestion_for_writer")


@dataclass(frozen=True)
class Solver:
    """The scores of one solver, each in [0, 1]. Their standard deviation over all attempts is in points of 100."""

    scores: tuple[float, ...]
    avg: float
    std_points: float
    valid: int  # attempts with a non-empty answer
    is_flat: bool  # several attempts, all with the same score: GRPO learns nothing from them


@dataclass(frozen=True)
class Packet:
    """Everything that was measured about one candidate."""

    weak: Solver
    strong: Solver
    criteria: list[dict[str, Any]]  # how both solvers did on each
    capabilities: list[dict[str, Any]]  # sorted: the weak solver's worst capability first
    findings: Findings
    previous: list[dict[str, object]]
    last: dict[str, object] | None  # the question and the rubric of the latest earlier version

    @property
    def gap(self) -> float:
        """The strong solver's mean score minus the weak solver's."""
        return round(self.strong.avg - self.weak.avg, 3)

    def numbers(self) -> dict[str, object]:
        """Return the numbers that are stored with the round."""
        return {
            "weak_avg": self.weak.avg,
            "strong_avg": self.strong.avg,
            "gap": self.gap,
            "weak_valid": self.weak.valid,
            "strong_valid": self.strong.valid,
            "weak_std_points": self.weak.std_points,
            "strong_std_points": self.strong.std_points,
            "body_length": self.findings.body_length,
            "capability_scores": self.capabilities,
        }

    def slots(self) -> dict[str, object]:
        """Return the template's slots. Records are JSON lines, so that a criterion's text cannot pass for a number."""
        return {
            "weak": self.weak,
            "strong": self.strong,
            "gap": self.gap,
            "criteria": _lines(self.criteria),
            "capabilities": _lines(self.capabilities),
            "body_length": self.findings.body_length,
            "body_length_concern": self.findings.length_concern,
            "case_recap_match": self.findings.case_recap,
            "hints": self.findings.hints,
            "previous": _lines(self.previous),
            "last": self.last,
        }


def build(
    candidate: Candidate,
    weak: Sequence[Attempt],
    strong: Sequence[Attempt],
    findings: Findings,
    rounds: Sequence[Round],
) -> Packet:
    """Build the packet from judged attempts. Raises ValueError if one is not judged."""
    solvers = [_measure(candidate, attempts) for attempts in (weak, strong)]
    criteria = count_passes(candidate, weak, strong)
    earlier = [r for r in rounds if r.review and r.candidate]
    last = show_version(earlier[-1]) if earlier else None
    return Packet(*solvers, criteria, _group(criteria), findings, [_recall(r) for r in earlier], last)


def _measure(candidate: Candidate, attempts: Sequence[Attempt]) -> Solver:
    exact = scores(candidate, attempts)
    valid = sum(bool(a.answer.strip()) for a in attempts)
    shown = tuple(round(float(s), 3) for s in exact)
    spread = round(100 * pstdev(map(float, exact)), 2)
    return Solver(shown, round(float(mean(exact)), 3), spread, valid, are_equal(exact))


def count_passes(candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt]) -> list[dict[str, Any]]:
    """List how both solvers did on each criterion. 1 means passed: met, or, if the weight is negative, avoided."""
    lines: list[dict[str, Any]] = []
    for at, criterion in enumerate(candidate.rubric):
        line = {"criterion": criterion.text, "capability": criterion.capability, "weight": criterion.weight}
        for solver, attempts in (("weak", weak), ("strong", strong)):
            passed = [int(a.judgement.met[at] == (criterion.weight > 0)) for a in attempts if a.judgement.met]
            share = {f"{solver}_avg": round(fmean(passed), 3), f"{solver}_passed": f"{sum(passed)}/{len(passed)}"}
            line |= {solver: passed, **share}
        lines.append({"number": at + 1, **line})
    return lines


def _group(criteria: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compute the unweighted shares of passes over all criteria of each capability, `n` of them."""
    capabilities = []
    for name in dict.fromkeys(c["capability"] for c in criteria):
        lines = [c for c in criteria if c["capability"] == name]
        weak, strong = (fmean(passed for c in lines for passed in c[solver]) for solver in ("weak", "strong"))
        shares = {"weak": round(weak, 3), "strong": round(strong, 3), "gap": round(strong - weak, 3)}
        capabilities.append({"capability": name, "n": len(lines), **shares})
    return sorted(capabilities, key=itemgetter("weak", "capability"))


def _recall(round: Round) -> dict[str, object]:
    """Return what the loop-judge said about an earlier version, and where code overrode it."""
    review = round.review
    opinion = {key: review["loop_judge"][key] for key in _OPINION_KEYS}
    measured = {key: review[key] for key in ("weak_avg", "strong_avg", "weak_std_points", "post_filter_overrides")}
    return {"round": round.number, **opinion, **measured}


def show_version(round: Round) -> dict[str, object]:
    """Show the question and the rubric of an earlier version, under the numbers that the review uses."""
    criteria = count_passes(round.candidate, round.weak, round.strong)
    shown = ("number", "weight", "criterion", "weak_passed", "strong_passed")
    return {
        "round": round.number,
        "question": round.candidate.question,
        "rubric": _lines([{key: criterion[key] for key in shown} for criterion in criteria]),
    }


def _lines(records: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
