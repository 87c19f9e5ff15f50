"""The baseline arms: proposals without a loop.

CoT Self-Instruct proposes once (paper Sec. 3.1). Best-of-N proposes as often as the tokens of the agentic
arm allow on the same document and keeps the best: what the loop must beat at equal cost.
"""

from autodata.loop.harness import Harness
from autodata.types import End, Trajectory


async def propose_once(harness: Harness) -> Trajectory:
    """One candidate with the same checks and the same measurement; both solvers always try it.

    The verdict is recorded but not acted upon: this arm's data are whatever was proposed.
    """
    await harness.prepare()
    if harness.end is None:
        await harness.play_round()
    if harness.end is not End.SKIPPED:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()


async def propose_many(harness: Harness, budget: int) -> Trajectory:
    """Independent candidates until `budget` tokens are spent; at least one."""
    await harness.prepare()
    while harness.end is None and (harness.spent < budget or not harness.rounds):
        await harness.play_round()
    if harness.end is None:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()
