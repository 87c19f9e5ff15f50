"""The baseline arms, which propose without a loop.

CoT Self-Instruct proposes once (paper Sec. 3.1). Best-of-N proposes until it has spent as many tokens as the agentic
arm spent on the same document, and keeps the best proposal: the loop must beat it at equal cost.
"""

from autodata.loop.harness import Harness
from autodata.types import End, Trajectory


async def propose_once(harness: Harness) -> Trajectory:
    """Propose one candidate and test it like any other, except that both solvers always try it.

    The verdict is recorded but not acted upon: this arm's data are whatever was proposed.
    """
    await harness.prepare()
    if harness.end is None:
        await harness.play_round()
    if harness.end is not End.SKIPPED:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()


async def propose_many(harness: Harness, budget: int) -> Trajectory:
    """Propose independent candidates until `budget` tokens are spent; at least one."""
    await harness.prepare()
    while harness.end is None and (harness.spent < budget or not harness.rounds):
        await harness.play_round()
    if harness.end is None:
        harness.stop(End.ONE_SHOT)
    return harness.trajectory()
