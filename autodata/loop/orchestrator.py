"""Directs the rounds of a document: Python does, or a language model that says what to propose next.

The two baseline arms propose without a loop. CoT Self-Instruct proposes once (paper Sec. 3.1), or as often as the
recipe says, and keeps every proposal that was measured. Best-of-N proposes until it has spent as many tokens as the
agentic arm spent on the same document, and keeps the best proposal: the loop must beat it at equal cost.
"""

from dataclasses import dataclass

from autodata.loop.acceptance import describe_gate
from autodata.loop.agents import attempt_seed
from autodata.loop.directing import recap
from autodata.loop.directing.calls import GIVE_UP, PROPOSE, READ, Call, IllegalMove, offer, read_call
from autodata.loop.directing.diagnosis import diagnose_last
from autodata.loop.directing.outline import Outline
from autodata.loop.harness import Harness
from autodata.serving.measured import NotMeasured
from autodata.types import End, Outcome, Reply, Role, Trajectory

FALLBACK = "agent, then fixed"  # recorded where Python took over from a model that kept calling what it may not
MAX_REFUSALS_KEPT = 200  # characters of each reason
MAX_READS = 2  # sections that the model may read before each proposal


@dataclass
class Desk:
    """What lies before the orchestrating model besides the rounds; it changes with each of its calls."""

    outline: Outline
    choices: int = 0  # calls so far
    refusals: int = 0  # in a row
    reads: int = 0  # since the last proposal
    refused: str = ""  # why the call just before this one was refused
    ignored: str = ""  # which of its arguments were not read
    passage: str = ""  # the section that it asked for


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
    that a long run does not fill the model's context. After too many illegal calls in a row Python goes on.
    """
    harness.orchestrator = "agent"
    await harness.prepare()
    if harness.end is not None:
        return harness.trajectory()
    desk = Desk(harness.domain.outline(harness.document))
    while harness.end is None:
        if harness.waiting:
            await harness.play_round()
        elif desk.refusals > harness.domain.config.max_illegal_moves:
            harness.orchestrator = FALLBACK
            await harness.play_round()
        else:
            await _choose_and_play(harness, desk)
    return harness.trajectory()


async def _choose_and_play(harness: Harness, desk: Desk) -> None:
    """Do what the model chooses; what is illegal is refused, with the reason, and nothing is done."""
    legal = list_legal(harness, desk)
    try:
        call = read_call(await choose(harness, desk), legal)
        passage = desk.outline.read(call.section) if call.name == READ else ""
    except (IllegalMove, LookupError, NotMeasured) as refusal:
        # An empty or refused reply has no call in it, so it counts as an illegal one.
        if isinstance(refusal, NotMeasured) and refusal.outcome not in (Outcome.EMPTY, Outcome.REFUSED):
            raise
        reason = str(refusal)[:MAX_REFUSALS_KEPT]
        harness.refused.append(reason)
        desk.refused, desk.ignored = reason, ""
        desk.refusals, desk.choices = desk.refusals + 1, desk.choices + 1
        return
    desk.refused, desk.ignored, desk.passage = "", call.ignored, passage
    desk.refusals, desk.choices = 0, desk.choices + 1
    await _make_move(harness, desk, call)


async def _make_move(harness: Harness, desk: Desk, call: Call) -> None:
    if call.name == GIVE_UP:
        harness.stop(End.GAVE_UP, call.texts["diagnosis"])
    elif call.name == READ:
        desk.reads += 1
    else:
        desk.reads = 0
        await harness.play_round(call.texts["instruction"], call.texts["diagnosis"])


async def choose(harness: Harness, desk: Desk) -> Reply:
    """Ask the model for its next move."""
    domain, rounds = harness.domain, harness.rounds
    legal = list_legal(harness, desk)
    slots = {
        "outline": desk.outline.text,
        "passage": desk.passage,
        "gate": describe_gate(domain.config.presets[domain.config.preset]),
        "rounds": recap.list_rounds(rounds),
        "earlier": recap.count_earlier(rounds),
        "diagnosis": diagnose_last(rounds),
        "rounds_left": domain.config.max_rounds - len(rounds),
        "challengers": domain.config.challengers,
        "legal": legal,
        "refused": desk.refused,
        "ignored": desk.ignored,
    }
    seed = attempt_seed(domain.seed, harness.document.id, len(rounds) + 1, Role.ORCHESTRATOR, desk.choices)
    request = {"seed": seed, "attempt": desk.choices, "tools": offer(legal)}
    return await domain.agents.write(Role.ORCHESTRATOR, "orchestrator", slots, **request)


def list_legal(harness: Harness, desk: Desk) -> tuple[str, ...]:
    """List the moves that the model may make now."""
    may_read = desk.outline.sections and desk.reads < MAX_READS
    may_give_up = len(harness.rounds) >= harness.domain.config.give_up_after
    return (PROPOSE, *([READ] if may_read else []), *([GIVE_UP] if may_give_up else []))


ORCHESTRATORS = {"fixed": orchestrate, "agent": orchestrate_by_agent}
