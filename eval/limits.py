"""Stops an evaluation if too many answers never came, or if the judge could not score too many of them."""

from collections import Counter
from collections.abc import Sequence

from autodata.eval.sampled_answers import REFUSALS, SampledAnswer
from autodata.serving.llm import Client
from autodata.serving.measured import NotMeasured, Window, find_unmeasured
from autodata.types import Outcome, Role, UserError


class TooLittleMeasured(UserError):
    """Too little was measured for any result; the message names the role, the reason, the count and the recipe key."""

    def __init__(self, reason: str):
        super().__init__(f"{reason}\nEvery answer is kept: repair the cause and run the same command again.")


class EvaluationLimits:
    """Checks every answer and every judgement of one evaluation against the limits of its recipe."""

    def __init__(self, client: Client, max_unmeasured: float, max_failures: float, count_refusals: bool = False):
        self.client, self.max_unmeasured, self.max_failures = client, max_unmeasured, max_failures
        self.count_refusals = count_refusals  # True: a refusal is a wrong answer
        self._judgements = Window(max_failures)

    def check_answer(self, error: NotMeasured) -> None:
        """Raise TooLittleMeasured if the evaluated model fails to answer more often than chance can explain."""
        outcomes = dict(self.client.accounts[Role.WEAK_SOLVER].outcomes)
        if self.count_refusals:  # a refusal is then an answer
            refused = sum(outcomes.pop(outcome, 0) for outcome in REFUSALS)
            outcomes[Outcome.ANSWERED] = outcomes.get(Outcome.ANSWERED, 0) + refused
        if reason := find_unmeasured(Role.WEAK_SOLVER, outcomes, self.max_unmeasured, is_end=False):
            raise TooLittleMeasured(f"{reason}; the last failure: {error}")

    def count_judgement(self, has_failed: bool, reason: str) -> None:
        """Count one judgement. Raises TooLittleMeasured if too many of the latest judgements failed."""
        self._judgements.add([has_failed])
        if problem := self._judgements.find_problem("max_failures"):
            raise TooLittleMeasured(f"{problem}: {reason}")

    def check_end(self, sampled: Sequence[SampledAnswer]) -> None:
        """Check the finished evaluation, however small. Raises TooLittleMeasured if too much of it is not measured."""
        outcomes = Counter(str(Outcome.ANSWERED if g.is_measured else g.outcome) for g in sampled)
        if reason := find_unmeasured(Role.WEAK_SOLVER, outcomes, self.max_unmeasured, is_end=True):
            first = next(g.reason for g in sampled if not g.is_measured)
            raise TooLittleMeasured(f"{reason}; the first failure: {first}")
        measured = [g for g in sampled if g.is_measured]
        unscored = [g for g in measured if g.score is None or None in g.graders.values()]
        if len(unscored) > self.max_failures * len(measured):
            commonest = Counter(g.reason for g in unscored).most_common(1)[0][0]
            raise TooLittleMeasured(
                f"{len(unscored):,} of {len(measured):,} answers have no score, more than max_failures="
                f"{self.max_failures:g} allows; most frequent reason: {commonest}"
            )


def tell_unmeasured(sampled: Sequence[SampledAnswer], is_cut_off_meant: bool) -> str | None:
    """Say how the answers ended and how many have no score; None if all were finished and scored."""
    meant = {Outcome.CUT_OFF} if is_cut_off_meant else set()
    outcomes = Counter(Outcome.ANSWERED if g.outcome in meant else g.outcome for g in sampled)
    unscored = sum(g.score is None and g.is_measured for g in sampled)
    if not unscored and set(outcomes) <= {Outcome.ANSWERED}:
        return None
    parts = [f"{count:,} {outcome.words}" for outcome in Outcome if (count := outcomes[outcome])]
    ends = f"Answers requested: {len(sampled):,} ({', '.join(parts)})"
    return ends + (f"; answers that the judge could not score: {unscored:,}" if unscored else "")
