"""Says what a measured failure shows: which criteria gave nothing, which were missed, and what the answers look like.

Challenger and orchestrating model read the same text, so it does not matter who directs the rounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodata.loop.directing.recap import average, shorten
from autodata.loop.prompts import seal
from autodata.stats.writing import DASH
from autodata.types import Attempt, Criterion, Failure, Outcome, Round

MOST = 0.5  # a larger share of a solver's judged attempts is "most"
SHOWN_CRITERIA = 8  # per list, the heaviest first
SHOWN_CHARS = 300  # per criterion
EXCERPT_CHARS = 700  # per answer: its beginning and its end
_LEGEND = "weight, then how many answers of each solver met it"


@dataclass(frozen=True)
class Finding:
    """A criterion with each solver's judged attempts that ended by themselves, and how many of them met it."""

    criterion: Criterion
    weak: tuple[int, int]  # met, judged
    strong: tuple[int, int]

    def __str__(self) -> str:
        counts = f"weak {_write(self.weak)}, strong {_write(self.strong)}"
        return f"{self.criterion.weight:+d}  {counts}  {shorten(self.criterion.text, SHOWN_CHARS)}"


@dataclass(frozen=True)
class Diagnosis:
    """What the attempts of one round show. The texts of models stand in it between tags."""

    round: int
    given_away: tuple[Finding, ...]  # positive criteria that most weak attempts met: they hardly tell weak from strong
    missed: tuple[Finding, ...]  # positive criteria that most strong attempts missed
    strong_mistakes: tuple[Finding, ...]  # negative criteria that most strong attempts met
    unused: int  # negative criteria that nobody met
    weak_answer: str  # the best weak answer, or its beginning and end
    strong_answer: str  # the worst strong answer
    weak_score: float | None
    strong_score: float | None

    def __str__(self) -> str:
        lists = {
            "Criteria that most weak answers met. They hardly tell weak answers from strong ones "
            f"({_LEGEND}):": self.given_away,
            "Criteria that most strong answers missed. They are unclear, wrong, or cannot be known from what is shown "
            f"({_LEGEND}):": self.missed,
            "Mistakes that most strong answers made, as the judge reads them. They may be no mistakes "
            f"({_LEGEND}):": self.strong_mistakes,
        }
        listed = {head: seal("\n".join(map(str, found)), "criteria") for head, found in lists.items() if found}
        parts = [f"{head}\n{sealed}" for head, sealed in listed.items()]
        if self.unused:
            parts.append(f"Negative criteria that no answer met, so they did nothing: {self.unused}.")
        if self.weak_answer:
            parts.append(f"The best weak answer (score {self.weak_score}):\n{seal(self.weak_answer, 'answer')}")
        if self.strong_answer:
            parts.append(f"The worst strong answer (score {self.strong_score}):\n{seal(self.strong_answer, 'answer')}")
        return "\n".join(parts)


def diagnose(round: Round | None) -> Diagnosis | None:
    """Diagnose a round from the judge's booleans and the answers; None if no attempt was judged (paper Sec. 2.1)."""
    if round is None or round.candidate is None or average(round.weak) is None:
        return None
    findings = [
        Finding(criterion, _count(round.weak, i), _count(round.strong, i))
        for i, criterion in enumerate(round.candidate.rubric)
    ]
    best, worst = _choose(round.weak, max), _choose(round.strong, min)
    return Diagnosis(
        round=round.number,
        given_away=_select(findings, lambda f: f.criterion.weight > 0 and _share(f.weak) > MOST),
        missed=_select(findings, lambda f: f.criterion.weight > 0 and f.strong[1] > 0 and 1 - _share(f.strong) > MOST),
        strong_mistakes=_select(findings, lambda f: f.criterion.weight < 0 and _share(f.strong) > MOST),
        unused=sum(f.criterion.weight < 0 and f.weak[0] == f.strong[0] == 0 for f in findings),
        weak_answer=excerpt(best.answer) if best else "",
        strong_answer=excerpt(worst.answer) if worst else "",
        weak_score=best and _score(best),
        strong_score=worst and _score(worst),
    )


def diagnose_last(rounds: Sequence[Round]) -> Diagnosis | None:
    """Diagnose the last round that was measured; None if there is none.

    A round that ran into its token budget shows nothing about its question, so an earlier one is diagnosed.
    """
    told = (r for r in reversed(rounds) if r.verdict.failure is not Failure.CUT_OFF)
    return next((found for round in told if (found := diagnose(round))), None)


def excerpt(answer: str, at_most: int = EXCERPT_CHARS) -> str:
    """Return an answer whole, or its beginning and its end, where it concludes."""
    answer = answer.strip()
    if len(answer) <= at_most:
        return answer
    half = (at_most - 5) // 2
    return f"{answer[:half].rstrip()}\n[…]\n{answer[-half:].lstrip()}"


def _count(attempts: Sequence[Attempt], index: int) -> tuple[int, int]:
    # An attempt that was cut off says nothing about a criterion: it may not have come to it.
    ended = [attempt.judgement.met for attempt in attempts if attempt.outcome is not Outcome.CUT_OFF]
    judged = [met[index] for met in ended if met is not None]
    return sum(judged), len(judged)


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1] if counts[1] else 0.0


def _select(findings: Sequence[Finding], is_wanted: Callable[[Finding], bool]) -> tuple[Finding, ...]:
    chosen = sorted(filter(is_wanted, findings), key=lambda f: -abs(f.criterion.weight))
    return tuple(chosen[:SHOWN_CRITERIA])


def _choose(attempts: Sequence[Attempt], choose: Callable[..., Attempt]) -> Attempt | None:
    """Choose an attempt by its score among those with an answer that ended by itself, else among all with a text."""
    answered = [a for a in attempts if a.judgement.score is not None and a.answer.strip()]
    finished = [a for a in answered if a.outcome is Outcome.ANSWERED] or answered
    return choose(finished, key=_score) if finished else None


def _score(attempt: Attempt) -> float:
    return round(attempt.judgement.score or 0.0, 3)


def _write(counts: tuple[int, int]) -> str:
    return f"{counts[0]}/{counts[1]}" if counts[1] else DASH
