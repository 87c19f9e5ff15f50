"""What the loop-judge is shown: who met what, per criterion and per capability (paper Sec. 3.2)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev

from autodata.domains.legal.post_filter import Findings
from autodata.loop.acceptance import scores
from autodata.types import Attempt, Candidate, Round

_OF_A_VERDICT = ("verdict", "verdict_reason", "gap_interpretation", "grpo_suitability", "suggestion_for_writer")


@dataclass(frozen=True)
class CriterionLine:
    """One criterion. 1 = passed: met, or, where the weight is negative, the mistake was not made."""

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
    """The share of passes over all criteria of a capability, unweighted."""

    capability: str
    n: int
    weak: float
    strong: float
    gap: float


@dataclass(frozen=True)
class Solver:
    """The scores of one solver in [0, 1]; the deviation is in points of 100, over all its attempts."""

    scores: tuple[float, ...]
    avg: float
    std_points: float
    valid: int  # attempts that said anything at all


@dataclass(frozen=True)
class Packet:
    """Everything that was measured of one candidate."""

    weak: Solver
    strong: Solver
    criteria: tuple[CriterionLine, ...]
    capabilities: tuple[CapabilityScore, ...]  # what the weak solver does worst first
    findings: Findings
    previous: tuple[dict[str, object], ...]

    @property
    def gap(self) -> float:
        return round(self.strong.avg - self.weak.avg, 3)

    def numbers(self) -> dict[str, object]:
        """What stays with the round."""
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
        """For the template: records as JSON, a line each, so that no text of a criterion can pass for a number."""
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
    """The packet of judged attempts. Raises ValueError when one is not judged."""
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
        passed = [tuple(int(a.judgement.met[at] == (criterion.weight > 0)) for a in attempts if a.judgement.met)
                  for attempts in (weak, strong)]  # fmt: skip
        numbers = [(p, round(fmean(p), 3), f"{sum(p)}/{len(p)}") for p in passed]
        lines.append(
            CriterionLine(at + 1, criterion.text, criterion.capability, criterion.weight, *numbers[0], *numbers[1])
        )
    return lines


def _group(criteria: Sequence[CriterionLine]) -> tuple[CapabilityScore, ...]:
    found = []
    for name in dict.fromkeys(c.capability for c in criteria):
        own = [c for c in criteria if c.capability == name]
        weak, strong = fmean(x for c in own for x in c.weak), fmean(x for c in own for x in c.strong)
        found.append(CapabilityScore(name, len(own), round(weak, 3), round(strong, 3), round(strong - weak, 3)))
    return tuple(sorted(found, key=lambda c: (c.weak, c.capability)))


def _recall(tried: Round) -> dict[str, object]:
    """What the loop-judge said of an earlier version, and what code said over it."""
    review = tried.review
    said = {key: review["loop_judge"][key] for key in _OF_A_VERDICT}
    measured = {key: review[key] for key in ("weak_avg", "strong_avg", "weak_std_points", "post_filter_overrides")}
    return {"round": tried.number, **said, **measured}


def _lines(records: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
