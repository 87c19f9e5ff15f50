"""The baseline arm: CoT Self-Instruct, one proposal and no loop (paper Sec. 3.1)."""

from autodata.orchestrator import Harness
from autodata.types import Trajectory


async def propose_once(harness: Harness) -> Trajectory:
    """One candidate with the same check and the same measurement; both solvers always try it.

    The verdict is recorded but not acted upon: this arm's data are whatever was proposed.
    """
    if await harness.propose() and await harness.verify():
        await harness.try_both()
    if harness.has_open_round:
        harness.conclude()
    return harness.trajectory()
