"""The baseline arms: proposals without a loop.

CoT Self-Instruct proposes once (paper Sec. 3.1). Best-of-N proposes as often as the tokens of the agentic
arm allow on the same document and keeps the best: what the loop must beat at equal cost.
"""

from fractions import Fraction

from autodata.acceptance import mean, scores
from autodata.harness import Harness
from autodata.orchestrator import play_round
from autodata.types import End, Round, Trajectory


async def propose_once(harness: Harness) -> Trajectory:
    """One candidate with the same checks and the same measurement; both solvers always try it.

    The verdict is recorded but not acted upon: this arm's data are whatever was proposed.
    """
    await harness.prepare()
    await play_round(harness)
    if harness.end is not End.SKIPPED:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()


async def propose_many(harness: Harness, budget: int) -> Trajectory:
    """Independent candidates until `budget` tokens are spent; at least one."""
    await harness.prepare()
    while harness.legal_moves and (harness.spent < budget or not harness.rounds):
        await play_round(harness)
    if harness.end is None:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()


def choose_best(rounds: tuple[Round, ...]) -> Round | None:
    """The measured round that was accepted, or else has the largest gap; the first of equals."""
    measured = [r for r in rounds if r.weak and r.strong and all(a.is_measured for a in (*r.weak, *r.strong))]
    return max(measured, key=lambda r: (r.verdict.accepted is True, _gap(r)), default=None)


def _gap(tried: Round) -> Fraction:
    if tried.candidate is None:
        raise ValueError("a measured round has a candidate")
    return mean(scores(tried.candidate, tried.strong)) - mean(scores(tried.candidate, tried.weak))
