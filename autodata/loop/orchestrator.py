"""Directs the rounds of a document: Python does, or a language model that says what to propose next.

The two baseline arms propose without a loop. CoT Self-Instruct proposes once (paper Sec. 3.1), or as often as the
recipe says, and keeps every proposal that was measured. Best-of-N proposes until it has spent as many tokens as the
agentic arm spent on the same document, and keeps the best proposal: the loop must beat it at equal cost.
"""

import json

from autodata.loop.directing import recap
from autodata.loop.agents import attempt_seed, make_object
from autodata.loop.harness import MAX_INSTRUCTION_CHARS, Harness
from autodata.serving.measured import NotMeasured
from autodata.types import End, Outcome, Reply, Role, Trajectory

FALLBACK = "agent, then fixed"  # recorded where Python took over from a model that kept calling what it may not
MAX_REFUSALS_KEPT = 200  # characters of each reason
PROPOSE, GIVE_UP = "propose", "give_up"
_TEXT = {"type": "string", "maxLength": MAX_INSTRUCTION_CHARS}
_TOOLS = {
    PROPOSE: ("Ask the challenger for an entirely new candidate.", {"diagnosis": _TEXT, "instruction": _TEXT}),
    GIVE_UP: ("Leave this document: nothing good will come of it.", {"diagnosis": _TEXT}),
}
TOOLS = tuple(
    {"name": name, "description": text, "parameters": make_object(dict(arguments))}
    for name, (text, arguments) in _TOOLS.items()
)


class IllegalMove(RuntimeError):
    """The model called something that it may not call now; the message says what it may."""


async def orchestrate(harness: Harness) -> Trajectory:
    """Play round after round, until one is accepted or all are used up: the fixed orchestrator."""
    await harness.prepare()
    while harness.end is None:
        await harness.play_round()
    return harness.trajectory()


async def propose_unselected(harness: Harness, proposals: int = 1) -> Trajectory:
    """Propose independent candidates and test each like any other, except that both solvers always try it.

    The verdicts are recorded but not acted upon: this arm's data are whatever was proposed.
    """
    await harness.prepare()
    while harness.end is None and len(harness.rounds) < proposals:
        await harness.play_round()
    if harness.end in (None, End.ROUNDS_USED):
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


async def orchestrate_by_agent(harness: Harness) -> Trajectory:
    """Let a language model diagnose the last rounds and direct the next one, or give up (paper Sec. 2.1).

    It is asked only where it has a choice. Each choice is a conversation of its own over a recap of bounded length, so
    that a long run does not fill the model's context. After too many illegal calls Python goes on.
    """
    harness.orchestrator = "agent"
    await harness.prepare()
    choices = 0
    while harness.end is None:
        if harness.waiting:
            await harness.play_round()
        elif len(harness.refused) > harness.domain.config.max_illegal_moves:
            harness.orchestrator = FALLBACK
            await harness.play_round()
        else:
            await _choose_and_play(harness, choices)
            choices += 1
    return harness.trajectory()


async def _choose_and_play(harness: Harness, choice_index: int) -> None:
    """Do what the model chooses; what is illegal is refused, with the reason, and nothing is done."""
    try:
        name, arguments = read_call(await choose(harness, choice_index), list_legal(harness))
    except (IllegalMove, NotMeasured) as refusal:
        # An empty or refused reply has no call in it, so it counts as an illegal one.
        if isinstance(refusal, NotMeasured) and refusal.outcome not in (Outcome.EMPTY, Outcome.REFUSED):
            raise
        harness.refused.append(str(refusal)[:MAX_REFUSALS_KEPT])
        return
    if name == GIVE_UP:
        harness.stop(End.GAVE_UP, arguments["diagnosis"])
    else:
        await harness.play_round(arguments["instruction"], arguments["diagnosis"])


async def choose(harness: Harness, choice_index: int) -> Reply:
    domain, rounds = harness.domain, harness.rounds
    slots = {
        "excerpt": recap.shorten(harness.document.text),
        "rounds": recap.list_rounds(rounds),
        "earlier": recap.count_earlier(rounds),
        "criteria": recap.count_criteria(next((r for r in reversed(rounds) if r.weak), None)),
        "rounds_left": domain.config.max_rounds - len(rounds),
        "legal": list_legal(harness),
        "refused": harness.refused[-1:],
    }
    seed = attempt_seed(domain.seed, harness.document.id, len(rounds) + 1, Role.ORCHESTRATOR, choice_index)
    request = {"seed": seed, "attempt": choice_index, "tools": TOOLS}
    return await domain.agents.write(Role.ORCHESTRATOR, "orchestrator", slots, **request)


def list_legal(harness: Harness) -> tuple[str, ...]:
    may_give_up = len(harness.rounds) >= harness.domain.config.give_up_after
    return (PROPOSE, GIVE_UP) if may_give_up else (PROPOSE,)


def read_call(reply: Reply, legal: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Read which function was called and its two texts; other arguments are dropped. Raises IllegalMove."""
    if not reply.tool:
        raise IllegalMove("no function was called; see tool-call-parser in the flags of the orchestrator's server")
    if reply.tool not in legal:
        raise IllegalMove(f"{recap.shorten(reply.tool)} is not legal now; legal: {', '.join(legal)}")
    try:
        arguments = json.loads(reply.arguments or "{}")
    except (ValueError, RecursionError):
        raise IllegalMove(f"the arguments of {reply.tool} are not JSON") from None
    if not isinstance(arguments, dict):
        raise IllegalMove(f"the arguments of {reply.tool} are not an object")
    return reply.tool, {name: str(arguments.get(name, "")) for name in ("instruction", "diagnosis")}


ORCHESTRATORS = {"fixed": orchestrate, "agent": orchestrate_by_agent}
