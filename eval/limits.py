"""When an evaluation stops: too many answers that never came, or too many that no judge could score."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from autodata.serving.llm import Client
from autodata.serving.measured import NotMeasured, Window, find_unmeasured
from autodata.types import Outcome, Role, UserError
from eval.sampled_answers import SampledAnswer

_AGAIN = "every answer is kept: repair the cause and run the same command again"


class TooLittleMeasured(UserError):
    """The evaluation means nothing as it goes; the message names the role, the reason, the count and the key."""

    def __init__(self, reason: str):
        super().__init__(f"{reason}\n{_AGAIN}")


@dataclass
class EvaluationLimits:
    """Looks at every answer and every judgement of one evaluation."""

    client: Client
    max_unmeasured: float
    max_failures: float
    count_refusals: bool = False  # as wrong answers
    judgements: Window = field(init=False)

    def __post_init__(self) -> None:
        self.judgements = Window(self.max_failures)

    def check_answer(self, error: NotMeasured) -> None:
        """Raise TooLittleMeasured where the evaluated model answers too seldom for chance to explain it."""
        outcomes = dict(self.client.accounts[Role.WEAK_SOLVER].outcomes)
        if self.count_refusals:  # then they are answers
            outcomes[Outcome.ANSWERED] = outcomes.get(Outcome.ANSWERED, 0) + outcomes.pop(Outcome.REFUSED, 0)
        if reason := find_unmeasured(Role.WEAK_SOLVER, outcomes, self.max_unmeasured, is_end=False):
            raise TooLittleMeasured(f"{reason}; the last: {error}")

    def count_judgement(self, has_failed: bool, reason: str) -> None:
        """Raise TooLittleMeasured where too many of the last judgements failed."""
        self.judgements.add([has_failed])
        if problem := self.judgements.find_problem("max_failures"):
            raise TooLittleMeasured(f"{problem}: {reason}")

    def check_end(self, sampled: Sequence[SampledAnswer]) -> None:
        """Raise TooLittleMeasured where too much of the whole is not measured, however few answers there are."""
        outcomes = Counter(str(g.outcome if not g.is_measured else Outcome.ANSWERED) for g in sampled)
        if reason := find_unmeasured(Role.WEAK_SOLVER, outcomes, self.max_unmeasured, is_end=True):
            raise TooLittleMeasured(f"{reason}; the first: {next(g.reason for g in sampled if not g.is_measured)}")
        judged = [g for g in sampled if g.is_measured]
        lost = [g for g in judged if g.score is None or None in g.graders.values()]
        if len(lost) > self.max_failures * len(judged):
            commonest = Counter(g.reason for g in lost).most_common(1)[0][0]
            raise TooLittleMeasured(f"{len(lost)} of {len(judged)} answers have no score, more than max_failures="
                                    f"{self.max_failures:g} allows: {commonest}")  # fmt: skip


def tell_unmeasured(sampled: Sequence[SampledAnswer]) -> str | None:
    """How the answers ended and how many have no score, where any is cut off or not measured; else None."""
    outcomes = Counter(g.outcome for g in sampled)
    lost = sum(g.score is None and g.is_measured for g in sampled)
    if not lost and set(outcomes) <= {Outcome.ANSWERED}:
        return None
    parts = [f"{count} {outcome.words}" for outcome in Outcome if (count := outcomes[outcome])]
    return f"{len(sampled)} answers: {', '.join(parts)}" + (f"; {lost} without a judgement" if lost else "")
