"""Builds what the loop-judge sees: how both solvers did on each criterion and each capability (paper Sec. 3.2)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev

from autodata.domains.legal.post_filter import Findings
from autodata.loop.acceptance import scores
from autodata.types import Attempt, Candidate, Round

_OPINION_KEYS = ("verdict", "verdict_reason", "gap_interpretation", "grpo_suitability", "suggestion_for_writer")


@dataclass(frozen=True)
class CriterionLine:
    """How both solvers did on one criterion. 1 means passed: met, or, if the weight is negative, mistake avoided."""

    number: int
    criterion: str
    capability: str
    weight: int
    weak: tuple[int, ...]
    weak_avg: float
    weak_passed: str
    strong: tuple[int, ...]
    strong_avg: float
    strong_passed: str


@dataclass(frozen=True)
class CapabilityScore:
    """The unweighted share of passes over all criteria of one capability."""

    capability: str
    n: int  # criteria
    weak: float
    strong: float
    gap: float


@dataclass(frozen=True)
class Solver:
    """The scores of one solver, each in [0, 1]. Their standard deviation over all attempts is in points of 100."""

    scores: tuple[float, ...]
    avg: float
    std_points: float
    valid: int  # attempts with a non-empty answer


@dataclass(frozen=True)
class Packet:
    """Everything that was measured about one candidate."""

    weak: Solver
    strong: Solver
    criteria: tuple[CriterionLine, ...]
    capabilities: tuple[CapabilityScore, ...]  # sorted: the weak solver's worst capability first
    findings: Findings
    previous: tuple[dict[str, object], ...]

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
            "capability_scores": [asdict(c) for c in self.capabilities],
        }

    def slots(self) -> dict[str, object]:
        """Return the template's slots. Records are JSON lines, so that a criterion's text cannot pass for a number."""
        return {
            "weak": self.weak,
            "strong": self.strong,
            "gap": self.gap,
            "criteria": _lines([asdict(c) for c in self.criteria]),
            "capabilities": _lines([asdict(c) for c in self.capabilities]),
            "body_length": self.findings.body_length,
            "body_length_concern": self.findings.length_concern,
            "case_recap_match": self.findings.case_recap,
            "previous": _lines(self.previous),
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
    criteria = tuple(_list_criteria(candidate, weak, strong))
    return Packet(*solvers, criteria, _group(criteria), findings, tuple(_recall(r) for r in rounds if r.review))


def _measure(candidate: Candidate, attempts: Sequence[Attempt]) -> Solver:
    exact = [float(s) for s in scores(candidate, attempts)]
    rounded = tuple(round(s, 3) for s in exact)
    valid = sum(bool(a.answer.strip()) for a in attempts)
    return Solver(rounded, round(fmean(exact), 3), round(100 * pstdev(exact), 2), valid)


def _list_criteria(candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt]) -> list[CriterionLine]:
    lines = []
    for at, criterion in enumerate(candidate.rubric):
        passed = [
            tuple(int(a.judgement.met[at] == (criterion.weight > 0)) for a in attempts if a.judgement.met)
            for attempts in (weak, strong)
        ]
        numbers = [(p, round(fmean(p), 3), f"{sum(p)}/{len(p)}") for p in passed]
        lines.append(
            CriterionLine(at + 1, criterion.text, criterion.capability, criterion.weight, *numbers[0], *numbers[1])
        )
    return lines


def _group(criteria: Sequence[CriterionLine]) -> tuple[CapabilityScore, ...]:
    capabilities = []
    for name in dict.fromkeys(c.capability for c in criteria):
        lines = [c for c in criteria if c.capability == name]
        weak, strong = fmean(x for c in lines for x in c.weak), fmean(x for c in lines for x in c.strong)
        score = CapabilityScore(name, len(lines), round(weak, 3), round(strong, 3), round(strong - weak, 3))
        capabilities.append(score)
    return tuple(sorted(capabilities, key=lambda c: (c.weak, c.capability)))


def _recall(round: Round) -> dict[str, object]:
    """Return what the loop-judge said about an earlier version, and where code overrode it."""
    review = round.review
    opinion = {key: review["loop_judge"][key] for key in _OPINION_KEYS}
    measured = {key: review[key] for key in ("weak_avg", "strong_avg", "weak_std_points", "post_filter_overrides")}
    return {"round": round.number, **opinion, **measured}


def _lines(records: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
