"""Who chooses the moves: Python in a fixed order, or a language model among the legal ones."""

import json

from autodata.loop import recap
from autodata.loop.agents import attempt_seed, make_object
from autodata.loop.harness import MAX_INSTRUCTION_CHARS, Harness, IllegalMove, Move
from autodata.serving.measured import NotMeasured
from autodata.types import Outcome, Reply, Role, Trajectory

FALLBACK = "agent, then fixed"  # who orchestrated a document whose model made too many moves that are none
MAX_REFUSALS_KEPT = 200  # characters of each reason
_TEXT = {"type": "string", "maxLength": MAX_INSTRUCTION_CHARS}
_TOOLS = {
    Move.PROPOSE: ("Ask the challenger for an entirely new candidate.", {"diagnosis": _TEXT, "instruction": _TEXT}),
    Move.VERIFY: ("Have the quality of the open candidate checked.", {}),
    Move.TRY_WEAK: ("Let the weak solver try the open candidate.", {}),
    Move.TRY_STRONG: ("Let the strong solver try the open candidate.", {}),
    Move.TRY_BOTH: ("Let both solvers try the open candidate.", {}),
    Move.ACCEPT: ("Accept the open candidate, which passed every test.", {}),
    Move.GIVE_UP: ("Leave this document: nothing good will come of it.", {"diagnosis": _TEXT}),
}
TOOLS = tuple({"name": str(move), "description": text, "parameters": make_object(dict(arguments))}
              for move, (text, arguments) in _TOOLS.items())  # fmt: skip


async def orchestrate(harness: Harness) -> Trajectory:
    """The fixed orchestrator: round after round until one is accepted or they are used up."""
    await harness.prepare()
    while harness.legal_moves:
        await play_round(harness)
    return harness.trajectory()


async def play_round(harness: Harness) -> None:
    """Propose, then test until the round closes: verify, try weak, try strong, accept."""
    await harness.make(Move.PROPOSE)
    while harness.candidate:
        await harness.make(harness.legal_moves[0])


async def orchestrate_by_agent(harness: Harness) -> Trajectory:
    """A language model chooses each move; after too many illegal ones Python goes on (paper Sec. 2.1).

    Each choice is a conversation of its own, over a recap of bounded length, so that a long run does
    not fill the model's context.
    """
    harness.orchestrator = "agent"
    await harness.prepare()
    asked = 0
    while harness.legal_moves and len(harness.refused) <= harness.domain.config.max_illegal_moves:
        try:
            await _move(harness, await _choose(harness, asked))
        except NotMeasured as error:
            if error.outcome not in (Outcome.EMPTY, Outcome.REFUSED) or error.role is not Role.ORCHESTRATOR:
                raise
            harness.refused.append(str(error)[:MAX_REFUSALS_KEPT])  # a reply, and no move in it
        asked += 1
    while harness.legal_moves:
        harness.orchestrator = FALLBACK
        await harness.make(harness.legal_moves[0])
    return harness.trajectory()


async def _choose(harness: Harness, asked: int) -> Reply:
    domain, number = harness.domain, len(harness.rounds) + 1
    seed = attempt_seed(domain.seed, harness.document.id, number, Role.ORCHESTRATOR, asked)
    return await domain.agents.write(Role.ORCHESTRATOR, "orchestrator", _slots(harness),
                                     seed=seed, attempt=asked, tools=TOOLS)  # fmt: skip


async def _move(harness: Harness, reply: Reply) -> None:
    """Make the move that was chosen; anything but a legal one is refused, with the reason."""
    try:
        arguments = _read_arguments(reply)
        texts = {k: str(arguments.get(k, "")) for k in ("instruction", "diagnosis")}
        await harness.make(_read_move(reply), **texts)
    except IllegalMove as refusal:
        harness.refused.append(str(refusal)[:MAX_REFUSALS_KEPT])


def _read_move(reply: Reply) -> Move:
    try:
        return Move(reply.tool)
    except ValueError:
        if not reply.tool:
            raise IllegalMove("no function was called; see tool-call-parser in the flags of the orchestrator's server"
                              ) from None  # fmt: skip
        raise IllegalMove(f"{recap.shorten(reply.tool)} was called; choose one of the moves") from None


def _read_arguments(reply: Reply) -> dict[str, object]:
    try:
        arguments = json.loads(reply.arguments or "{}")
    except (ValueError, RecursionError):
        raise IllegalMove(f"the arguments of {reply.tool} are not JSON") from None
    if not isinstance(arguments, dict):
        raise IllegalMove(f"the arguments of {reply.tool} are not an object")
    return arguments


def _slots(harness: Harness) -> dict[str, object]:
    rounds = harness.rounds
    measured = next((r for r in reversed(rounds) if r.weak), None)
    return {
        "excerpt": recap.shorten(harness.document.text),
        "rounds": recap.list_rounds(rounds),
        "earlier": recap.count_earlier(rounds),
        "criteria": recap.count_criteria(measured),
        "question": recap.describe_candidate(harness.candidate),
        "weak": recap.average(harness.weak),
        "rounds_left": harness.domain.config.max_rounds - len(rounds),
        "legal": [str(m) for m in harness.legal_moves],
        "refused": harness.refused[-1:],
    }


ORCHESTRATORS = {"fixed": orchestrate, "agent": orchestrate_by_agent}
